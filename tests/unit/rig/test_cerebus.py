"""Cerebus: several instruments, ports and protocols, from a sender that shares nothing with us."""

from __future__ import annotations

import contextlib
import struct
import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest

from protocols import plugins
from protocols.errors import InstallationError, RecorderGap
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.vocabulary import Cue
from rig_client.acquisition import cerebus_sdk
from rig_client.acquisition.stream import StreamLost
from rig_client.emulators.sockets import free_udp_port
from tests.blackrock import Instrument

SESSION = SessionInfo(session_id="s", seed=1)
WINDOW_S = (0.07, 0.17)
DEADLINE_S = 20.0
EPOCH_NS = 1_790_000_000 * 10**9


@pytest.fixture
def lab():
    with contextlib.ExitStack() as stack:
        yield Lab(stack)


class Lab:
    def __init__(self, stack):
        self._stack = stack
        self._n = 0
        self._turn = threading.Event()
        self._began_s = time.perf_counter()

    def port(self):
        return free_udp_port("127.0.0.1")

    def instrument(self, *args, **more):
        return self._stack.enter_context(contextlib.closing(Instrument(*args, **more)))

    def recorder(self, *ports, **options):
        options = {"host": "127.0.0.1", "ports": ports, "settle_ms": 20, **options}
        choice = PluginChoice(name="cerebus", options=options)
        made = plugins.create("stimloop.acquisitions", choice, SESSION)
        return self._stack.enter_context(contextlib.closing(made))

    def wait_for(self, happened, *instruments):
        deadline_s = time.monotonic() + DEADLINE_S
        while not happened():
            assert time.monotonic() < deadline_s
            for instrument in instruments:
                instrument.pass_s(0.01)
            self._turn.wait(0.002)

    def show(self, recorder, seeing, word, spiking, spikes):
        """One image: the word, then spikes `(channel, unit, s after the word)` of an instrument."""
        self._n += 1
        cue = Cue(block_index=0, stimulus_index=0, stimulus_id="0" * 64, repetition=self._n,
                  attempt=0, trial=self._n)  # fmt: skip
        passed_s = (seeing.time - seeing.first) / seeing.hz  # faster than the computer's clock
        recorder.mark(cue, self._began_s + passed_s, word)
        at = {id(each): each.time for each in (seeing, spiking)}
        seeing.word(seeing.time, word)
        for channel, unit, after_s in spikes:
            spiking.spike(at[id(spiking)] + round(after_s * spiking.hz), channel, unit)
        return cue


def monitors(recorder):
    """The number of the latest monitor of a Gemini's NSP."""
    counts = recorder._losses._counts
    return next(count.number for origin, count in counts.items() if origin.instrument == 3)


def monitored(recorder, instrument):
    """The number of the latest monitor that was read."""
    counts = recorder._losses._counts.items()
    return next(count.number for origin, count in counts if origin.instrument == instrument.number)


def streaming(lab, recorder, *instruments):
    lab.wait_for(lambda: recorder.trouble() == "", *instruments)
    for instrument in instruments:
        instrument.pass_s(0.1)


@pytest.mark.parametrize("protocol", ["3.11", "4.0", "4.1"])
def test_one_nsp_with_nothing_but_its_port_set(lab, protocol):
    port = lab.port()
    nsp = lab.instrument(protocol, port)
    recorder = lab.recorder(port, sites={"a": "12", "b": "12#2", "noise": "12#255"})
    streaming(lab, recorder, nsp)
    spikes = [
        (12, 0, 0.07),
        (12, 2, 0.1),
        (12, 2, 0.17 - 1 / 30_000),
        (12, 2, 0.17),
        (12, 255, 0.1),
    ]
    cue = lab.show(recorder, nsp, 33, nsp, spikes)
    nsp.pass_s(0.6)
    measured = recorder.spike_counts(cue, WINDOW_S, (0.0, 0.3))
    assert measured.counts.tolist() == [3, 2, 1]
    assert [len(each) for each in measured.ticks] == [4, 3, 1]
    assert recorder.names.mismatch() == []


def test_two_chained_nsps_are_never_summed(lab):
    port = lab.port()
    nsps = [lab.instrument("4.1", port, number=n) for n in (0, 1)]
    recorder = lab.recorder(port, sites={"first": "0:12", "second": "1:12"})
    streaming(lab, recorder, *nsps)
    cue = lab.show(recorder, nsps[0], 5, nsps[0], [(12, 0, 0.1)] * 3)
    for after_s in (0.08, 0.09, 0.1, 0.11, 0.12):
        nsps[1].spike(nsps[1].after(after_s), 12)
    for _ in range(60):
        for nsp in nsps:
            nsp.pass_s(0.01)
    assert recorder.spike_counts(cue, WINDOW_S).counts.tolist() == [3, 5]


def test_a_channel_that_two_instruments_have_must_be_named_with_one(lab):
    port = lab.port()
    nsps = [lab.instrument("4.1", port, number=n) for n in (0, 1)]
    recorder = lab.recorder(port, sites={"a": "12"})
    streaming(lab, recorder, *nsps)
    for nsp in nsps:
        nsp.spike(nsp.time, 12)
    lab.wait_for(lambda: "may be of instrument 0" in recorder.trouble(), *nsps)
    assert "name it" in recorder.trouble()


def test_a_gemini_sends_words_and_spikes_from_two_instruments_to_two_ports(lab):
    """The NSP's own system packets are stamped by a slow clock, which says nothing about the hub."""
    hub_port, nsp_port = lab.port(), lab.port()
    hub = lab.instrument("4.1", hub_port, number=0, hz=10**9, first=EPOCH_NS)
    nsp = lab.instrument("4.1", nsp_port, number=3, hz=10**9, first=EPOCH_NS)
    recorder = lab.recorder(nsp_port, hub_port, sites={"a": "12", "b": f"{hub_port}/200#1"})
    streaming(lab, recorder, hub, nsp)
    counted = []
    for word in range(1, 6):
        hub.time = nsp.time = max(hub.time, nsp.time)
        cue = lab.show(recorder, nsp, word, hub, [(12, 0, 0.1)] * word + [(200, 1, 0.16)])
        for _ in range(30):
            hub.pass_s(0.01)
            nsp.time += 10**7
            nsp.monitor(nsp.time - round(0.04 * (nsp.time % (2 * 10**9))))
            nsp.send()
            # time passes faster than in truth, so all is heard before it goes on
            lab.wait_for(lambda: recorder.recording.latest == hub.time)
            lab.wait_for(lambda: monitored(recorder, nsp) == nsp._n_monitors)
        counted.append(recorder.spike_counts(cue, WINDOW_S).counts.tolist())
    assert counted == [[word, 1] for word in range(1, 6)]


def test_lost_packets_are_a_fault(lab):
    port = lab.port()
    nsp = lab.instrument("3.11", port)
    recorder = lab.recorder(port, sites=["12"])
    streaming(lab, recorder, nsp)
    cue = lab.show(recorder, nsp, 7, nsp, [(12, 0, 0.1)])
    nsp.send()
    nsp.pass_s(0.1)
    nsp._fire(nsp.time, 12, 0)
    nsp._waiting = b""
    nsp.pass_s(0.6)
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(cue, WINDOW_S)
    assert gap.value.fault == "message_gap"


def test_a_lost_datagram_with_a_monitor_in_it_is_a_fault_too(lab):
    """Before 4.1 monitors have no number: that one is missing is seen by the time between them."""
    port = lab.port()
    nsp = lab.instrument("3.11", port)
    recorder = lab.recorder(port, sites=["12"])
    streaming(lab, recorder, nsp)
    cue = lab.show(recorder, nsp, 7, nsp, [(12, 0, 0.1)])
    nsp.send()
    nsp.pass_s(0.1)
    nsp._fire(nsp.time, 12, 0)
    nsp.time = nsp.after(0.01)
    nsp.monitor(nsp.time)
    nsp._waiting = b""
    nsp.pass_s(0.6)
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(cue, WINDOW_S)
    assert gap.value.fault == "message_gap"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows delivers broadcasts to its addresses")
def test_broadcasts_arrive_whatever_address_is_given(lab):
    port = lab.port()
    nsp = lab.instrument("3.11", port, address="127.255.255.255")
    recorder = lab.recorder(port, host="192.168.137.1", sites=["12"])
    streaming(lab, recorder, nsp)


def test_another_word_channel_by_number_and_by_name(lab):
    port = lab.port()
    nsp = lab.instrument("4.1", port)
    nsp.digital_input = 300
    recorder = lab.recorder(port, sites=["12"], word_channel="strobe")
    streaming(lab, recorder, nsp)
    settings = (300).to_bytes(4, "little") + bytes(164) + b"strobe".ljust(16, b"\0") + bytes(40)
    nsp.packet(nsp.time, 0x8000, 0x40, settings)
    nsp.pass_s(0.02)
    cue = lab.show(recorder, nsp, 9, nsp, [(12, 0, 0.1)])
    nsp.pass_s(0.6)
    assert recorder.spike_counts(cue, WINDOW_S).counts.tolist() == [1]


def test_without_pycbsdk_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycbsdk", None)
    with pytest.raises(InstallationError, match="cerebus"):
        cerebus_sdk.SdkLink(("NSP",), True)


# --- pycbsdk -----------------------------------------------------------------------------------


class Session:
    """As `pycbsdk.Session` (10.3, session.py): callbacks with a header and the payload's numbers."""

    made: ClassVar[dict] = {}

    def __init__(self, device):
        if device == "HUB3":
            raise RuntimeError("Failed to create session: Device error")
        self.made[device] = self
        self.running, self.protocol_version, self.callbacks = True, 4, []
        self.stats = SimpleNamespace(packets_dropped=0, shmem_overruns=0)

    def on_packet(self):
        return self.callbacks.append

    def max_chans(self):
        return 284 if "NSP" in self.made and self.made["NSP"] is self else 256

    def get_channel_type(self, channel):
        return 4 if self.max_chans() == 284 and channel == 279 else 0

    def get_channel_label(self, channel):
        return f"chan{channel}"

    def close(self):
        self.running = False

    def say(self, time_ns, channel, kind, payload, instrument):
        data = [*payload, *bytes(1008 - len(payload))]
        header = SimpleNamespace(time=time_ns, chid=channel, type=kind, dlen=len(payload) // 4,
                                 instrument=instrument)  # fmt: skip
        for callback in self.callbacks:
            callback(header, data)


def test_through_pycbsdk_a_gemini_is_two_devices(lab, monkeypatch):
    fake = ModuleType("pycbsdk")
    fake.Session = Session
    fake.ProtocolVersion = SimpleNamespace(V3_11=1, V4_1=3)
    fake.ChannelType = SimpleNamespace(DIGITAL_IN=4)
    monkeypatch.setitem(sys.modules, "pycbsdk", fake)
    monkeypatch.setattr(Session, "made", {})
    recorder = lab.recorder(51001, devices=("NSP", "HUB1"), sites={"a": "12", "b": "HUB1/13#1"})
    lab.wait_for(lambda: len(Session.made) == 2 and all(s.callbacks for s in Session.made.values()))
    nsp, hub = Session.made["NSP"], Session.made["HUB1"]
    for n in range(10):
        hub.say(EPOCH_NS + n * 10**7, 0x8000, 1, struct.pack("<II", 1, n + 1), 0)
    lab.wait_for(lambda: recorder.trouble() == "")
    begin = EPOCH_NS + 2 * 10**8
    cue = Cue(block_index=0, stimulus_index=0, stimulus_id="0" * 64, repetition=0, attempt=0,
              trial=0)  # fmt: skip
    recorder.mark(cue, time.perf_counter(), 21)
    nsp.say(begin, 279, 0, struct.pack("<III", 21, 21, 1), 3)
    n_sent = 0
    for n in range(60):
        at = begin + n * 10**7
        if n in (8, 9, 20):
            hub.say(at, 12, 0, bytes(112), 0)
            hub.say(at, 13, 1, bytes(112), 0)
            n_sent += 2
        hub.say(at, 0x8000, 1, struct.pack("<II", n_sent + 1, n + 11), 0)
        n_sent = 0
    assert recorder.spike_counts(cue, WINDOW_S).counts.tolist() == [2, 2]
    recorder.close()
    assert not nsp.running


def test_a_device_that_does_not_answer_is_named(monkeypatch):
    fake = ModuleType("pycbsdk")
    fake.Session = Session
    monkeypatch.setitem(sys.modules, "pycbsdk", fake)
    with pytest.raises(StreamLost, match="does not reach HUB3"):
        cerebus_sdk.SdkLink(("HUB3",), True)
