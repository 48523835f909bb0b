"""The small cases of what recorders really send, through the adapters, byte for byte.

Frames are written out here as the vendors' sources build them, not by our own `encoded`.
"""

from __future__ import annotations

import json
import struct

import pytest

from protocols.errors import RecorderGap
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Cue
from rig_client.acquisition import open_ephys_events, open_ephys_zmq
from rig_client.acquisition.open_ephys_events import OpenEphysEvents
from rig_client.acquisition.open_ephys_zmq import OpenEphysZmq

SESSION = SessionInfo(session_id="s", seed=0)
WINDOW = (0.07, 0.17)
CUE = Cue(block_index=0, stimulus_index=0, stimulus_id="0" * 64, repetition=0, attempt=0, trial=0)


class Events(OpenEphysEvents):
    """Without a thread: what would be read is given to `take`."""

    def start(self):
        pass

    def take(self, *frames):
        event = open_ephys_events.understood(list(frames))
        if event is not None:
            self._take(event)


class Interface(OpenEphysZmq):
    """As above."""

    def start(self):
        self._block = None

    def take(self, *frames):
        self._take(open_ephys_zmq.understood(list(frames)))


def juce(**content):
    """JSON as JUCE writes it: spaces, and a NUL at the end."""
    return json.dumps(content, indent=2).encode() + b"\0"


def broadcast_ttl(sample, line, state, channel="Rhythm TTL"):
    return b"\x00\x00", juce(
        event_type="ttl", stream="Rhythm", source_node=100, sample_rate=30000.0,
        channel_name=channel, sample_number=sample, line=line, state=state,
    )  # fmt: skip


def broadcast_spike(sample, electrode, sorted_id=0):
    return b"\x01\x00", juce(
        event_type="spike", stream="Rhythm", source_node=102, electrode=electrode,
        num_channels=1, sample_rate=30000.0, sample_number=sample, sorted_id=sorted_id, amp1=-61.5,
    )  # fmt: skip


def interface_ttl(number, sample, line, state, word, node=100):
    head = juce(
        message_num=number, type="event", data_size=10, timestamp=1,
        content={"stream": "Rhythm", "source_node": node, "type": 3, "sample_num": sample},
    )  # fmt: skip
    return b"EVENT\0", head, struct.pack("<BBQ", line, state, word)


def interface_spike(number, sample, electrode):
    spike = {
        "stream": "Rhythm", "source_node": 102, "electrode": electrode, "sample_num": sample,
        "num_channels": 1, "num_samples": 40, "sorted_id": 0, "threshold": [-50.0],
    }  # fmt: skip
    return b"EVENT\0", juce(message_num=number, type="spike", spike=spike, timestamp=1), bytes(160)


def interface_data(number, sample, n_samples, channel=0):
    content = {
        "stream": "Rhythm", "channel_num": channel, "channel_name": f"CH{channel + 1}",
        "num_samples": n_samples, "sample_num": sample, "sample_rate": 30000.0,
    }  # fmt: skip
    head = juce(message_num=number, type="data", content=content, data_size=4 * n_samples)
    return b"DATA\0", head, bytes(4 * n_samples)


def test_event_broadcaster_the_smallest_case():
    """Word at 10000; E1@14600, E1@15750, E2@14520, E2@14900, E2@15050: [1, 3], not [1, 0]."""
    recorder = Events(Events.Settings(sites=("E1", "E2"), tolerance_ms=10_000), SESSION)
    recorder.mark(CUE, 1.0, 1)
    recorder.take(*broadcast_ttl(10_000, 0, True))
    for sample, electrode in (
        (14_600, "E1"), (15_750, "E1"), (14_520, "E2"), (14_900, "E2"), (15_050, "E2"),
    ):  # fmt: skip
        recorder.take(*broadcast_spike(sample, electrode))
        assert recorder.recording.judged(CUE, WINDOW) is None
    recorder.take(*broadcast_spike(15_100 + 7_500, "E1"))
    assert recorder.recording.judged(CUE, WINDOW).counts.tolist() == [1, 3]


def test_zmq_interface_a_later_block_s_begin_completes_the_window_without_a_wait():
    recorder = Interface(Interface.Settings(sites=("E1", "E2"), tolerance_ms=10_000), SESSION)
    recorder.mark(CUE, 1.0, 1)
    messages = [
        interface_ttl(1, 10_000, 0, 1, 1),
        interface_data(2, 13_312, 1024),
        interface_spike(3, 14_600, "E1"),
        interface_spike(4, 14_520, "E2"),
        interface_data(5, 14_336, 1024),
        interface_data(6, 14_336, 1024, channel=1),
        interface_spike(7, 15_700, "E1"),
        interface_spike(8, 15_090, "E2"),  # cut by the block's end, found in the next
    ]
    for message in messages:
        recorder.take(*message)
        assert recorder.recording.judged(CUE, WINDOW) is None
    recorder.take(*interface_data(9, 15_360, 1024))
    assert recorder.recording.judged(CUE, WINDOW).counts.tolist() == [1, 2]
    assert recorder.late() == ()


def test_zmq_interface_a_number_that_is_missing_is_a_gap():
    recorder = Interface(Interface.Settings(sites=("E1", "E2"), tolerance_ms=10_000), SESSION)
    recorder.mark(CUE, 1.0, 1)
    recorder.take(*interface_ttl(1, 10_000, 0, 1, 1))
    recorder.take(*interface_spike(2, 13_000, "E1"))
    recorder.take(*interface_spike(4, 13_500, "E1"))
    for number in range(30):
        recorder.take(*interface_data(5 + number, 13_312 + 1024 * number, 1024))
    with pytest.raises(RecorderGap) as gap:
        recorder.recording.judged(CUE, WINDOW)
    assert gap.value.fault == "message_gap"


def test_zmq_interface_numbers_and_samples_that_begin_anew_are_another_acquisition():
    """The first acquisition was short: its samples alone would not tell."""
    recorder = Interface(Interface.Settings(sites=("E1",), tolerance_ms=10_000), SESSION)
    for number in range(1, 6):
        recorder.take(*interface_data(number, 1024 * number, 1024))
    assert recorder.recording.epoch == 0
    recorder.take(*interface_data(1, 6_144, 1024))
    assert recorder.recording.epoch == 1


def test_a_photodiode_s_line_of_another_source_node_is_no_word():
    """Line 1, half a millisecond after the word: 39 of 40 trials were lost by it."""
    options = {"sites": ("E1",), "tolerance_ms": 10_000, "word_channel": "100"}
    recorder = Interface(Interface.Settings(**options), SESSION)
    recorder.mark(CUE, 1.0, 5)
    recorder.take(*interface_ttl(1, 10_000, 0, 1, 1))
    recorder.take(*interface_ttl(2, 10_000, 2, 1, 5))
    recorder.take(*interface_ttl(3, 10_015, 1, 1, 2, node=103))
    recorder.take(*interface_spike(4, 13_000, "E1"))
    for number in range(40):
        recorder.take(*interface_data(5 + number, 9_728 + 1024 * number, 1024))
    measured = recorder.recording.judged(CUE, WINDOW)
    assert measured.counts.tolist() == [1]
    assert measured.onset_s == 10_000 / 30_000


def test_units_of_the_spike_sorter_are_counted_apart():
    sites = ("Electrode 2", "Electrode 2#1", "Electrode 2#2")
    recorder = Events(Events.Settings(sites=sites, tolerance_ms=10_000), SESSION)
    recorder.mark(CUE, 1.0, 1)
    recorder.take(*broadcast_ttl(10_000, 0, True))
    for sample, unit in ((13_000, 0), (13_100, 1), (13_200, 1), (13_300, 2)):
        recorder.take(*broadcast_spike(sample, "Electrode 2", unit))
    recorder.take(*broadcast_spike(30_000, "Electrode 9"))
    assert recorder.recording.judged(CUE, WINDOW).counts.tolist() == [4, 2, 1]
