"""What senders do that were written from the vendors' sources, and that gave wrong counts in 2026-11.

Each is the smallest case: time is told, nothing is sent, no thread runs.
"""

from __future__ import annotations

import json
import struct
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from protocols.errors import RecorderGap, RigError
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Cue
from rig_client.acquisition import intan as rhx
from rig_client.acquisition import (
    open_ephys_events,
    open_ephys_zmq,
    python_callable,
    python_source,
)
from rig_client.acquisition.cerebus_links import Port
from rig_client.acquisition.formats import intan as formats
from rig_client.acquisition.intan import Intan
from rig_client.acquisition.open_ephys_events import OpenEphysEvents
from rig_client.acquisition.open_ephys_zmq import OpenEphysZmq
from rig_client.acquisition.python_source import PythonStream, Spike, Word
from rig_client.acquisition.recording import Limits, Recording
from rig_client.acquisition.silence import N_USUAL
from rig_client.acquisition.stream import Misfit, StreamLost

SESSION = SessionInfo(session_id="s", seed=0)
RATE = 30_000
WINDOW, KEPT = (0.07, 0.17), (-0.1, 0.3)
STEP = 100


def cue(number):
    return Cue(
        block_index=0,
        stimulus_index=0,
        stimulus_id="0" * 64,
        repetition=number,
        attempt=0,
        trial=0,
    )


# --- silence -----------------------------------------------------------------------------------


class Stream:
    """A recording whose stream has a spike every 100 samples, on the rig's own clock."""

    def __init__(self, *, quiet_s=0.25, step=STEP):
        self.now_s, self.first_s, self.step = 50.0, 50.0, step
        limits = Limits(settle_s=0.03, quiet_s=quiet_s)
        self.recording = Recording(("E1",), RATE, limits, lambda: self.now_s)
        self.n = 0

    @property
    def sample(self):
        return round((self.now_s - self.first_s) * RATE) + 10_000

    def fire(self, duration_s):
        for _ in range(round(duration_s * RATE / self.step)):
            self.now_s += self.step / RATE
            self.recording.spike(self.sample, "E1")
            self.recording.drained()

    def be_silent(self, duration_s):
        until_s = self.now_s + duration_s
        while self.now_s < until_s:
            self.now_s += 0.01
            self.recording.drained()

    def show(self):
        shown = cue(self.n)
        self.n += 1
        self.recording.mark(shown, self.now_s, self.n)
        self.recording.word(self.n, self.sample)
        return shown

    def judged(self, shown):
        return self.recording.judged(shown, WINDOW)


def test_a_stream_that_never_is_silent_is_not_believed_to_be():
    stream = Stream()
    stream.fire(5)
    shown = stream.show()
    stream.fire(0.1)
    stream.be_silent(0.6)
    assert stream.judged(shown) is None, "acquisition was stopped, and counted as [9]"
    stream.be_silent(1)
    with pytest.raises(RecorderGap) as gap:
        stream.judged(shown)
    assert gap.value.fault == "silent_stream"


@pytest.mark.parametrize("before_s", [1.6, 5])
def test_a_moment_without_acquisition_is_a_hole_in_the_stream(before_s):
    """The clock goes on, what happened meanwhile was never detected; in the first seconds too."""
    stream = Stream()
    stream.fire(before_s)
    shown = stream.show()
    stream.fire(0.1)
    stream.now_s += 0.4
    stream.fire(0.3)
    with pytest.raises(RecorderGap) as gap:
        stream.judged(shown)
    assert gap.value.fault == "silent_stream"


def test_neurons_that_fall_silent_together_are_believed_in_the_end():
    stream = Stream()
    for _ in range(N_USUAL):
        stream.fire(5)
        stream.be_silent(0.4)
    stream.fire(5)
    shown = stream.show()
    stream.fire(0.05)
    stream.be_silent(0.4)
    stream.fire(0.1)
    assert stream.judged(shown).counts.tolist() == [0]


def test_few_spikes_may_be_silent():
    stream = Stream(step=6000)
    stream.fire(8)
    shown = stream.show()
    stream.be_silent(0.5)
    assert stream.judged(shown).counts.tolist() == [0]
    assert stream.recording.late() == ()


@pytest.mark.parametrize("fault", ["recorder_restarted", "disconnected"])
def test_silence_that_was_believed_is_taken_back_if_nothing_came_after_it(fault):
    stream = Stream(step=6000)
    stream.fire(8)
    confirmed, shown = stream.show(), None
    stream.fire(0.6)
    assert stream.judged(confirmed) is not None
    shown = stream.show()
    stream.be_silent(0.6)
    assert stream.judged(shown) is not None
    stream.recording.restarted(fault)
    assert stream.recording.late() == (shown,)


def test_silence_is_taken_back_if_the_next_word_does_not_come_either():
    stream = Stream(step=6000)
    stream.fire(8)
    shown = stream.show()
    stream.be_silent(0.6)
    assert stream.judged(shown) is not None
    stream.recording.mark(cue(9), stream.now_s, 99)
    stream.be_silent(1.5)
    with pytest.raises(RecorderGap) as gap:
        stream.judged(cue(9))
    assert gap.value.fault == "silent_stream"
    assert stream.recording.late() == (shown,)


# --- the beginning -----------------------------------------------------------------------------


def test_what_was_sent_before_the_connection_is_not_known():
    stream = Stream()
    stream.recording.opened()
    stream.fire(0.05)
    early = stream.show()
    stream.fire(0.4)
    with pytest.raises(RecorderGap) as gap:
        stream.recording.judged(early, WINDOW, KEPT)
    assert gap.value.fault == "disconnected"
    shown = stream.show()
    stream.fire(0.4)
    assert stream.recording.judged(shown, WINDOW, KEPT) is not None


def test_a_stream_that_was_quiet_since_the_connection_is_known():
    stream = Stream()
    stream.recording.opened()
    stream.be_silent(5)
    shown = stream.show()
    stream.fire(0.4)
    assert stream.recording.judged(shown, WINDOW, KEPT) is not None


# --- Open Ephys --------------------------------------------------------------------------------


def without_thread(kind, **options):
    made = type(kind.__name__, (kind,), {"start": lambda self: None})
    return made(kind.Settings(**options), SESSION)


def broadcast(node):
    content = {"event_type": "spike", "stream": "R", "source_node": node, "sorted_id": 0}
    content |= {"electrode": "Electrode 1", "sample_number": 10_000, "sample_rate": 30_000.0}
    return open_ephys_events.understood([struct.pack("<H", 1), json.dumps(content).encode()])


def published(number, node):
    spike = {"stream": "R", "source_node": node, "electrode": "Electrode 1", "sorted_id": 0}
    head = {"message_num": number, "type": "spike", "spike": spike | {"sample_num": 10_000}}
    return open_ephys_zmq.understood([b"EVENT\0", json.dumps(head).encode(), b""])


@pytest.mark.parametrize(
    ("kind", "spikes"),
    [
        (OpenEphysEvents, [broadcast(101), broadcast(105)]),
        (OpenEphysZmq, [published(1, 101), published(2, 105)]),
    ],
)
def test_two_detectors_with_one_name_are_never_summed(kind, spikes):
    recorder = without_thread(kind, sites=["Electrode 1"])
    recorder._take(spikes[0])
    with pytest.raises(Misfit, match="nodes 101 and 105 both send spikes of 'Electrode 1'"):
        recorder._take(spikes[1])
    recorder = without_thread(kind, sites=["101/Electrode 1", "105/Electrode 1"])
    for spike in (*spikes, spikes[0]._replace(sample=10_001)):
        recorder._take(spike)
    assert recorder.names.seen() == {"101/Electrode 1": 2, "105/Electrode 1": 1}


def data(number, sample):
    return open_ephys_zmq.Data(number, "R", sample, 700)


def test_samples_that_the_source_has_lost_are_a_gap_though_all_messages_came():
    recorder = without_thread(OpenEphysZmq, sites=["E1"])
    now_s = 10.0
    recorder.recording._now_s = lambda: now_s
    recorder._take(data(1, 7_000))
    recorder.recording.mark(cue(0), now_s, 3)
    recorder._take(open_ephys_zmq.Ttl(2, "R", 7_600, 0, True, 3))
    recorder._take(data(3, 7_700))
    recorder._take(data(4, 12_000))
    for number in range(5, 40):
        recorder._take(data(number, 12_000 + 700 * (number - 4)))
    with pytest.raises(RecorderGap) as gap:
        recorder.recording.judged(cue(0), WINDOW)
    assert gap.value.fault == "message_gap"


# --- Cerebus -----------------------------------------------------------------------------------


def test_a_datagram_that_comes_twice_is_counted_once():
    port = Port(51002, "3.11", None)
    datagram = struct.pack("<IHBB", 900_000, 12, 0, 1) + bytes(4)
    assert len(port.heard(datagram, 1.0)) == 1
    assert port.heard(datagram, 1.0) == []
    later = struct.pack("<IHBB", 900_030, 12, 0, 1) + bytes(4)
    assert len(port.heard(later, 1.0)) == 1


# --- Intan RHX ---------------------------------------------------------------------------------


def spike_bytes(sample, channel=b"A-010"):
    return struct.pack("<I5sIB", 0x3AE2710F, channel, sample, 0x40)


@pytest.mark.parametrize("n_bytes", range(1, 14))
def test_a_packet_that_was_cut_takes_no_other_with_it(n_bytes):
    packets = formats.Packets(formats.SPIKE_MAGIC, formats.SPIKE.size, formats.is_spike)
    sent = spike_bytes(1) + spike_bytes(2)[:n_bytes] + spike_bytes(3) + spike_bytes(4)
    assert list(packets.feed(sent)) == [spike_bytes(1), spike_bytes(3), spike_bytes(4)]
    assert packets.n_skipped == n_bytes


class Rhx:
    """What RHX's two data ports bring, in one write."""

    def __init__(self):
        self.recorder = without_thread(Intan, sites=["A-010"])
        recorder = self.recorder
        control = SimpleNamespace(
            ask=lambda name: {"sampleratehertz": "30000", "tcpnumberdatablocksperwrite": "1"}.get(
                name, "Run"
            )
        )
        recorder._controlled = lambda: control
        control.data_port = lambda what, port: None
        self.waiting = {"waveform": b"", "spike": b""}
        recorder._received = self.received
        self.opened(recorder)

    def opened(self, recorder):
        selected = [(SimpleNamespace(data=what), 1) for what in self.waiting]
        selector = SimpleNamespace(
            register=lambda *given: None,
            select=lambda timeout_s: selected,
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(rhx.selectors, "DefaultSelector", lambda: selector)
            recorder._open()

    def received(self, what):
        found, self.waiting[what] = self.waiting[what], b""
        return found

    def write(self, first, spikes=b"", word=0):
        frames = np.empty(128, [("t", "<u4"), ("w", "<u2")])
        frames["t"], frames["w"] = np.arange(first, first + 128), word
        frames_bytes = struct.pack("<I", 0x2EF07A08) + frames.tobytes()
        self.waiting = {"waveform": frames_bytes, "spike": spikes}
        self.recorder._read(0)


def test_a_new_run_of_rhx_is_noticed_by_its_first_spike_which_is_kept():
    lab = Rhx()
    recording = lab.recorder.recording
    lab.write(900_000, spike_bytes(900_010))
    lab.write(0, spike_bytes(20))
    assert recording.epoch == 1
    assert recording.wait_s < 1, "the new run's first spike is no straggler of the old one"
    assert len(recording._spikes) == 1


def test_bytes_that_are_no_spike_are_of_their_neighbours_time():
    """However late they are read: under load, whole presentations after it."""
    lab = Rhx()
    lab.write(900_000, spike_bytes(900_010) + spike_bytes(900_020)[:7])
    for place in range(1, 40):
        lab.write(900_000 + 128 * place)
    lab.write(900_000 + 128 * 40, spike_bytes(900_000 + 128 * 40))
    (gap,) = [gap for gap in lab.recorder.recording._gaps if gap.fault == "message_gap"]
    assert (gap.first, gap.last) == (900_010, 900_000 + 128 * 40)


def test_an_rhx_that_runs_and_does_not_send_a_site_is_refused():
    recorder = without_thread(Intan, sites=["A-010", "A-011"])
    known = {"a-010.tcpdataoutputenabledspike": "True", "a-011.tcpdataoutputenabledspike": "False"}
    with pytest.raises(Misfit, match=r"does not send the spikes of 1 of the 2 .*A-011"):
        recorder._check_outputs(SimpleNamespace(ask=known.get))


# --- a lab's own stream ------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["3", 3, 3.0, np.int32(3), np.float32(3), b"3", np.str_("3")])
@pytest.mark.parametrize("number", [int, float, np.uint32, np.int64, np.float64])
def test_units_and_samples_of_whatever_type_an_sdk_has(source, number):
    stream = without_thread(PythonStream, source=f"{__name__}:cue", sites=["3"], quiet_ms=100)
    stream.recording.mark(cue(0), 10.0, 5)
    for event in (
        Word(number(100_000), number(5)),
        Spike(number(102_099), source),
        Spike(number(102_100), source),
        Spike(number(105_099), source),
        Spike(number(105_100), source),
        python_source.Heard(number(200_000)),
    ):
        stream._take(event)
    measured = stream.recording.judged(cue(0), WINDOW, KEPT)
    assert measured.counts.tolist() == [2]
    assert [each.tolist() for each in measured.ticks] == [[2099, 2100, 5099, 5100]]


def test_a_spike_that_an_sdk_tells_twice_is_one_and_a_coarse_clock_may_have_two():
    for rate_hz, n in ((30_000, 1), (1000, 2)):
        stream = without_thread(
            PythonStream, source=f"{__name__}:cue", sites=["3"], sample_rate_hz=rate_hz
        )
        for _ in range(2):
            stream._take(Spike(5000, "3"))
        assert stream.names.seen() == {"3": n}


@pytest.mark.parametrize("sample", [12.3, float("nan"), None, "x"])
def test_samples_that_are_seconds_are_refused(sample):
    stream = without_thread(PythonStream, source=f"{__name__}:cue", sites=["3"])
    with pytest.raises(StreamLost, match="whole numbers"):
        stream._take(Spike(sample, "3"))


# --- a function --------------------------------------------------------------------------------


class Moody:
    """Answers as it is told to."""

    says: ClassVar[list] = []

    def __call__(self, word, onset_s, start_s, stop_s):
        return self.says.pop(0)


@pytest.mark.parametrize("said", [[1.0], [1, 2, 3], [[1], [2, 3]], [1, float("nan")], "no", {}])
def test_a_function_that_has_counted_and_then_says_nonsense_is_one_that_fails(said, monkeypatch):
    monkeypatch.setattr(python_callable.PythonCallable, "_revive", lambda self, ask: None)
    settings = python_callable.PythonCallable.Settings(
        function=f"{__name__}:Moody", options={}, sites=("a", "b")
    )
    recorder = python_callable.PythonCallable(settings, SESSION)
    for number in range(2):
        recorder.mark(cue(number), 1.0, 1)
    Moody.says = [said]
    with pytest.raises(RigError, match="gave no counts") as refused:
        recorder.spike_counts(cue(0), WINDOW)
    assert not isinstance(refused.value, RecorderGap), "a mistake in the laboratory's own function"
    Moody.says = [[3, 4], said]
    assert recorder.spike_counts(cue(0), WINDOW).counts.tolist() == [3, 4]
    with pytest.raises(RecorderGap, match="2 numbers") as gap:
        recorder.spike_counts(cue(1), WINDOW)
    assert gap.value.fault == "function_failed"
    assert "gave no counts" in recorder.trouble()
