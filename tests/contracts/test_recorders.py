"""One suite for all recorders that stream: each against its emulator, over real sockets."""

from __future__ import annotations

import time

import pytest

from protocols.errors import PluginError, RecorderGap
from protocols.recorder_checks import check_recorder
from rig_client.emulators import STREAMING
from rig_client.emulators.emulator import Lines, Spike
from tests.edges import (
    TIMING,
    at_the_edges,
    edge_block,
    known,
    number,
)
from tests.emulation import SITES, rehearsal

KINDS = sorted(STREAMING)
NUMBERED = ["cerebus", "open-ephys-zmq"]
"""Recorders whose format lets lost spikes be noticed."""


@pytest.fixture
def block(images):
    return edge_block(images)


@pytest.mark.parametrize("kind", KINDS)
def test_known_spikes_give_known_counts_edges_included(kind, block):
    with rehearsal(kind, at_the_edges) as lab:
        assert lab.recorder.site_ids == SITES
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("drift_ppm", [500, -500])
def test_with_clock_drift(kind, block, drift_ppm):
    with rehearsal(kind, at_the_edges, drift_ppm=drift_ppm) as lab:
        for _ in range(2):
            assert check_recorder(lab.recorder, lab.trigger, block, known) == {}
        assert lab.recorder.clock().n_words == 16


@pytest.mark.parametrize("kind", KINDS)
def test_with_messages_that_overtake_each_other(kind, block):
    with rehearsal(kind, at_the_edges, {"settle_ms": 80}, jitter_ms=30) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


@pytest.mark.parametrize("segment_bytes", [7, 773])
def test_with_split_tcp_segments(block, segment_bytes):
    patient = {"word_wait_ms": 20_000}  # so many segments are this one process's work
    with rehearsal("intan", at_the_edges, patient, segment_bytes=segment_bytes) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_word_is_refused_and_no_other_presentation(kind, block):
    """The emulator puts no word on the lines, and emits no spikes, for two of the images."""
    lost = {2, 7}

    def script(cue):
        return None if number(cue) in lost else at_the_edges(cue)

    def expected(cue):
        return None if number(cue) in lost else known(cue)

    with rehearsal(kind, script) as lab:
        faults = check_recorder(lab.recorder, lab.trigger, block, expected)
    assert {number(cue) for cue in faults} == lost
    assert set(faults.values()) == {"missing_word"}


@pytest.mark.parametrize("kind", NUMBERED)
def test_a_lost_spike_is_noticed_by_the_numbers(kind, block):
    class Losing:
        """Loses one spike of the third image."""

        def __init__(self):
            self.n_words = 0
            self.has_lost = False

        def __call__(self, event):
            self.n_words += isinstance(event, Lines) and event.word > 0
            if isinstance(event, Spike) and self.n_words >= 3 and not self.has_lost:
                self.has_lost = True
                return True
            return False

    with rehearsal(kind, at_the_edges) as lab:
        lab.speaker.is_lost = Losing()
        shown = {}

        def expected(cue):
            return None if number(cue) == 2 else known(cue)

        shown = check_recorder(lab.recorder, lab.trigger, block, expected)
    assert set(shown.values()) == {"message_gap"}


def test_a_garbled_packet_is_noticed_and_the_stream_found_again(block):
    """Half a spike packet: the next one is found by its magic number."""
    cut = {"one": False}

    def is_lost(event):
        if isinstance(event, Spike) and not cut["one"]:
            cut["one"] = True
            return True
        return False

    with rehearsal("intan", at_the_edges) as lab:
        lab.speaker.is_lost = is_lost

        def expected(cue):
            return None if number(cue) == 0 else known(cue)

        faults = check_recorder(lab.recorder, lab.trigger, block, expected)
    assert list(faults.values()) == ["message_gap"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_is_named_and_recording_goes_on(kind, block):
    with rehearsal(kind, at_the_edges, away_s=0.3) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}
        cue = next(block.cues())
        lab.trigger.stage(block)
        lab.recorder.stage(block)
        lab.emulator.restart()
        lab.recorder.mark(cue, time.perf_counter(), 77)
        with pytest.raises(RecorderGap) as gap:
            lab.recorder.spike_counts(cue, TIMING.count_window_s)
        assert gap.value.fault in ("disconnected", "recorder_restarted", "silent_stream")
        lab.wait_until_streaming()
        assert check_recorder(lab.recorder, lab.trigger, block, known, first_word=100) == {}


@pytest.mark.parametrize("kind", ["open-ephys-events", "open-ephys-zmq", "intan"])
def test_a_recorder_that_is_away_is_trouble_and_comes_back(kind, block):
    with rehearsal(kind, at_the_edges, away_s=1.0) as lab:
        lab.emulator.restart()
        lab.wait_until(lambda: "no connection" in lab.recorder.trouble(), "trouble")
        lab.wait_until_streaming()
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


def test_silence_is_trouble_where_there_should_be_none(block):
    with rehearsal("cerebus", at_the_edges, {"silence_s": 0.2}, away_s=2.0) as lab:
        lab.emulator.restart()
        lab.wait_until(lambda: "silent" in lab.recorder.trouble(), "trouble")
        lab.wait_until_streaming()
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


def test_a_quiet_broadcaster_is_believed(block):
    """No spike on any other electrode says that a window is over."""
    options = {"quiet_ms": 600}
    with rehearsal("open-ephys-events", at_the_edges, options, background_hz=0) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


def test_the_check_can_fail(block):
    with (
        rehearsal("cerebus", at_the_edges) as lab,
        pytest.raises(PluginError, match="exactly the known counts"),
    ):
        check_recorder(lab.recorder, lab.trigger, block, lambda cue: known(cue) + 1)
