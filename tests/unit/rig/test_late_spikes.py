"""When a window is complete: what is known, what is measured, and what comes too late."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.vocabulary import Cue
from rig_client.acquisition.disorder import EXTRA_S, FIRST_S, MARGIN, Disorder
from rig_client.acquisition.recording import Limits, Recording

RATE = 30_000
WINDOW = (0.07, 0.17)


def cue(number, block=0):
    return Cue(
        block_index=block,
        stimulus_index=0,
        stimulus_id="0" * 64,
        repetition=number,
        attempt=0,
        trial=number,
    )


class Lab:
    """A recording whose limits are those of a recorder with default settings."""

    def __init__(self, **limits):
        self.now_s = 50.0
        given = {"settle_s": FIRST_S, "is_measured": True, **limits}
        self.recording = Recording(("E1", "E2"), RATE, Limits(**given), lambda: self.now_s)
        self.recording.expect(WINDOW)
        self.n = 0

    def show(self, word_at, block=0):
        shown = cue(self.n, block)
        self.n += 1
        self.recording.mark(shown, self.now_s, self.n)
        self.recording.word(self.n, word_at)
        return shown

    def counts(self, shown):
        measured = self.recording.judged(shown, WINDOW)
        return None if measured is None else measured.counts.tolist()


def test_the_smallest_case_of_the_reference():
    """Word at 10000; E1@14600, E1@15750, E2@14520, E2@14900, E2@15050: the truth is [1, 3]."""
    lab = Lab()
    shown = lab.show(10_000)
    for sample, site in ((14_600, "E1"), (15_750, "E1")):
        lab.recording.spike(sample, site)
    assert lab.counts(shown) is None, "judged complete at E1@15750 as [1, 0] in 2026-11"
    for sample in (14_520, 14_900, 15_050):
        lab.recording.spike(sample, "E2")
    assert lab.counts(shown) is None
    lab.recording.spike(15_100 + int(FIRST_S * RATE) - 1, "E1")
    assert lab.counts(shown) is None
    lab.recording.spike(15_100 + int(FIRST_S * RATE), "E1")
    assert lab.counts(shown) == [1, 3]
    assert lab.recording.late() == ()


def blocks_of(lab, length, n, rate_hz=40.0, n_electrodes=96, seed=0):
    """A recorder that sends `n` buffers, electrode by electrode."""
    random = np.random.default_rng(seed)
    first = 200_000
    for place in range(n):
        start = first + place * length
        lab.now_s += length / RATE
        for site in range(n_electrodes):
            n_spikes = random.poisson(rate_hz * length / RATE)
            for sample in np.sort(random.integers(start, start + length, n_spikes)):
                lab.recording.spike(int(sample), f"E{site + 1}")


@pytest.mark.parametrize("length", [150, 690, 1380, 2790, 4080])
def test_the_wait_is_measured_and_covers_a_whole_buffer(length):
    lab = Lab()
    assert lab.recording.wait_s == FIRST_S
    blocks_of(lab, length, n=3 * RATE // length)
    assert lab.recording.is_measured
    buffer_s = length / RATE
    assert buffer_s < lab.recording.wait_s < MARGIN * 1.1 * buffer_s + EXTRA_S + 0.001
    (note,) = lab.recording.notes()
    assert "counts wait" in note
    assert lab.recording.notes() == ()


def test_a_single_electrode_tells_the_buffer_by_when_its_spikes_are_read():
    """It is never in disorder by itself; others may begin to fire later."""
    lab = Lab()
    blocks_of(lab, 4080, n=60, n_electrodes=1)
    assert 0.8 * 0.136 < lab.recording.wait_s < 1.5 * 0.136


def test_an_orderly_stream_is_hardly_waited_for():
    lab = Lab()
    for place in range(1000):
        lab.now_s += 0.005
        lab.recording.spike(200_000 + 150 * place, "E1")
    assert lab.recording.wait_s < 0.005


def test_few_spikes_are_no_measurement():
    lab = Lab()
    for place in range(150):
        lab.now_s += 0.1
        lab.recording.spike(200_000 + 3000 * place, "E1")
    assert lab.recording.wait_s == FIRST_S
    assert not lab.recording.is_measured


def test_a_setting_is_the_least_and_is_raised_too():
    disorder = Disorder(RATE, 0.02, may_fall=False)
    for place in range(1000):
        disorder.came(150 * place, 150 * (place - 1), 0.005 * place)
    assert disorder.wait_s == 0.02
    disorder.came(150_000 - 3000, 150_000, 5.0)
    assert disorder.wait_s == MARGIN * 0.1 + EXTRA_S
    (note,) = disorder.notes()
    assert "100 ms behind" in note


def test_a_late_spike_withdraws_its_presentation_and_no_other():
    lab = Lab(settle_s=0.02)
    counted = []
    for place in (1, 2, 3):
        lab.now_s += 1 / 3
        one = lab.show(10_000 * place)
        lab.recording.heard(10_000 * place + 5_100 + 600)
        assert lab.counts(one) == [0, 0]
        counted.append(one)
    lab.recording.spike(20_000 + 2_099, "E1")
    lab.recording.spike(20_000 + 2_100, "elsewhere")
    assert lab.recording.late() == ()
    lab.recording.spike(20_000 + 2_100, "E1")
    lab.recording.spike(20_000 + 2_101, "E2")
    assert lab.recording.late() == (counted[1],)
    assert lab.recording.late() == ()
    assert lab.recording.n_late == 1
    assert lab.recording.wait_s > (35_700 - 22_100) / RATE
    assert any("late_spikes" in note for note in lab.recording.notes())


def test_windows_of_a_whole_block_are_remembered_and_of_the_one_before():
    lab = Lab(settle_s=0.02)
    counted = []
    for place in range(300):
        lab.now_s += 0.2
        one = lab.show(200_000 + 6_000 * place, block=place // 100)
        lab.recording.heard(200_000 + 6_000 * place + 5_700)
        assert lab.counts(one) == [0, 0]
        lab.recording.rest()
        counted.append(one)
    lab.recording.gap("message_gap", 200_000, 2_000_000)
    lab.recording.heard(2_001_000)
    assert set(lab.recording.late()) == set(counted[100:])


def test_a_gap_that_is_found_late_withdraws_what_it_touches_unless_it_fills():
    lab = Lab(settle_s=0.02)
    one = lab.show(10_000)
    lab.recording.heard(15_700)
    assert lab.counts(one) == [0, 0]
    filled = lab.recording.gap("message_gap", 15_000, 15_800)
    lab.recording.filled(filled)
    lab.recording.heard(18_000)
    assert lab.recording.late() == ()
    lab.recording.gap("message_gap", 15_000, 18_100)
    assert lab.recording.late() == (), "it may fill"
    lab.recording.heard(18_700)
    assert lab.recording.late() == (one,)


def test_what_the_format_says_is_complete_needs_no_wait():
    lab = Lab()
    one = lab.show(10_000)
    lab.recording.spike(14_000, "E1")
    lab.recording.complete(15_099)
    assert lab.counts(one) is None
    lab.recording.complete(15_100)
    assert lab.counts(one) == [1, 0]


def test_a_claim_that_was_wrong_is_not_believed_again():
    lab = Lab()
    one = lab.show(10_000)
    lab.recording.complete(15_100)
    assert lab.counts(one) == [0, 0]
    lab.recording.spike(15_000, "E1")
    assert lab.recording.late() == (one,)
    lab.now_s += 1
    two = lab.show(40_000)
    lab.recording.complete(45_100 + 100)
    assert lab.counts(two) is None
    lab.recording.complete(45_100 + 126)
    assert lab.counts(two) == [0, 0]


def test_silence_that_was_believed_too_early_is_waited_for_longer():
    lab = Lab(settle_s=0.02, quiet_s=0.1)
    one = lab.show(10_000)
    lab.now_s += 0.28
    lab.recording.drained()
    assert lab.counts(one) == [0, 0]
    lab.now_s += 0.2
    lab.recording.spike(15_000, "E1")
    assert lab.recording.late() == (one,)
    lab.now_s += 0.52
    two = lab.show(40_000)
    lab.now_s += 0.17 + 0.3
    lab.recording.drained()
    assert lab.counts(two) is None
    lab.now_s += 0.1
    lab.recording.drained()
    assert lab.counts(two) == [0, 0]


def test_a_restarted_recorder_is_measured_anew():
    lab = Lab()
    blocks_of(lab, 150, n=600)
    assert lab.recording.wait_s < 0.01
    lab.recording.restarted()
    assert lab.recording.wait_s == FIRST_S
