"""Recorders with default settings, in front of emulators that send as the vendor's own source does."""

from __future__ import annotations

import time

import numpy as np
import pytest

from protocols.errors import RecorderGap
from protocols.recorder_checks import check_recorder
from protocols.spike_times import ticks_after
from protocols.vocabulary import Block, Role, Timing
from rig_client.emulators.emulator import Spike
from tests.emulation import SITES, rehearsal
from tests.thorough import times

TIMING = Timing(on_ms=20, off_ms=0, count_start_ms=30, count_stop_ms=70)
RATE_HZ = 30_000
START, STOP = (ticks_after(edge, RATE_HZ) for edge in TIMING.count_window_s)
OPEN_EPHYS = ["open-ephys-events", "open-ephys-zmq"]


@pytest.fixture
def block(images):
    return Block.of(images, roles=Role.EVOLVED, order=[0, 1, 2, 3] * 2, timing=TIMING).at(0, "t")


def script(cue):
    """Of every electrode many spikes until the window's end: none reaches into the next showing."""
    random = np.random.default_rng(7 * cue.stimulus_index + cue.repetition)
    return [sorted(set(random.integers(0, STOP, 60).tolist())) for _ in SITES]


def known(cue):
    return np.array([sum(START <= tick < STOP for tick in each) for each in script(cue)], float)


KEPT_S = (0.0, 0.07)


@pytest.mark.parametrize("block_ms", [5, 23.2, 136])
@pytest.mark.parametrize("kind", OPEN_EPHYS)
def test_counts_and_times_are_exact_whatever_the_gui_s_block(kind, block_ms, block):
    options = {"ideal": False, "block_ms": block_ms, "latency_ms": 15}
    if kind == "open-ephys-zmq":
        options["n_channels"] = 2  # all messages are this one process's work
    with rehearsal(kind, script, {"word_wait_ms": 20_000}, **options) as lab:
        faults = check_recorder(
            lab.recorder,
            lab.trigger,
            block,
            known,
            expected_ticks=script,
            kept_s=KEPT_S,
        )
        assert faults == {}
        assert lab.recorder.late() == ()


@pytest.mark.parametrize("kind", OPEN_EPHYS)
def test_a_wait_that_is_too_short_gives_faults_and_no_wrong_count(kind, block):
    """The first wait of 2026-11: 20 ms for blocks of 136 ms. It is raised by what it sees."""
    options = (
        {"settle_ms": 0.1, "quiet_ms": 0} if kind == "open-ephys-events" else {"settle_ms": 0.1}
    )
    with rehearsal(kind, script, options, ideal=False, block_ms=136) as lab:
        if kind == "open-ephys-zmq":
            lab.recorder._overflow = -5000  # as if a block's data came before its spikes
        check_recorder(lab.recorder, lab.trigger, block, known, may_refuse=True)
        assert lab.recorder.recording.wait_s > 0.05
        assert any("counts now wait" in note for note in lab.recorder.notes())


@pytest.mark.parametrize("kind", OPEN_EPHYS)
def test_a_spike_that_comes_a_second_late_withdraws_its_presentation(kind, block):
    with rehearsal(kind, script, {"settle_ms": 1}) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}
        (cue, *_) = [cue.model_copy(update={"trial": 0}) for cue in block.cues()]
        lab.trigger.stage(block)
        lab.recorder.stage(block)
        lab.trigger.send(100, cue)
        lab.recorder.mark(cue, time.perf_counter(), 100)
        measured = lab.recorder.spike_counts(cue, TIMING.count_window_s)
        assert measured.counts.tolist() == known(cue).tolist()
        lab.emulator.inject(Spike(round(measured.onset_s * RATE_HZ) + START, 1))
        lab.wait_until(lambda: lab.recorder.recording.n_late == 1, "the late spike")
        assert lab.recorder.late() == (cue,)


@pytest.mark.slow
@pytest.mark.parametrize("kind", OPEN_EPHYS)
def test_many_restarts_give_no_wrong_count_and_the_session_goes_on_by_itself(kind, block):
    short = block.model_copy(update={"order": (0, 1)})
    with rehearsal(kind, script, {"settle_ms": 60}, ideal=False, away_s=0.1) as lab:
        for number in range(times(20, 6)):
            first = 3 * number + 1
            assert check_recorder(lab.recorder, lab.trigger, short, known, first_word=first) == {}
            cue = next(short.cues())
            lab.recorder.stage(short)
            lab.recorder.mark(cue, time.perf_counter(), first + 2)
            lab.emulator.restart()
            with pytest.raises(RecorderGap):
                lab.recorder.spike_counts(cue, TIMING.count_window_s)
            lab.wait_until_epoch(number + 1)
            lab.wait_until_streaming()
