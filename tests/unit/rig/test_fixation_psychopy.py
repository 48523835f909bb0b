"""The mouse as an eye, in a real window: directly, and through ioHub's process."""

from __future__ import annotations

import pytest

from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Role
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.psychopy_window import PsychoPyDisplay
from rig_client.fixation.iohub import IoHubEye, IoHubFixation, IoHubSettings
from rig_client.fixation.mouse import MouseEye, MouseFixation
from rig_client.fixation.settings import FixationWindowSettings

SESSION = SessionInfo(session_id="s", seed=0)
POLLS = 2000
FEW_DEG = 0.15


@pytest.fixture
def cue(images):
    return next(Block.of(images, roles=Role.CONTROL).at(0, "t").cues())


@pytest.fixture
def display(screen):
    settings = PsychoPySettings(
        full_screen=False, window_px=(400, 300), check_refresh=False, paced=False
    )
    opened = PsychoPyDisplay(settings, SESSION)
    yield opened
    opened.close()


def point_at(display, mouse, x_px, y_px):
    """Move the pointer, and wait until the window knows."""
    mouse.setPos((x_px, y_px))
    for _ in range(POLLS):
        display.blank(1 / 60)
        x, y = mouse.getPos()
        if max(abs(x - x_px), abs(y - y_px)) <= 1:  # PsychoPy puts it one pixel lower
            return
    pytest.fail(f"the pointer is at {mouse.getPos()}")


def test_the_mouse_is_where_it_points(display):
    eye = MouseEye()
    eye.open_on(display)
    point_at(display, eye._mouse, 80, -50)
    gaze = eye.gaze_deg()
    x_deg, y_deg = display.geometry.point_deg((200 + 80, 150 + 50))
    assert gaze.x_deg == pytest.approx(x_deg, abs=FEW_DEG)
    assert gaze.y_deg == pytest.approx(y_deg, abs=FEW_DEG)
    assert (gaze.x_deg > 1, gaze.y_deg < -1, gaze.is_valid) == (True, True, True)
    eye.close()


def test_fixation_with_the_mouse_is_acquired_held_and_broken(display, cue):
    fixation = MouseFixation(FixationWindowSettings(radius_deg=1, hold_ms=10), SESSION)
    fixation.watch_on(display)
    mouse = fixation._tracker._mouse
    point_at(display, mouse, 0, 0)
    assert fixation.acquire(cue)
    assert fixation.held(cue)
    point_at(display, mouse, 150, 0)
    assert not fixation.held(cue)
    fixation.close()


@pytest.mark.slow
def test_iohub_s_simulated_tracker_follows_the_mouse(display, cue):
    """Its own process, its own clock; a pointer that moves is a gaze that moves."""
    config = {"runtime_settings": {"sampling_rate": 100}, "controls": {"move": "CONTINUOUS"}}
    settings = IoHubSettings(config=config, radius_deg=2, hold_ms=10, acquire_s=60, silent_ms=5000)
    eye = IoHubEye(settings)
    fixation = IoHubFixation(settings, SESSION)
    fixation._tracker = eye
    fixation.watch_on(display)
    try:
        mouse = MouseEye()
        mouse.open_on(display)
        point_at(display, mouse._mouse, 0, 0)
        assert fixation.acquire(cue)
        point_at(display, mouse._mouse, 150, 0)
        for _ in range(POLLS):
            display.blank(1 / 60)
            if not fixation.held(cue):
                break
        assert not fixation.held(cue)
        assert eye.gaze_deg().x_deg > 2
    finally:
        fixation.close()
