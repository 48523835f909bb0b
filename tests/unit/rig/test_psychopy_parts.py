"""What needs no window: the aperture, the keys, the settings, the gamma table."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from protocols.errors import DisplayError, SettingsError
from protocols.settings import validated
from rig_client.display.aperture import Aperture, Preparation
from rig_client.display.keyboard import Keys, Wishes
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.window import read_gamma_table, set_gamma


@pytest.fixture
def image(random):
    return random.integers(0, 256, (64, 64, 3), dtype=np.uint8)


# --- images, as they go to the screen -----------------------------------------------------------


def test_without_aperture_and_scale_it_is_the_image_itself(image):
    assert Preparation(64, None, 128)(image) is image


def test_inside_the_edge_nothing_changes_and_outside_is_background(image):
    shown = Preparation(64, Aperture(diameter_px=60, edge_px=10), 77)(image)
    y, x = np.mgrid[:64, :64] - 31.5
    distance = np.hypot(x, y)
    np.testing.assert_array_equal(shown[distance <= 20], image[distance <= 20])
    assert (shown[distance >= 30] == 77).all()
    assert (shown[distance < 30] != 77).any()


def test_the_edge_falls_by_half_a_cosine():
    """White on black, along the middle row of an image of odd size; r = 30 − 10 … 30."""
    white = np.full((81, 81, 3), 255, np.uint8)
    shown = Preparation(81, Aperture(diameter_px=60, edge_px=10), 0)(white)
    middle = shown[40, 40:, 0]
    assert list(middle[18:32]) == [
        255, 255, 255, 249, 231, 202, 167, 128, 88, 53, 24, 6, 0, 0,
    ]  # fmt: skip
    np.testing.assert_array_equal(shown, shown[::-1, ::-1])


def test_a_hard_edge_cuts():
    opacity = Aperture(diameter_px=10, edge_px=0).opacity((21, 21))
    assert set(np.unique(opacity)) == {0.0, 1.0}
    assert opacity[10].sum() == 11


def test_its_longer_side_becomes_as_long_as_asked():
    prepare = Preparation(50, None, 128)
    assert prepare.size_px((100, 200, 3)) == (50, 25)
    assert prepare.size_px((200, 100, 3)) == (25, 50)
    assert prepare(np.zeros((100, 200, 3), np.uint8)).shape == (25, 50, 3)


def test_scaling_keeps_colours_and_orientation():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:20, :20] = (255, 0, 0)
    image[20:, 20:] = (0, 0, 255)
    shown = Preparation(120, None, 128)(image)
    assert tuple(shown[30, 30]) == (255, 0, 0)
    assert tuple(shown[90, 90]) == (0, 0, 255)
    assert tuple(shown[30, 90]) == (0, 0, 0)


def test_scaling_is_bicubic(image):
    expected = np.asarray(Image.fromarray(image).resize((90, 90), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(Preparation(90, None, 128)(image), expected)


def test_the_image_is_not_changed(image):
    before = image.copy()
    Preparation(30, Aperture(20, 5), 128)(image)
    np.testing.assert_array_equal(image, before)


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("presses", "wishes"),
    [
        ([["escape"], [], ["p"], ["escape"], ["q"]], ["pause", "", "resume", "pause", "quit"]),
        ([["q"], ["x"], []], ["", "", ""]),
        ([["p"], ["p"], ["p"], ["q"]], ["pause", "resume", "pause", "quit"]),
        ([["escape"], ["escape"], ["escape"]], ["pause", "", ""]),
        ([["escape", "q"]], ["quit"]),
        ([["escape", "p"], []], ["pause", "resume"]),
        ([["escape", "p", "q"], ["q"], []], ["pause", "resume", ""]),
        ([["r", "escape", "q"]], ["quit"]),
    ],
)
def test_to_quit_takes_two_keys(presses, wishes):
    keyboard = Wishes(Keys())
    assert [keyboard.read(pressed) for pressed in presses] == wishes


def test_every_press_is_a_wish_and_none_is_lost():
    keyboard = Wishes(Keys())
    wishes = [keyboard.read(["r", "plus", "equal", "num_add", "minus", "c", "u"])]
    while wish := keyboard.read([]):
        wishes.append(wish)
    assert wishes == [
        "free_reward", *["longer_pulse"] * 3, "shorter_pulse", "centre_gaze", "undo_centre",
    ]  # fmt: skip


def test_the_tracker_is_calibrated_within_a_pause_only():
    keyboard = Wishes(Keys())
    assert keyboard.read(["k"]) == ""
    assert keyboard.read(["k"], resting=True) == "calibrate"
    assert [keyboard.read(["p", "k"]), keyboard.read([])] == ["pause", "calibrate"]


@pytest.mark.parametrize(
    ("pressed", "stops", "then"),
    [
        ([], False, []),
        (["r"], False, ["free_reward"]),
        (["k"], True, []),
        (["escape"], True, []),
        (["p"], True, ["resume"]),
        (["q"], True, ["quit"]),
    ],
)
def test_what_goes_on_within_a_pause_can_be_ended(pressed, stops, then):
    """And what the key means otherwise is still done afterwards."""
    keyboard = Wishes(Keys())
    assert keyboard.read(["p"]) == "pause"
    assert keyboard.interrupted(pressed) is stops
    wishes = []
    while wish := keyboard.read([]):
        wishes.append(wish)
    assert wishes == then


def test_the_help_names_the_keys_that_were_chosen():
    text = Keys(free_reward="j", pause="f1").help(paused=True)
    assert "J juice" in text
    assert "+/− longer, shorter pulse" in text
    assert "K calibrate" in text
    assert "F1" in Keys(pause="f1").help(paused=False)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"free_reward_key": "p"}, "resume_key and free_reward_key are both 'p'"),
        ({"centre_gaze_key": "equal"}, "longer_pulse_key and centre_gaze_key are both 'equal'"),
    ],
)
def test_a_key_with_two_meanings_is_refused(options, complaint):
    with pytest.raises(SettingsError, match=complaint):
        validated(PsychoPySettings, options, where="test")


def test_keys_can_be_chosen():
    keyboard = Wishes(Keys(pause="f1", resume="f2", quit="f3"))
    assert [keyboard.read([key]) for key in ("escape", "f1", "q", "f3")] == [
        "", "pause", "", "quit",
    ]  # fmt: skip


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"size_deg": 3, "size_px": 100}, "not both"),
        ({"gamma": 2.2, "gamma_table": "g.txt"}, "not both"),
        ({"aperture_deg": 4, "aperture_edge_deg": 2.5}, "half of aperture_deg"),
        ({"quit_key": "p"}, "must differ"),
        ({"refresh_hz": 0}, "refresh_hz"),
        ({"photodiode": "middle"}, "photodiode"),
    ],
)
def test_choices_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(SettingsError, match=complaint):
        validated(PsychoPySettings, options, where="test")


def test_a_gamma_table_is_read(tmp_path):
    rows = np.linspace(0, 1, 256)[:, None] ** np.array([0.4, 0.5, 0.6])
    for delimiter in (" ", ","):
        np.savetxt(tmp_path / "g.txt", rows, delimiter=delimiter)
        table = read_gamma_table(tmp_path / "g.txt")
        assert table.shape == (3, 256)
        np.testing.assert_allclose(table, rows.T)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("0 0 0\n1 1 1\n", r"shape \(2, 3\)"),
        ("0 0 0\n" * 255 + "1 1 1.5\n", "1.5"),
        ("0 0\n" * 256, "shape"),
        ("red green blue\n" * 256, "could not convert"),
        (None, "No such file"),
    ],
)
def test_what_is_no_gamma_table_is_refused(tmp_path, content, complaint):
    path = tmp_path / "g.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=complaint):
        read_gamma_table(path)


class Card:
    """A graphics card with a table of 1024 levels, and the window on it."""

    gamma = gammaRamp = None

    def __init__(self, n_levels=1024):
        self.backend = self
        self.getGammaRampSize = lambda: n_levels


def test_the_card_gets_its_gamma():
    card = Card()
    set_gamma(card, 2.2, None)
    assert (card.gamma, card.gammaRamp) == (2.2, None)


def test_the_card_gets_its_table():
    card, table = Card(), np.zeros((3, 1024))
    set_gamma(card, None, table)
    assert card.gamma is None
    assert card.gammaRamp is table


def test_a_table_of_another_size_is_refused():
    card = Card()
    with pytest.raises(DisplayError, match=r"expected: 1024\n  got: 256"):
        set_gamma(card, None, np.zeros((3, 256)))
    assert card.gammaRamp is None


def test_a_card_that_is_left_alone_is_not_asked():
    set_gamma(None, None, None)
