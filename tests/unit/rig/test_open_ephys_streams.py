"""Open Ephys: words on one data stream, spikes on another; what cannot be recorded is named.

The other side is a PUB socket that sends JSON written out here, as `EventBroadcaster.cpp` writes it.
"""

from __future__ import annotations

import json
import struct
import threading
import time

import numpy as np
import pytest
import zmq

from protocols.errors import SettingsError
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Cue
from rig_client.acquisition.alignment import Alignment
from rig_client.acquisition.open_ephys_events import OpenEphysEvents
from rig_client.acquisition.open_ephys_zmq import OpenEphysZmq

SESSION = SessionInfo(session_id="s", seed=0)
DEADLINE_S = 60.0
WINDOW = (0.07, 0.17)


def cue(number):
    return Cue(
        block_index=0,
        stimulus_index=0,
        stimulus_id="0" * 64,
        repetition=number,
        attempt=0,
        trial=number,
    )


class Gui:
    """What stands at the broadcaster's port."""

    def __init__(self):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUB)
        self.socket.linger = 0
        self.address = f"tcp://127.0.0.1:{self.socket.bind_to_random_port('tcp://127.0.0.1')}"

    def ttl(self, stream, rate, sample, line, state, node=100, name="TTL"):
        content = {
            "event_type": "ttl",
            "stream": stream,
            "source_node": node,
            "sample_rate": rate,
            "channel_name": name,
            "sample_number": sample,
            "line": line,
            "state": state,
        }
        self.socket.send_multipart([struct.pack("<H", 0), json.dumps(content).encode() + b"\0"])

    def spike(self, stream, rate, sample, electrode):
        content = {
            "event_type": "spike",
            "stream": stream,
            "source_node": 102,
            "electrode": electrode,
            "num_channels": 1,
            "sample_rate": rate,
            "sample_number": sample,
            "sorted_id": 0,
            "amp1": -50.0,
        }
        self.socket.send_multipart([struct.pack("<H", 1), json.dumps(content).encode() + b"\0"])

    def close(self):
        self.socket.close(0)
        self.context.term()


@pytest.fixture
def gui():
    opened = Gui()
    yield opened
    opened.close()


def recorder_at(gui, factory=OpenEphysEvents, **options):
    settings = factory.Settings(address=gui.address, sites=("E1", "E2"), **options)
    return factory(settings, SESSION)


def until(happened, what):
    deadline_s = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < deadline_s, f"in vain: {what}"
        threading.Event().wait(0.01)


# --- two clocks ----------------------------------------------------------------------------------


def test_two_clocks_are_fitted_through_pulses_that_get_lost():
    alignment = Alignment(30_000)
    random = np.random.default_rng(0)
    drift, offset_s = 30e-6, 4711.5
    for pulse in range(40):
        at_s = 100 + pulse
        other_s = at_s * (1 + drift) + offset_s
        heard_s = 5.0 + pulse + 0.023 * random.random()
        if pulse not in (3, 11, 12):
            alignment.edge("words", round(at_s * 25_000), 25_000, heard_s)
        if pulse not in (5, 11, 20):
            alignment.edge("spikes", round(other_s * 30_000), 30_000, heard_s + 0.02)
    word_s = 140.2
    sample = alignment.spikes_sample(round(word_s * 25_000), 25_000)
    assert abs(sample - (word_s * (1 + drift) + offset_s) * 30_000) <= 1.5
    assert "30.0 ppm" in alignment.text() or "ppm" in alignment.text()
    (note,) = alignment.notes()
    assert "aligned by 8 pulses" in note


def test_without_pulses_no_word_is_taken_over():
    alignment = Alignment(30_000)
    for pulse in range(7):
        alignment.edge("words", 30_000 * pulse, 30_000, float(pulse))
        alignment.edge("spikes", 30_000 * pulse + 77, 30_000, float(pulse))
    assert alignment.spikes_sample(200_000, 30_000) is None
    alignment.edge("words", 210_000, 30_000, 7.0)
    alignment.edge("spikes", 210_077, 30_000, 7.0)
    assert alignment.spikes_sample(211_000, 30_000) == 211_077


def test_a_stream_that_begins_anew_is_aligned_anew():
    alignment = Alignment(30_000)
    for pulse in range(10):
        alignment.edge("words", 30_000 * pulse, 30_000, float(pulse))
        alignment.edge("spikes", 30_000 * pulse + 77, 30_000, float(pulse))
    assert alignment.is_known
    alignment.edge("words", 15_000, 30_000, 20.0)
    assert not alignment.is_known


@pytest.mark.parametrize(
    "options",
    [
        {"word_stream": "NI-DAQ"},
        {"word_stream": "NI-DAQ", "stream": "ProbeA"},
        {"word_stream": "NI-DAQ", "stream": "ProbeA", "sync_line": 3},
    ],
)
def test_two_streams_need_a_line_of_pulses(options):
    settings = OpenEphysEvents.Settings(sites=("E1",), **options)
    with pytest.raises(SettingsError, match="sync pulses"):
        OpenEphysEvents(settings, SESSION)


def test_words_of_the_ni_daq_and_spikes_of_the_probe(gui):
    """The probe's stream has one line, which carries the pulses; its clock is another."""
    options = {"stream": "ProbeA", "word_stream": "NI-DAQ", "sync_line": 8, "tolerance_ms": 500}
    recorder = recorder_at(gui, word_wait_ms=5000, settle_ms=50, **options)
    try:
        until(lambda: "are not aligned" in recorder.trouble(), "it is connected")
        began_s = time.perf_counter()

        def probe(at_s):
            return round((at_s + 300) * (1 + 40e-6) * 30_000)

        def daq(at_s):
            return round((at_s + 17) * 25_000)

        def pulse(at_s):
            gui.ttl("ProbeA", 30_000, probe(at_s), 0, True)
            gui.ttl("NI-DAQ", 25_000, daq(at_s), 8, True)

        for number in range(30):
            pulse(0.1 * number)
            if number > 12 and not recorder.trouble():
                break
            threading.Event().wait(0.02)
        until(lambda: not recorder.trouble(), "it is aligned")
        now_s = 0.1 * number + 0.01
        recorder.mark(cue(0), began_s + now_s, 5)
        for line in (0, 2):
            gui.ttl("NI-DAQ", 25_000, daq(now_s), line, True)
        word = probe(now_s)
        for offset in (2098, 2103, 4000, 5098, 5103):
            gui.spike("ProbeA", 30_000, word + offset, "E1")
        gui.spike("ProbeB", 30_000, word + 4000, "E1")
        for step in range(60):
            gui.spike("ProbeA", 30_000, word + 6000 + 100 * step, "E2")
        measured = recorder.spike_counts(cue(0), WINDOW)
        assert measured.counts.tolist() == [3, 0]
        assert abs(measured.onset_s * 30_000 - word) <= 1.5
        assert "aligned by" in recorder.survey().alignment
        assert any("the stream of words is aligned" in note for note in recorder.notes())
    finally:
        recorder.close()


# --- what cannot be recorded -----------------------------------------------------------------------


def test_a_wrong_sample_rate_is_said_once_and_stays_on_the_screen(gui, caplog):
    recorder = recorder_at(gui)
    try:
        n_seen = 0

        def seen():
            nonlocal n_seen
            gui.spike("Rhythm", 40_000, 1000, "E1")
            n_seen += "40000 samples/s" in recorder.trouble()
            return n_seen > 100

        until(seen, "the trouble")
        for _ in range(50):
            assert "set sample_rate_hz (now 30000)" in recorder.trouble()
            threading.Event().wait(0.02)
        warned = [r for r in caplog.records if "samples/s" in r.getMessage()]
        assert len(warned) == 1
    finally:
        recorder.close()


@pytest.mark.parametrize(
    ("frames", "advice"),
    [
        ([b"\x01\x00", b"\x02\x00\x10raw"], "choose JSON"),
        ([b"ttl", b"{}"], "version 0.2 or later"),
        ([b"DATA\0", b"{}", b""], "open_ephys_zmq"),
    ],
)
def test_formats_that_cannot_work_are_named_for_the_broadcaster(gui, frames, advice):
    recorder = recorder_at(gui)
    try:

        def said():
            gui.socket.send_multipart(frames)
            return advice in recorder.trouble()

        until(said, advice)
    finally:
        recorder.close()


@pytest.mark.parametrize(
    ("frames", "advice"),
    [
        ([b"\x00\x00", b"{}"], "open_ephys_events"),
        ([b"EVENT\0", b'{"message_no":1}'], "version 0.3 or later"),
    ],
)
def test_formats_that_cannot_work_are_named_for_the_interface(gui, frames, advice):
    recorder = recorder_at(gui, OpenEphysZmq, heartbeat_address="")
    try:

        def said():
            gui.socket.send_multipart(frames)
            return advice in recorder.trouble()

        until(said, advice)
    finally:
        recorder.close()


def test_an_electrode_that_goes_back_is_a_recorder_that_began_anew(gui):
    """Less than a second of the first acquisition: its samples go back by little."""
    recorder = recorder_at(gui)
    try:

        def heard():
            gui.spike("Rhythm", 30_000, 20_000, "E1")
            return recorder.recording.latest == 20_000

        until(heard, "the first acquisition")
        gui.spike("Rhythm", 30_000, 21_000, "E2")
        gui.spike("Rhythm", 30_000, 100, "E1")
        until(lambda: recorder.recording.epoch == 1, "the second")
    finally:
        recorder.close()
