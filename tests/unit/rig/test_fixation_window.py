"""The fixation window, with a tracker that follows a script and a display whose time we move."""

from __future__ import annotations

import pytest

from protocols.errors import DisplayError, RigError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Fixation, GazeFixation
from protocols.vocabulary import Block, Outcome, Role
from rig_client.apparatus import Apparatus
from rig_client.display.headless import HeadlessDisplay
from rig_client.fixation.mouse import MouseFixation
from rig_client.fixation.settings import FixationWindowSettings
from rig_client.fixation.tracker import Gaze
from rig_client.fixation.window import FixationWindow
from rig_client.presenter import Presenter
from rig_client.spool import Spool

SESSION = SessionInfo(session_id="s", seed=0)
AWAY = (9.0, 0.0)
CENTRE = (0.0, 0.0)
CLOSED = "closed"
SILENT = "silent"


class Eye:
    """Looks where the script says at the display's time: `[(from_s, where), …]`."""

    def __init__(self, *script):
        self.script = script
        self.display = None
        self.closed = False

    def open_on(self, display):
        self.display = display

    def gaze_deg(self):
        now_s = self.display.now_s()
        since, where = [entry for entry in self.script if entry[0] <= now_s][-1]
        if where == CLOSED:
            return Gaze(0, 0, now_s, is_valid=False)
        if where == SILENT:
            return Gaze(*CENTRE, since)
        return Gaze(*where, now_s)

    def close(self):
        self.closed = True


@pytest.fixture
def cue(images):
    return next(Block.of(images, roles=Role.CONTROL).at(0, "t").cues())


@pytest.fixture
def display():
    return HeadlessDisplay(HeadlessDisplay.Settings(refresh_hz=1000), SESSION)


def watching(display, *script, **settings):
    fixation = FixationWindow(FixationWindowSettings(**settings), Eye(*script))
    fixation.watch_on(display)
    return fixation


def test_it_is_a_fixation_that_needs_the_display(display):
    fixation = watching(display, (0, CENTRE))
    assert isinstance(fixation, Fixation)
    assert isinstance(fixation, GazeFixation)


def test_gaze_must_stay_before_the_trial_begins(display, cue):
    fixation = watching(display, (0, AWAY), (1, CENTRE), hold_ms=200, acquire_s=3)
    assert fixation.acquire(cue)
    assert 1.2 <= display.now_s() < 1.25


def test_the_wait_ends_at_once_for_what_is_asked_at_the_rig(display, cue):
    fixation = watching(display, (0, AWAY), acquire_s=60)
    asked = iter([False, False, True])
    fixation.heed_while_waiting(lambda: next(asked))
    assert not fixation.acquire(cue)
    assert display.now_s() < 1, "keys were heard only between tries"


def test_a_glance_is_no_fixation(display, cue):
    fixation = watching(display, (0, CENTRE), (0.15, AWAY), hold_ms=200, acquire_s=1)
    assert not fixation.acquire(cue)
    assert 1.0 <= display.now_s() < 1.05
    assert not fixation.held(cue)


def test_the_hold_begins_anew_after_a_glance_away(display, cue):
    script = [(0, CENTRE), (0.15, AWAY), (0.3, CENTRE)]
    fixation = watching(display, *script, hold_ms=200, acquire_s=1)
    assert fixation.acquire(cue)
    assert 0.5 <= display.now_s() < 0.55


def test_a_blink_while_fixation_is_acquired_is_forgiven(display, cue):
    script = [(0, CENTRE), (0.1, CLOSED), (0.15, CENTRE)]
    fixation = watching(display, *script, hold_ms=200, acquire_s=1, blink_ms=100)
    assert fixation.acquire(cue)
    assert 0.2 <= display.now_s() < 0.25


@pytest.mark.parametrize(
    ("x_deg", "reached"), [(4.9, True), (5.1, False), (1.1, True), (0.9, False)]
)
def test_the_window_lies_where_it_should(display, cue, x_deg, reached):
    fixation = watching(
        display, (0, (x_deg, 4.0)), centre_deg=(3, 4), radius_deg=2, hold_ms=0, acquire_s=0.5
    )
    assert fixation.acquire(cue) == reached


def test_a_break_lasts_until_fixation_is_acquired_again(display, cue, caplog):
    caplog.set_level("INFO")
    script = [(0, CENTRE), (1, AWAY), (2, CENTRE)]
    fixation = watching(display, *script, hold_ms=100)
    assert fixation.acquire(cue)
    assert fixation.held(cue)
    display.blank(1.05 - display.now_s())
    assert not fixation.held(cue)
    assert "fixation broke (9.0°, 0.0°): block 0, trial 0" in caplog.text
    display.blank(1)
    assert not fixation.held(cue)
    assert fixation.acquire(cue)
    assert fixation.held(cue)


@pytest.mark.parametrize(("blink_ms", "held"), [(0, False), (49, False), (60, True)])
def test_a_blink_is_forgiven_for_so_long(display, cue, blink_ms, held):
    fixation = watching(display, (0, CENTRE), (1.001, CLOSED), hold_ms=0, blink_ms=blink_ms)
    assert fixation.acquire(cue)
    display.blank(1 - display.now_s())
    assert fixation.held(cue)
    display.blank(0.05)
    assert fixation.held(cue) == held


def test_a_tracker_that_falls_silent_has_lost_the_eye(display, cue):
    fixation = watching(display, (0, CENTRE), (1, SILENT), hold_ms=0, silent_ms=100)
    assert fixation.acquire(cue)
    for at_s, held in ((0.99, True), (1.05, True), (1.09, True), (1.2, False)):
        display.blank(at_s - display.now_s())
        assert fixation.held(cue) == held


def test_a_silent_tracker_stops_the_rig_and_is_not_taken_for_a_tired_subject(display, cue):
    fixation = watching(display, (0, SILENT), acquire_s=3, give_up_s=2, hold_ms=200)
    with pytest.raises(RigError, match="silent"):
        fixation.acquire(cue)


def test_a_subject_that_never_looks_does_not_stop_the_rig(display, cue):
    fixation = watching(display, (0, AWAY), acquire_s=3, give_up_s=2)
    assert not fixation.acquire(cue)


def test_the_tracker_is_released(display):
    fixation = watching(display, (0, CENTRE))
    fixation.close()
    assert fixation._tracker.closed


def test_the_mouse_needs_a_window(display):
    with pytest.raises(DisplayError, match="psychopy"):
        MouseFixation(FixationWindowSettings(), SESSION).watch_on(display)


def test_a_broken_trial_is_shown_again(display, images, tmp_path):
    """Through the presenter: the second image's first showing is broken, its second completes."""
    from tests.unit.rig.test_presenter import Recorder

    class Nothing:
        def stage(self, block):
            pass

        def send(self, word, cue):
            pass

        def clear(self):
            pass

        pulse_ms = given_ml = 0.0

        def give(self, trial):
            paid.append(trial)
            return True

        def close(self):
            pass

    paid = []
    block = Block.of(images[:2], roles=Role.CONTROL).at(0, "t")
    # Trial 0: hold to 0.2 s, image to 0.3 s, kept span to 0.5 s; trial 1: image from 0.7 s, broken.
    fixation = watching(display, (0, CENTRE), (0.8, AWAY), (1.5, CENTRE), hold_ms=200)
    apparatus = Apparatus(display, Recorder(), fixation, Nothing(), Nothing())
    journal = Spool(tmp_path, "s").journal(block)
    shown = Presenter(apparatus).present(block, journal, lambda: False).presentations
    assert [(one.repetition, one.attempt, one.outcome) for one in shown] == [
        (0, 0, Outcome.COMPLETED),
        (0, 0, Outcome.FIXATION_BREAK),
        (0, 1, Outcome.COMPLETED),
    ]
    assert paid == [0, 2]
