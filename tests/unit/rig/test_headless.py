import numpy as np
import pytest

from protocols.errors import DisplayError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Placement, Role
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


@pytest.mark.parametrize(
    ("on_s", "off_s", "apart"), [(0.01, 0.0, 2), (0.1, 0.1, 12), (0.1, 0.0, 7), (0.1, 0.016, 7)]
)
def test_time_passes_in_frames_as_on_a_screen(images, on_s, off_s, apart):
    """60 Hz; at least one frame for an image, and one of gray between two."""
    display = _display()
    display.stage(images)
    onsets = []
    for cue in _cues(images):
        flip = display.show(cue, on_s, onsets.append)
        assert flip.shown_s == pytest.approx(max(1, round(on_s * 60)) / 60)
        display.blank(off_s)
    np.testing.assert_allclose(np.diff(onsets) * 60, apart)


def test_fixation_is_asked_for_in_every_frame(images):
    display = _display(refresh_hz=1000)
    display.stage(images)
    asked = []

    def held():
        asked.append(display.now_s())
        return len(asked) < 6

    flip = display.show(_cues(images)[0], 0.003, lambda _: None, held)
    assert flip.held
    assert not display.blank(1.0, held)
    np.testing.assert_allclose(
        np.subtract(asked, flip.onset_s), [0, 0.001, 0.002, 0.003, 0.004, 0.005]
    )
    flip = display.show(_cues(images)[1], 1.0, lambda _: None, held)
    assert not flip.held
    assert flip.shown_s == pytest.approx(0.001)


def test_a_place_off_the_screen_or_on_the_patch_is_refused_by_name(images):
    display = _display(bounds_deg=(-10, -6, 10, 6), patch_deg=(-10, -6, -8, -4))
    inside, off, patch = (
        Placement(x_deg=x, y_deg=y, size_deg=2) for x, y in ((-6, -4), (9.5, 0), (-9, -4.5))
    )
    display.stage(images[:2], [inside, None])
    for place, why in ((off, "off the screen"), (patch, "on the photodiode's patch")):
        with pytest.raises(SettingsError, match=f"{why}[\\s\\S]*stimulus 1 "):
            display.stage(images[:2], [inside, place])


def test_equal_pixels_at_two_places_are_two_stimuli(images):
    display = _display()
    places = [Placement(x_deg=x, size_deg=2) for x in (-3, 3)]
    block = Block.of(images[[0, 0]], roles=Role.CONTROL, places=places).at(0, "t")
    display.stage(block.images, places)
    first, second = block.cues()
    display.show(first, 0.1, lambda _: None)
    with pytest.raises(DisplayError, match="not staged"):
        display.show(first.model_copy(update={"stimulus_index": 1}), 0.1, lambda _: None)
    display.show(second, 0.1, lambda _: None)


def test_it_says_what_it_is(images):
    display = _display(
        position_deg=(1, -2), size_deg=3, fixation_point_deg=(0.5, 0), refresh_hz=100
    )
    described = display.describe()
    assert described.place == Placement(x_deg=1, y_deg=-2, size_deg=3)
    assert (described.fixation_point_deg, described.frame_ms) == ((0.5, 0), 10)
    assert display.is_simulated


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
