"""The presenter, in front of a display and a recorder that do as they are told."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from protocols.errors import RecorderGap
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Measurement
from protocols.vocabulary import Block, Role, Timing
from rig_client.apparatus import Apparatus
from rig_client.display.headless import HeadlessDisplay
from rig_client.presenter import Presenter
from rig_client.spool import Spool
from rig_client.trial_settings import TrialSettings

SESSION = SessionInfo(session_id="s", seed=0)


class Recorder:
    """Counts = index of the image; loses the attempts that it is told to lose."""

    site_ids = ("x",)

    def __init__(self, lost=()):
        self.lost, self.counted = set(lost), []
        self.marked = []
        self.windows = set()
        self.words = []

    def stage(self, block):
        self.marked.clear()

    def mark(self, cue, onset_s, word):
        self.marked.append((cue.stimulus_index, onset_s))
        self.words.append(word)

    tick_hz = 0.0

    def spike_counts(self, cue, window_s, kept_s=None):
        self.windows.add(window_s)
        self.counted.append(cue)
        if (cue.stimulus_index, cue.attempt) in self.lost:
            raise RecorderGap("lost")
        return Measurement(np.array([float(cue.stimulus_index)]))

    def trouble(self):
        return ""

    def close(self):
        pass


class Eye:
    """Breaks fixation on the attempts that it is told to break; sleeps through the first tries."""

    def __init__(self, breaks=(), asleep=0, now_s=lambda: 0.0):
        self.breaks, self.asleep, self.now_s = set(breaks), asleep, now_s
        self.tries_s = []

    def acquire(self, cue):
        self.tries_s.append(self.now_s())
        self.asleep -= 1
        return self.asleep < 0

    def held(self, cue):
        return (cue.stimulus_index, cue.attempt) not in self.breaks

    def close(self):
        pass


class Scripted(Eye):
    """Looks away for a while, on the display's clock."""

    def __init__(self, now_s, broken_from_s, broken_to_s):
        super().__init__(now_s=now_s)
        self.away_s = broken_from_s, broken_to_s

    def held(self, cue):
        return not self.away_s[0] <= self.now_s() < self.away_s[1]


class Seen(HeadlessDisplay):
    """Remembers when the spot came and went."""

    def spot(self, visible):
        self.__dict__.setdefault("spots", []).append(visible)


@pytest.fixture
def block(images):
    return _block(images)


def _block(images, **timing):
    return Block.of(images, roles=Role.EVOLVED, timing=Timing(**timing)).at(0, "t")


class Line:
    """A trigger line, and what was seen on it."""

    def __init__(self):
        self.seen = []

    def stage(self, block):
        pass

    def send(self, word, cue):
        self.seen.append((word, cue.stimulus_index))

    def clear(self):
        self.seen.append(0)

    def close(self):
        pass


class Juice:
    """Remembers which trials were paid for, and when if it is given a clock."""

    pulse_ms, given_ml = 80.0, 0.0

    def __init__(self, now_s=lambda: 0.0):
        self.given, self.at_s, self.now_s = [], [], now_s

    def give(self, trial):
        self.given.append(trial)
        self.at_s.append(self.now_s())
        return True

    def give_free(self):
        return True

    def set_pulse(self, pulse_ms):
        self.pulse_ms = pulse_ms

    def close(self):
        pass


def _present(
    block,
    folder,
    recorder=None,
    eye=None,
    display=None,
    stop=lambda: False,
    trigger=None,
    reward=None,
    **rest,
):
    return _responses(
        block, folder, recorder, eye, display, stop, trigger, reward, **rest
    ).presentations


def _responses(
    block,
    folder,
    recorder=None,
    eye=None,
    display=None,
    stop=lambda: False,
    trigger=None,
    reward=None,
    **rest,
):
    trigger, reward = trigger or Line(), reward or Juice()
    display = display or HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    apparatus = Apparatus(display, recorder or Recorder(), eye or Eye(), trigger, reward)
    presenter = Presenter(apparatus, TrialSettings(**rest), word_bits=2)
    with contextlib.closing(Spool(folder, "s")) as spool:
        return presenter.present(block, spool.journal(block), stop)


def _story(presentations, block):
    index = {stimulus_id: i for i, stimulus_id in enumerate(block.stimulus_ids)}
    return [(index[p.stimulus_id], p.attempt, p.outcome.value) for p in presentations]


def test_everything_is_shown_once_in_order(block, tmp_path):
    recorder = Recorder()
    shown = _present(block, tmp_path, recorder)
    assert _story(shown, block) == [(i, 0, "completed") for i in range(4)]
    assert [p.spike_counts for p in shown] == [(0.0,), (1.0,), (2.0,), (3.0,)]
    assert recorder.windows == {(0.07, 0.17)}


def test_onsets_keep_the_timing(block, tmp_path):
    shown = _present(block, tmp_path)
    np.testing.assert_allclose([p.onset_s for p in shown], [0, 0.3, 0.6, 0.9])
    assert {p.onset_clock for p in shown} == {"virtual"}


def test_a_shorter_kept_span_makes_shorter_trials(images, tmp_path):
    shown = _present(_block(images, keep_stop_ms=170), tmp_path)
    np.testing.assert_allclose([p.onset_s for p in shown], [0, 0.2, 0.4, 0.6])


def test_a_late_count_window_is_waited_for(images, tmp_path):
    shown = _present(_block(images, count_stop_ms=500), tmp_path)
    np.testing.assert_allclose([p.onset_s for p in shown], [0, 0.5, 1.0, 1.5])


def test_what_failed_is_shown_again_at_the_end(block, tmp_path):
    shown = _present(block, tmp_path, Recorder(lost=[(1, 0)]), Eye(breaks=[(2, 0), (2, 1)]))
    assert _story(shown, block) == [
        (0, 0, "completed"),
        (1, 0, "aborted"),
        (2, 0, "fixation_break"),
        (3, 0, "completed"),
        (1, 1, "completed"),
        (2, 1, "fixation_break"),
        (2, 2, "completed"),
    ]
    assert [p.trial for p in shown] == list(range(7))


def test_after_the_last_attempt_it_is_given_up(images, tmp_path):
    block = _block(images, max_attempts=2)
    shown = _present(block, tmp_path, eye=Eye(breaks=[(0, n) for n in range(9)]))
    assert [s for s in _story(shown, block) if s[0] == 0] == [
        (0, 0, "fixation_break"),
        (0, 1, "fixation_break"),
    ]


def test_a_break_ends_the_trial_and_costs_only_what_was_not_counted(images, tmp_path):
    """What was never on the screen uses no attempt, and keeps its place."""
    block = _block(images, presentations_per_trial=3)
    shown = _present(block, tmp_path, eye=Eye(breaks=[(1, 0)]))
    assert _story(shown, block) == [
        (0, 0, "completed"),
        (1, 0, "fixation_break"),
        (2, 0, "completed"),
        (3, 0, "completed"),
        (1, 1, "completed"),
    ]
    assert [p.trial for p in shown] == [0, 0, 1, 1, 1]


def test_a_miss_shows_nothing_and_uses_nothing_up(images, tmp_path):
    block = _block(images, presentations_per_trial=2, max_attempts=1)
    asleep = Eye(asleep=25)
    responses = _responses(block, tmp_path / "nap", eye=asleep)
    without = _responses(block, tmp_path / "awake")
    assert responses.digest == without.digest
    kinds = [event.kind for event in responses.events]
    assert kinds.count("miss") == 25
    assert kinds.index("rest") == 10, "after ten misses in a row the rig rests"
    assert kinds[25:27] == ["miss", "rest_over"]


class Pump(Juice):
    """Gives 0.1 ml a trial, from nothing at each start of the rig."""

    def give(self, trial):
        self.given_ml = round(self.given_ml + 0.1, 6)
        return super().give(trial)


def test_what_was_drunk_goes_on_where_the_rig_was_restarted(images, tmp_path):
    told = []
    for _ in range(2):
        apparatus = Apparatus(
            HeadlessDisplay(HeadlessDisplay.Settings(), SESSION), Recorder(), Eye(), Line(), Pump()
        )
        with contextlib.closing(Spool(tmp_path, "s")) as spool:
            presenter = Presenter(
                apparatus, before_ml=spool.given_ml(), keep_ml=spool.keep_given_ml
            )
            block = _block(images[:2]).at(len(told), "t")
            presenter.present(block, spool.journal(block), lambda: False)
        told.append(presenter.given_ml)
    assert told == pytest.approx([0.2, 0.4])


class Interrupted(Eye):
    """Its wait ends twice for what is asked at the rig, before anything is reached."""

    def heed_while_waiting(self, is_interrupted):
        self.is_interrupted = is_interrupted

    def acquire(self, cue):
        return super().acquire(cue) and not self.is_interrupted()


def test_a_wait_that_ends_for_a_pause_is_no_miss(images, tmp_path):
    eye, asked, paused = Interrupted(), iter([True, True, True, True]), []
    display = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    apparatus = Apparatus(display, Recorder(), eye, Line(), Juice())
    presenter = Presenter(
        apparatus, TrialSettings(), word_bits=2, is_interrupted=lambda: next(asked, False)
    )
    with contextlib.closing(Spool(tmp_path, "s")) as spool:
        block = _block(images)
        responses = presenter.present(block, spool.journal(block), lambda: paused.append(1))
    assert len(responses.presentations) == len(images)
    assert [event.kind for event in responses.events].count("miss") == 0
    assert len(eye.tries_s) == len(images) + 2


def test_while_it_rests_the_spot_is_off_and_a_try_comes_now_and_then(images, tmp_path):
    display = Seen(HeadlessDisplay.Settings(), SESSION)
    eye = Eye(asleep=5, now_s=display.now_s)
    _present(_block(images[:1]), tmp_path, eye=eye, display=display, rest_after_misses=3)
    assert display.spots == [True, True, True, False, True, False, True, False, True]
    assert np.diff(eye.tries_s)[2:].tolist() == pytest.approx([10, 10, 10])


def test_a_rest_can_be_left(images, tmp_path):
    asked = iter(range(1000))
    responses = _responses(
        _block(images), tmp_path, eye=Eye(asleep=99), stop=lambda: next(asked) > 30
    )
    assert responses.presentations == ()
    assert [event.kind for event in responses.events].count("rest") == 1


def test_juice_comes_after_the_last_count_window(images, tmp_path):
    display = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    juice = Juice(display.now_s)
    block = _block(images, on_ms=100, off_ms=0, count_stop_ms=170, presentations_per_trial=4)
    shown = _present(block, tmp_path, display=display, reward=juice)
    assert juice.at_s[0] >= shown[-1].onset_s + 0.17 - 1e-9


def test_a_break_within_the_window_after_the_image_withholds_the_count(images, tmp_path):
    display = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    gaze = Scripted(display.now_s, broken_from_s=0.105, broken_to_s=0.2)
    shown = _present(_block(images[:2]), tmp_path, eye=gaze, display=display)
    assert _story(shown, _block(images[:2]))[0] == (0, 0, "fixation_break")
    assert _story(shown, _block(images[:2]))[-1] == (0, 1, "completed")


def test_pauses_between_trials_are_drawn_from_the_session(images, tmp_path):
    block = _block(images, inter_trial_ms=(500, 900), keep_stop_ms=170)
    shown = [_present(block, tmp_path / name) for name in "ab"]
    onsets = np.array([[p.onset_s for p in each] for each in shown])
    assert np.array_equal(onsets[0], onsets[1])
    gaps = np.diff(onsets[0]) - 0.2
    assert (gaps >= 0.5 - 0.02).all()
    assert (gaps <= 0.9 + 0.02).all()
    assert len(set(gaps.round(3))) == len(gaps)


def test_after_a_break_comes_the_timeout(images, tmp_path):
    eye = Eye(breaks=[(0, 0)])
    shown = _present(_block(images, timeout_ms=2000), tmp_path, eye=eye)
    assert shown[1].onset_s - shown[0].onset_s >= 2.17


def test_a_spike_that_came_late_withdraws_the_count_and_the_image_is_shown_again(images, tmp_path):
    class Late(Recorder):
        """After the third count it finds out that the second lacked a spike."""

        n_asked = 0

        def late(self):
            self.n_asked += 1
            wrong = [cue for cue in self.counted if cue.stimulus_index == 1 and cue.attempt == 0]
            return tuple(wrong) if self.n_asked == 4 else ()

    block = _block(images)
    responses = _responses(block, tmp_path, Late())
    assert _story(responses.presentations, block) == [
        (0, 0, "completed"),
        (1, 0, "aborted"),
        (2, 0, "completed"),
        (3, 0, "completed"),
        (1, 1, "completed"),
    ]
    assert responses.presentations[1].fault == "late_spikes"
    assert [event.kind for event in responses.events if event.kind == "late_spikes"]


def test_times_that_do_not_give_the_counts_are_a_fault(images, tmp_path):
    class Wrong(Recorder):
        tick_hz = 1000.0

        def spike_counts(self, cue, window_s, kept_s=None):
            n = 2 if cue.attempt else 3
            return Measurement(np.array([2.0]), 1.0, (np.arange(100, 100 + n),))

    responses = _responses(_block(images[:1]), tmp_path, Wrong())
    assert [p.fault for p in responses.presentations] == ["counts_do_not_fit_times", ""]
    (ticks,) = responses.ticks(responses.presentations[1])
    assert ticks.tolist() == [100, 101]


def test_a_dropped_frame_is_reported_and_shown_again(block, tmp_path):
    class Slow(HeadlessDisplay):
        def show(self, cue, on_s, at_onset, held):
            flip = super().show(cue, on_s, at_onset, held)
            late = (cue.stimulus_index, cue.attempt) == (3, 0)
            return flip._replace(dropped_frames=int(late))

    shown = _present(block, tmp_path, display=Slow(HeadlessDisplay.Settings(), SESSION))
    assert _story(shown, block)[3:] == [(3, 0, "dropped_frame"), (3, 1, "completed")]
    assert shown[3].dropped_frames == 1
    assert shown[3].spike_counts is None


def test_a_rig_that_died_goes_on_within_the_block(block, tmp_path):
    """Whatever the trial after which it died, the story is that of an uninterrupted rig."""
    recorder, eye = Recorder(lost=[(1, 0)]), Eye(breaks=[(2, 0)])
    whole = _present(block, tmp_path / "whole", recorder, eye)
    for died_after in range(len(whole)):
        folder = tmp_path / str(died_after)
        asked = iter(range(100))
        _present(block, folder, recorder, eye, stop=lambda a=asked, n=died_after: next(a) >= n)
        resumed = _present(block, folder, recorder, eye)
        assert _story(resumed, block) == _story(whole, block)
        assert [p.spike_counts for p in resumed] == [p.spike_counts for p in whole]
        assert len(recorder.marked) == len(whole) - died_after


def test_stop_leaves_the_rest_unshown(block, tmp_path):
    asked = iter([False, False, True])
    assert len(_present(block, tmp_path, stop=lambda: next(asked))) == 2


def test_words_count_the_presentations_and_begin_again_at_one(block, tmp_path):
    line, recorder = Line(), Recorder()
    shown = _present(block, tmp_path, recorder, trigger=line)
    assert [p.word for p in shown] == recorder.words == [1, 2, 3, 1]
    assert line.seen == [(1, 0), 0, (2, 1), 0, (3, 2), 0, (1, 3), 0]


def test_a_broken_trial_is_not_paid_for(images, tmp_path):
    juice = Juice()
    block = _block(images, presentations_per_trial=2)
    shown = _present(block, tmp_path, eye=Eye(breaks=[(1, 0)]), reward=juice)
    assert [p.trial for p in shown if p.outcome == "fixation_break"] == [0]
    assert juice.given == [1, 2]


def test_what_the_recorder_lacks_is_named(block, tmp_path):
    shown = _present(block, tmp_path, Recorder(lost=[(1, 0)]))
    assert [p.fault for p in shown] == ["", "recorder_gap", "", "", ""]


def test_after_a_break_the_gap_is_kept(block, tmp_path):
    """The answer to a broken image must not fall into the window of the next one."""
    shown = _present(block, tmp_path, eye=Eye(breaks=[(0, 0)]))
    assert shown[0].outcome == "fixation_break"
    assert shown[1].onset_s - shown[0].onset_s >= 0.2
