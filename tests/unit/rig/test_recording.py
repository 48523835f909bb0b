"""The recorders' engine, on a clock that the test turns, and without a thread."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from protocols.errors import RecorderGap, RigError
from protocols.spike_times import ticks_after
from protocols.vocabulary import Cue
from rig_client.acquisition.recording import Limits, Recording

RATE = 30_000
WINDOW = (0.07, 0.17)
START, STOP = 2_100, 5_100
"""The window's edges, in samples after the word."""
OFFSET_S = 100.0
"""Recorder's clock against the rig's."""


class Rig:
    """A rig that shows an image every 0.25 s, and a recorder whose clock drifts."""

    def __init__(self, *, drift_ppm=0.0, quiet_s=None, sites=("a", "b"), word_bits=8):
        self.now_s = 50.0
        self.drift = drift_ppm * 1e-6
        self.n_words = 2**word_bits - 1
        limits = Limits(settle_s=0.02, quiet_s=quiet_s, word_wait_s=1.0, tolerance_s=0.02)
        self.recording = Recording(sites, RATE, limits, lambda: self.now_s)
        self.recording.expect(WINDOW)
        self.n = 0

    def sample(self, rig_s):
        return round((rig_s + OFFSET_S + self.drift * rig_s) * RATE)

    def show(self, *, trial=None, word="true", word_at=None):
        """One image; returns its cue and the sample of its word."""
        number = self.n
        self.n += 1
        cue = Cue(
            block_index=0,
            stimulus_index=0,
            stimulus_id="0" * 64,
            repetition=number,
            attempt=0,
            trial=number if trial is None else trial,
        )
        sent = number % self.n_words + 1
        self.recording.mark(cue, self.now_s, sent)
        at = self.sample(self.now_s) if word_at is None else word_at
        if word is not None:
            self.recording.word(sent if word == "true" else word, at)
        return cue, at

    def pass_s(self, duration_s, heard=True):
        self.now_s += duration_s
        if heard:
            self.recording.heard(self.sample(self.now_s))

    def counts(self, cue):
        measured = self.recording.judged(cue, WINDOW)
        return None if measured is None else measured.counts.tolist()

    def fault(self, cue):
        with pytest.raises(RecorderGap) as gap:
            self.recording.judged(cue, WINDOW)
        return gap.value.fault


def settled(rig):
    """A rig whose clock line is known."""
    for _ in range(20):
        rig.show()
        rig.pass_s(0.25)
    return rig


@pytest.mark.parametrize(
    ("sample", "counted"),
    [(START - 1, 0), (START, 1), (START + 1, 1), (STOP - 1, 1), (STOP, 0), (STOP + 1, 0)],
)
def test_a_spike_at_start_counts_and_one_at_stop_does_not(sample, counted):
    rig = Rig()
    cue, word = rig.show()
    rig.recording.spike(word + sample, "a")
    rig.pass_s(0.25)
    assert rig.counts(cue) == [counted, 0]


@pytest.mark.parametrize("rate_hz", [30_000, 40_000, 24_414.0625, 30_000.27, 44_100, 1e9])
@pytest.mark.parametrize("milliseconds", [0, 70, 170, 33.3, 0.1, -50, 12_345.678])
def test_edges_are_exact_whatever_floats_say(rate_hz, milliseconds):
    """0.07 * 30000 is 2100.0000000000005: the sample at exactly start must not be left out."""
    edge = ticks_after(milliseconds / 1000, rate_hz)
    from fractions import Fraction

    exact = Fraction(str(milliseconds)) / 1000 * Fraction(str(rate_hz))
    assert edge - 1 < exact <= edge


def test_the_onset_is_the_words():
    rig = Rig()
    cue, word = rig.show()
    rig.pass_s(0.25)
    measured = rig.recording.judged(cue, WINDOW)
    assert measured.onset_s == word / RATE


def test_sites_are_counted_apart_and_strangers_not_at_all():
    rig = Rig()
    cue, word = rig.show()
    for sample in (3000, 3000, 4000):
        rig.recording.spike(word + sample, "b", "b#1")
    rig.recording.spike(word + 3000, "elsewhere")
    rig.pass_s(0.25)
    assert rig.counts(cue) == [0, 3]


def test_nothing_is_said_before_the_window_is_over_and_settled():
    rig = Rig()
    cue, word = rig.show()
    rig.recording.heard(word + STOP + 599)
    assert rig.counts(cue) is None
    rig.recording.heard(word + STOP + 600)
    assert rig.counts(cue) == [0, 0]


def test_disorder_within_the_settling_time_changes_nothing():
    rig = Rig()
    cue, word = rig.show(word=None)[0], rig.sample(rig.now_s)
    rig.recording.spike(word + STOP + 100, "a")
    rig.recording.spike(word + 3000, "a")
    rig.recording.word(1, word)
    rig.recording.spike(word + START, "a")
    rig.pass_s(0.25)
    assert rig.counts(cue) is None, "the word itself came 173 ms behind: as much may be missing"
    rig.pass_s(0.15)
    assert rig.counts(cue) == [2, 0]


def test_a_quiet_stream_is_believed_once_it_is_read_empty_long_enough():
    rig = Rig(quiet_s=0.1)
    cue, word = rig.show()
    rig.recording.spike(word + 3000, "a")
    rig.now_s += 0.269
    rig.recording.drained()
    assert rig.counts(cue) is None
    rig.now_s += 0.002
    assert rig.counts(cue) is None, "nobody has looked since"
    rig.recording.drained()
    assert rig.counts(cue) == [1, 0]


def test_a_stream_that_always_speaks_must_not_be_quiet():
    rig = Rig()
    cue, _ = rig.show()
    rig.now_s += 1.1
    rig.recording.drained()
    assert rig.counts(cue) is None
    rig.now_s += 0.1
    assert rig.fault(cue) == "silent_stream"


def test_a_missing_word_is_named_as_soon_as_the_stream_is_past_it():
    rig = settled(Rig())
    cue, _ = rig.show(word=None)
    assert rig.counts(cue) is None
    rig.pass_s(0.05)
    assert rig.fault(cue) == "missing_word"


def test_without_a_clock_line_a_word_is_waited_for():
    rig = Rig()
    cue, _ = rig.show(word=None)
    rig.pass_s(0.9)
    assert rig.counts(cue) is None
    rig.pass_s(0.2)
    assert rig.fault(cue) == "missing_word"


def test_a_lost_word_costs_its_own_presentation_only():
    rig = settled(Rig())
    shown = []
    for place in range(4):
        shown.append(rig.show(trial=99, word=None if place == 1 else "true"))
        rig.recording.spike(shown[-1][1] + 3000, "a")
        rig.pass_s(0.25)
    assert rig.fault(shown[1][0]) == "missing_word"
    assert [rig.counts(shown[i][0]) for i in (0, 2, 3)] == [[1, 0]] * 3


def test_another_word_in_its_place_is_named():
    rig = settled(Rig())
    cue, _ = rig.show(word=77)
    rig.pass_s(0.25)
    assert rig.fault(cue) == "unexpected_word"


def test_the_late_word_of_a_trial_that_nobody_asked_about_is_not_strange():
    rig = settled(Rig())
    rig.show(word=None)
    broken, at = rig.n, rig.sample(rig.now_s)
    rig.recording.rest()
    rig.pass_s(0.01)
    cue, _ = rig.show(word=None)
    rig.recording.word(broken, at)
    rig.pass_s(0.25)
    assert rig.fault(cue) == "missing_word"


def test_a_word_off_the_clock_line_is_refused():
    rig = settled(Rig())
    cue, _ = rig.show(word_at=rig.sample(rig.now_s + 0.1))
    rig.pass_s(0.25)
    assert rig.fault(cue) == "word_off_clock"
    cue, _ = rig.show()
    rig.pass_s(0.25)
    assert rig.counts(cue) == [0, 0], "one bad word does not spoil the line"


def test_a_clock_that_jumped_is_followed_after_three_words():
    rig = settled(Rig())
    for _ in range(3):
        cue, _ = rig.show(word_at=rig.sample(rig.now_s + 10))
        rig.recording.heard(rig.sample(rig.now_s + 10.25))
        rig.now_s += 0.25
        assert rig.fault(cue) == "word_off_clock"
    cue, _ = rig.show(word_at=rig.sample(rig.now_s + 10))
    rig.recording.heard(rig.sample(rig.now_s + 10.25))
    assert rig.counts(cue) == [0, 0]


def test_words_wrap_and_an_old_one_is_not_taken_for_a_new_one():
    rig = settled(Rig(word_bits=2))
    for _ in range(9):
        lost, _ = rig.show(word=None)
        rig.pass_s(0.25)
        assert rig.fault(lost) == "missing_word"
        cue, _ = rig.show()
        rig.pass_s(0.25)
        assert rig.counts(cue) == [0, 0]


def test_a_word_that_is_read_before_it_is_marked_belongs_to_it():
    rig = settled(Rig())
    rig.recording.word(rig.n + 1, rig.sample(rig.now_s))
    cue, _ = rig.show(word=None)
    rig.pass_s(0.25)
    assert rig.counts(cue) == [0, 0]


def test_drift_is_found_and_stays_within_the_tolerance():
    rig = Rig(drift_ppm=500)
    for _ in range(400):
        cue, word = rig.show()
        rig.recording.spike(word + START, "a")
        rig.recording.spike(word + STOP, "a")
        rig.pass_s(0.25)
        assert rig.counts(cue) == [1, 0]
    clock = rig.recording.clock()
    assert clock.n_words == 400
    np.testing.assert_allclose(clock.drift_ppm, 500, atol=2)
    np.testing.assert_allclose(clock.offset_s, OFFSET_S + 500e-6 * (rig.now_s - 0.25), atol=1e-4)
    assert clock.residual_s < 1e-4


def test_the_fit_survives_a_late_word_now_and_then():
    rig = Rig(drift_ppm=-200)
    for place in range(200):
        rig.show(word_at=rig.sample(rig.now_s + (0.015 if place % 10 == 3 else 0)))
        rig.pass_s(0.25)
    clock = rig.recording.clock()
    assert clock.n_words == 200
    np.testing.assert_allclose(clock.drift_ppm, -200, atol=2)


def test_after_a_long_pause_the_line_still_holds():
    rig = settled(Rig(drift_ppm=500))
    rig.recording.rest()
    rig.pass_s(1800)
    cue, _ = rig.show()
    rig.pass_s(0.25)
    assert rig.counts(cue) == [0, 0]


def test_a_gap_concerns_the_windows_that_it_touches():
    rig = settled(Rig())
    shown = []
    for _ in range(3):
        shown.append(rig.show(trial=99))
        rig.pass_s(0.25)
    rig.recording.gap("message_gap", shown[1][1] + 100, shown[1][1] + 200)
    assert rig.counts(shown[0][0]) == [0, 0]
    assert rig.fault(shown[1][0]) == "message_gap"
    assert rig.counts(shown[2][0]) == [0, 0]


def test_a_gap_that_fills_was_none_and_is_waited_for():
    rig = settled(Rig())
    cue, word = rig.show()
    gap = rig.recording.gap("message_gap", word + STOP - 10, word + STOP + 1000)
    rig.recording.heard(word + STOP + 1000)
    assert rig.counts(cue) is None
    rig.recording.spike(word + STOP - 1, "a")
    rig.recording.filled(gap)
    assert rig.counts(cue) is None, "33 ms behind: as much is waited for, with a margin"
    rig.recording.heard(word + STOP + 1500)
    assert rig.counts(cue) == [1, 0]


def test_a_word_lost_in_a_gap_is_the_gaps_fault():
    rig = settled(Rig())
    cue, word = rig.show(word=None)
    rig.recording.gap("message_gap", word - 10, word + 10)
    rig.pass_s(0.25)
    assert rig.fault(cue) == "message_gap"


def test_a_recorder_whose_clock_begins_anew_was_restarted():
    rig = settled(Rig())
    cue, _ = rig.show()
    rig.recording.heard(5)
    assert rig.fault(cue) == "recorder_restarted"
    cue = rig.show(word=None)[0]
    rig.recording.word(rig.n, 3000)
    rig.recording.spike(3000 + START, "b")
    rig.recording.heard(3000 + 9000)
    assert rig.counts(cue) == [0, 1], "its new clock is learnt from its first word"
    assert rig.recording.clock().n_words == 1


def test_what_a_broken_connection_may_have_lost_is_named():
    rig = settled(Rig())
    cue, word = rig.show()
    rig.recording.heard(word + 9000)
    rig.recording.restarted("disconnected")
    assert rig.fault(cue) == "disconnected"


def test_total_silence_has_a_name_of_its_own():
    rig = settled(Rig())
    cue, _ = rig.show(word=None)
    rig.now_s += 1.5
    assert rig.fault(cue) == "silent_stream"


def test_a_spike_that_comes_too_late_is_noticed():
    rig = Rig()
    cue, word = rig.show()
    rig.pass_s(0.25)
    assert rig.counts(cue) == [0, 0]
    rig.recording.spike(word + STOP, "a")
    assert rig.recording.n_late == 0
    rig.recording.spike(word + STOP - 1, "a")
    assert rig.recording.n_late == 1


def test_memory_is_bounded_between_trials_and_within_a_session():
    rig = Rig()
    for _ in range(20):
        rig.show()
        for _ in range(50):
            rig.recording.spike(rig.sample(rig.now_s), "a")
        rig.pass_s(0.25)
        rig.recording.rest()
    for _ in range(20_000):
        rig.now_s += 0.001
        rig.recording.spike(rig.sample(rig.now_s), "a")
    assert len(rig.recording._spikes) <= 2_001


def test_counts_of_an_image_that_was_not_shown_are_an_error():
    rig = Rig()
    cue, _ = rig.show()
    rig.show()
    with pytest.raises(RigError, match="never began"):
        rig.recording.judged(cue, WINDOW)


def test_one_thread_waits_while_another_reads():
    rig = Rig()
    cue, word = rig.show()
    begun = threading.Event()

    def read():
        begun.wait()
        rig.recording.spike(word + 3000, "a")
        rig.recording.heard(word + 9000)

    reader = threading.Thread(target=read)
    reader.start()
    begun.set()
    assert rig.recording.measurement(cue, WINDOW).counts.tolist() == [1, 0]
    reader.join()


def test_a_stream_that_was_read_before_the_mark_is_not_silent():
    """The recorder's reader may be ahead of the rig's main thread: all came, but the word."""
    rig = Rig()
    rig.show()
    rig.pass_s(0.25)
    rig.recording.heard(rig.sample(rig.now_s + 0.3))
    cue, _ = rig.show(word=None)
    rig.pass_s(1.1, heard=False)
    with pytest.raises(RecorderGap) as gap:
        rig.recording.judged(cue, WINDOW)
    assert gap.value.fault == "missing_word"
