import numpy as np
import pytest

from protocols.errors import DisplayError
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Role
from rig_client.display.headless import HeadlessDisplay

SESSION = SessionInfo(session_id="s", seed=3)


def _display(**settings):
    return HeadlessDisplay(HeadlessDisplay.Settings(**settings), SESSION)


def _cues(images):
    return list(Block.of(images, roles=Role.EVOLVED).at(0, "t").cues())


def test_virtual_time_passes_at_once_and_adds_up(images):
    display = _display()
    display.stage(images)
    onsets = []
    for cue in _cues(images):
        display.show(cue, 3600.0, onsets.append)
        display.blank(1.0)
    assert onsets == [0.0, 3601.0, 7202.0, 10803.0]
    assert display.now_s() == 14404.0


def test_real_time_is_waited_for(images):
    display = _display(clock="real")
    display.stage(images)
    before = display.now_s()
    flip = display.show(_cues(images)[0], 0.05, lambda onset_s: None)
    assert display.now_s() >= flip.onset_s + 0.05 >= before + 0.05


def test_onset_is_told_before_the_image_is_over(images):
    display = _display()
    display.stage(images)
    told = []
    flip = display.show(
        _cues(images)[0], 1.0, lambda onset_s: told.append((onset_s, display.now_s()))
    )
    assert told == [(flip.onset_s, flip.onset_s)]


def test_an_image_that_was_not_staged_is_refused(images):
    display = _display()
    display.stage(images[:1])
    with pytest.raises(DisplayError, match="not staged"):
        display.show(_cues(images)[1], 1.0, lambda onset_s: None)


def test_dropped_frames_are_seeded_by_the_cue(images):
    many = np.concatenate([images + np.uint8(k) for k in range(30)])

    def dropped():
        display = _display(dropped_frame_rate=0.3)
        display.stage(many)
        return [display.show(cue, 0.1, lambda _: None).dropped_frames for cue in _cues(many)]

    assert dropped() == dropped()
    assert 0.15 < np.mean(dropped()) < 0.45
