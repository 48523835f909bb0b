"""The presenter, in front of a display and a recorder that do as they are told."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.errors import RecorderGap
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Flip, Measurement
from protocols.vocabulary import Block, Role, Timing
from rig_client.apparatus import Apparatus
from rig_client.display.headless import HeadlessDisplay
from rig_client.presenter import Presenter
from rig_client.spool import Spool

SESSION = SessionInfo(session_id="s", seed=0)


class Recorder:
    """Counts = index of the image; loses the attempts that it is told to lose."""

    site_ids = ("x",)

    def __init__(self, lost=()):
        self.lost = set(lost)
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
        if (cue.stimulus_index, cue.attempt) in self.lost:
            raise RecorderGap("lost")
        return Measurement(np.array([float(cue.stimulus_index)]))

    def trouble(self):
        return ""

    def close(self):
        pass


class Eye:
    """Breaks fixation on the attempts that it is told to break, and reaches it or not."""

    def __init__(self, breaks=(), misses=()):
        self.breaks, self.misses = set(breaks), set(misses)

    def acquire(self, cue):
        return (cue.stimulus_index, cue.attempt) not in self.misses

    def held(self, cue):
        return (cue.stimulus_index, cue.attempt) not in self.breaks

    def close(self):
        pass


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
    """Remembers which trials were paid for."""

    def __init__(self):
        self.given = []

    def give(self, trial):
        self.given.append(trial)

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
):
    trigger, reward = trigger or Line(), reward or Juice()
    display = display or HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    journal = Spool(folder, "s").journal(block)
    apparatus = Apparatus(display, recorder or Recorder(), eye or Eye(), trigger, reward)
    presenter = Presenter(apparatus, word_bits=2)
    return presenter.present(block, journal, stop)


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
    np.testing.assert_allclose([p.onset_s for p in shown], [0, 0.2, 0.4, 0.6])
    assert {p.onset_clock for p in shown} == {"virtual"}


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


def test_a_break_ends_the_trial_and_the_rest_of_it_is_shown_again(images, tmp_path):
    block = _block(images, presentations_per_trial=3)
    shown = _present(block, tmp_path, eye=Eye(breaks=[(1, 0)]))
    assert _story(shown, block) == [
        (0, 0, "completed"),
        (1, 0, "fixation_break"),
        (2, 0, "aborted"),
        (3, 0, "completed"),
        (1, 1, "completed"),
        (2, 1, "completed"),
    ]
    assert [p.trial for p in shown] == [0, 0, 0, 1, 1, 1]


def test_without_fixation_nothing_is_shown(images, tmp_path):
    recorder = Recorder()
    block = _block(images, presentations_per_trial=2)
    shown = _present(block, tmp_path, recorder, Eye(misses=[(0, 0)]))
    assert _story(shown, block)[:2] == [(0, 0, "fixation_break"), (1, 0, "aborted")]
    assert [index for index, _ in recorder.marked] == [2, 3, 0, 1]


def test_a_dropped_frame_is_reported_and_shown_again(block, tmp_path):
    class Slow(HeadlessDisplay):
        def show(self, cue, on_s, at_onset, held):
            flip = super().show(cue, on_s, at_onset, held)
            return Flip(
                flip.onset_s, dropped_frames=int((cue.stimulus_index, cue.attempt) == (3, 0))
            )

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
