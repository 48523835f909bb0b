"""Gaze: kept at a rate, corrected at the rig, calibrated with points; a tracker that follows a script."""

from __future__ import annotations

import json

import numpy as np
import pytest

from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import GazeCorrecting, GazeTracing
from protocols.vocabulary import Block, Role
from rig_client.display.headless import HeadlessDisplay
from rig_client.fixation.calibration import points_around
from rig_client.fixation.correction import Correction, fitted
from rig_client.fixation.settings import FixationWindowSettings
from rig_client.fixation.trace import GazeKeeper
from rig_client.fixation.tracker import Gaze
from rig_client.fixation.window import FixationWindow

SESSION = SessionInfo(session_id="s", seed=0)
TURNED = np.array([[1.2, 0.1, 2.0], [-0.15, 0.9, -1.0]])
"""What the tracker says of where the eye really looks."""


class Follower:
    """An eye that looks at the point that is shown, or the spot, and a tracker that is off.

    It samples at `rate_hz` on the display's clock, and keeps the samples until they are fetched.
    """

    def __init__(self, rate_hz=1000, offset=TURNED, reaction_s=0.1, jitter_deg=0.05):
        self.rate_hz, self.offset, self.reaction_s = rate_hz, offset, reaction_s
        self.random = np.random.default_rng(0)
        self.jitter_deg = jitter_deg
        self.spot = (0.0, 0.0)
        self.looks_at = None
        self.seen = []
        self.closed = False
        self.latest = None

    def open_on(self, display):
        self.display = display
        self.next_s = display.now_s()
        self.seen = [(self.next_s, self.spot)]

    def samples(self):
        target = self.display.point_deg or self.looks_at or self.spot
        now_s = self.display.now_s()
        if target != self.seen[-1][1]:
            self.seen.append((now_s, target))
        found = []
        while self.next_s <= now_s:
            moved = [where for at_s, where in self.seen if at_s + self.reaction_s <= self.next_s]
            x, y = moved[-1] if moved else self.spot
            raw = self.offset @ (x, y, 1) + self.random.normal(0, self.jitter_deg, 2)
            found.append(Gaze(*raw, self.next_s, is_valid=not self.closed))
            self.next_s += 1 / self.rate_hz
        if found:
            self.latest = found[-1]
        return found

    def gaze_deg(self):
        return self.latest

    def close(self):
        pass


@pytest.fixture
def display():
    return HeadlessDisplay(HeadlessDisplay.Settings(refresh_hz=120), SESSION)


def watching(display, eye, folder=None, **settings):
    fixation = FixationWindow(FixationWindowSettings(**settings), eye, folder)
    fixation.watch_on(display)
    return fixation


def test_the_window_keeps_and_corrects_gaze(display):
    fixation = watching(display, Follower())
    assert isinstance(fixation, GazeTracing)
    assert isinstance(fixation, GazeCorrecting)


# --- kept -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tracker_hz", "kept_hz", "n"),
    [(1000, 250, 250), (500, 250, 250), (250, 250, 250), (60, 250, 60)],
)
def test_samples_are_kept_at_the_rate_that_was_asked_for(tracker_hz, kept_hz, n):
    keeper = GazeKeeper(kept_hz, 5.0)
    random = np.random.default_rng(0)
    for k in range(tracker_hz):
        jitter_s = random.uniform(-0.1, 0.1) / tracker_hz
        keeper.add(Gaze(k, -k, 5 + k / tracker_hz + jitter_s, is_valid=k % 2 == 0))
    kept = keeper.take()
    assert kept.dtype == np.float32
    assert abs(len(kept) - n) <= 0.02 * n
    assert (np.diff(kept[:, 0]) > 0).all()
    np.testing.assert_array_equal(np.isnan(kept[:, 1]), kept[:, 3] == 0)
    assert len(keeper.take()) == 0


def test_gaze_has_the_times_of_its_samples_not_of_the_frames(display):
    """1000 Hz between frames of 8.3 ms; kept are 250 in a second, each with its own time."""
    fixation = watching(display, Follower(offset=np.eye(2, 3), jitter_deg=0))
    cue = next(Block.of(np.zeros((1, 4, 4, 3), np.uint8), roles=Role.CONTROL).at(0, "t").cues())
    display.blank(1, lambda: fixation.held(cue) or True)
    kept = fixation.gaze_since()
    assert len(kept) in (250, 251)
    np.testing.assert_allclose(np.diff(kept[1:, 0]), 0.004, atol=1e-4)
    np.testing.assert_allclose(kept[:, 1:], [[0, 0, 1]] * len(kept))
    assert fixation.gaze_start_s == 0
    display.blank(0.1)
    assert len(fixation.gaze_since()) == 25


def test_the_window_stands_at_the_display_s_point():
    display = HeadlessDisplay(HeadlessDisplay.Settings(fixation_point_deg=(3, -2)), SESSION)
    cue = next(Block.of(np.zeros((1, 4, 4, 3), np.uint8), roles=Role.CONTROL).at(0, "t").cues())
    eye = Follower(offset=np.eye(2, 3))
    eye.spot = (3.0, -2.0)
    assert watching(display, eye).acquire(cue)
    assert not watching(display, eye, centre_deg=(0, 0), acquire_s=0.5).acquire(cue)


# --- centred and calibrated -----------------------------------------------------------------------


def looked_at(fixation, display):
    """Once the eye has had time to go there."""
    fixation.gaze_deg()
    display.blank(0.2)
    return fixation.gaze_deg()


def test_centring_moves_gaze_to_the_point_and_undo_takes_it_back(display):
    fixation = watching(display, Follower(jitter_deg=0.02))
    before = looked_at(fixation, display)
    assert (before.x_deg, before.y_deg) == (pytest.approx(2, abs=0.1), pytest.approx(-1, abs=0.1))
    assert fixation.centre_gaze() == "gaze moved by -2.00° across, +1.00° up"
    after = looked_at(fixation, display)
    assert (after.x_deg, after.y_deg) == (pytest.approx(0, abs=0.1), pytest.approx(0, abs=0.1))
    assert "undone" in fixation.undo_centre()
    assert looked_at(fixation, display).x_deg == pytest.approx(2, abs=0.1)
    assert "nothing was changed" in fixation.undo_centre()


@pytest.mark.parametrize("trouble", ["closed", "restless"])
def test_without_a_steady_eye_nothing_is_centred(display, trouble):
    eye = Follower(jitter_deg=3 if trouble == "restless" else 0)
    eye.closed = trouble == "closed"
    fixation = watching(display, eye)
    assert fixation.centre_gaze().startswith("nothing was changed")


@pytest.mark.parametrize("n", [5, 9])
def test_calibration_finds_what_the_tracker_does_to_gaze(display, n):
    """A juice for each point; afterwards gaze is right at places that were no points."""
    eye = Follower(jitter_deg=0.1)
    fixation = watching(display, eye, calibration_points=n)
    juices = []
    said = fixation.calibrate(lambda: juices.append(display.point_deg))
    assert said.startswith(f"calibrated with {n} points: 0.0")
    assert juices == points_around((0, 0), (8, 5), n)
    assert display.point_deg is None
    for place in ((4.0, -3.0), (-6.0, 4.0)):
        eye.looks_at = place
        found = looked_at(fixation, display)
        assert (found.x_deg, found.y_deg) == pytest.approx(place, abs=0.4)
    fixation.undo_centre()
    assert looked_at(fixation, display).x_deg != pytest.approx(-6, abs=0.4)


def test_an_eye_that_does_not_follow_changes_nothing(display):
    """It stays at the spot: every point is 'looked at', and nothing can be fitted."""
    eye = Follower(jitter_deg=0.05)
    eye.reaction_s = 1e9
    said = watching(display, eye).calibrate(lambda: None)
    assert "nothing was changed: gaze" in said


def test_an_eye_that_looks_elsewhere_at_two_points_changes_nothing(display):
    eye = Follower(jitter_deg=0.05)
    fixation = watching(display, eye)
    points = points_around((0, 0), (8, 5), 9)
    wrong = {points[2]: points[6], points[5]: points[0]}
    plain = type(display).point
    display.point = lambda point: plain(display, wrong.get(point, point))
    assert "after the fit" in fixation.calibrate(lambda: None)


def test_a_closed_eye_ends_the_calibration(display):
    eye = Follower()
    eye.closed = True
    fixation = watching(display, eye, calibration_patience_s=2)
    assert fixation.calibrate(lambda: None) == "nothing was changed: stopped at point 1 of 9"
    assert display.now_s() < 3


@pytest.mark.parametrize("reach_deg", [(12, 5), (8, 7.8)])
def test_points_off_the_screen_are_told_and_change_nothing(reach_deg):
    """Within a pause nothing may end the rig."""
    settings = HeadlessDisplay.Settings(bounds_deg=(-11, -8, 11, 8))
    display = HeadlessDisplay(settings, SESSION)
    juices = []
    fixation = watching(display, Follower(), calibration_reach_deg=reach_deg)
    assert "off the screen" in fixation.calibrate(lambda: juices.append(1))
    assert not juices


def test_the_experimenter_ends_the_calibration(display):
    asked = iter([False] * 100 + [True] * 1000)
    display.interrupted = lambda: next(asked)
    assert "stopped at point" in watching(display, Follower()).calibrate(lambda: None)


def test_a_restarted_rig_corrects_as_before(display, tmp_path, caplog):
    fixation = watching(display, Follower(), tmp_path / "s")
    fixation.centre_gaze()
    fixation.calibrate(lambda: None)
    eye = Follower()
    restarted = watching(display, eye, tmp_path / "s")
    assert "gaze is corrected as before" in caplog.text
    eye.looks_at = (4.0, 3.0)
    assert looked_at(restarted, display).x_deg == pytest.approx(4, abs=0.3)
    restarted.undo_centre()
    restarted.undo_centre()
    assert "nothing was changed" in restarted.undo_centre()
    assert json.loads((tmp_path / "s" / "gaze-correction.json").read_text()) == []


@pytest.mark.parametrize("content", ["", "[[1, 2]]", "[[[1,0,NaN],[0,1,0]]]", "{}"])
def test_a_spoilt_file_is_said_and_not_used(tmp_path, caplog, content):
    path = tmp_path / "gaze-correction.json"
    path.write_text(content)
    assert Correction(path)(Gaze(1, 2, 0)) == Gaze(1, 2, 0)
    assert content == "{}" or "cannot be used" in caplog.text


def test_places_on_a_line_fit_nothing():
    line = [(x, 2 * x) for x in (-8.0, -3.0, 0.0, 4.0, 8.0)]
    assert fitted(line, points_around((0, 0), (8, 5), 5)) is None
