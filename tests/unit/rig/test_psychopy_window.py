"""The PsychoPy display in a real window, on a screen in memory: read back pixel by pixel.

Pixels are read from the back buffer at every flip, before it is shown. That screen has no frames of
its own, so time is a clock that each flip moves on: nothing here depends on how fast anything is.
"""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from protocols.conformance import check_display
from protocols.errors import DisplayError, InstallationError, RigStopped, SettingsError
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Placement, Role
from rig_client.display.headless import HeadlessDisplay
from rig_client.display.psychopy_window import PsychoPyDisplay

SESSION = SessionInfo(session_id="s", seed=0)
GRAY = 128
FRAME_S = 1 / 60


class Ticking:
    """A clock that every reading moves on by one frame, or by as many as it is told."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.readings = 0
        self.late: dict[int, float] = {}

    def __call__(self) -> float:
        self.now_s += FRAME_S * self.late.get(self.readings, 1.0)
        self.readings += 1
        return self.now_s

    def delay(self, place: int, frames: float) -> None:
        """The reading after `place` others takes `frames` instead of one."""
        self.late[self.readings + place] = frames


@pytest.fixture
def open_display(screen: str) -> Iterator[Callable[..., PsychoPyDisplay]]:
    made: list[PsychoPyDisplay] = []

    def make(clock: Any = None, **options: Any) -> PsychoPyDisplay:
        usual = {"full_screen": False, "window_px": (400, 300), "check_refresh": clock is not None}
        if not {"size_px", "size_deg"} & set(options):
            usual["size_px"] = 64  # as the pictures have, pixel for pixel
        settings = PsychoPyDisplay.Settings(**{**usual, "paced": False, **options})
        made.append(PsychoPyDisplay(settings, SESSION, *([clock] if clock else [])))
        return made[-1]

    yield make
    for display in made:
        display.close()


class Film:
    """Every frame that a display flips."""

    def __init__(self, display: PsychoPyDisplay, monkeypatch: pytest.MonkeyPatch) -> None:
        self.frames: list[np.ndarray] = []
        flip = display.window.flip

        def filmed() -> object:
            self.frames.append(display.pixels())
            return flip()

        monkeypatch.setattr(display.window, "flip", filmed)

    def take(self) -> list[np.ndarray]:
        frames, self.frames = self.frames, []
        return frames


@pytest.fixture
def pictures(random: np.random.Generator) -> np.ndarray:
    """Five images that are neither square nor a power of two; noise, so that nothing goes unseen."""
    return random.integers(0, 256, (5, 51, 64, 3), dtype=np.uint8)


def _block(images: np.ndarray, **how: Any) -> Block:
    return Block.of(images, roles=Role.CONTROL, **how).at(0, "t")


def _ignore(onset_s: float) -> None:
    pass


# --- what is on the screen ----------------------------------------------------------------------


def test_it_keeps_the_promises_of_a_display(open_display, pictures):
    check_display(open_display(), pictures)


def test_every_frame_of_every_image_is_the_logged_pixels_bit_for_bit(
    open_display, pictures, monkeypatch
):
    """Six frames of each, in the order of the block; around it, and between, the background."""
    display = open_display()
    film = Film(display, monkeypatch)
    display.stage(pictures)
    block = _block(pictures, order=[3, 0, 0, 4, 1, 2])
    for cue in block.cues():
        display.show(cue, 0.1, _ignore)
        display.blank(0.05)
        *on, off_0, off_1, off_2 = film.take()
        assert len(on) == 6
        for frame in on:
            np.testing.assert_array_equal(frame[124:175, 168:232], pictures[cue.stimulus_index])
            frame = frame.copy()
            frame[124:175, 168:232] = GRAY
            assert (frame == GRAY).all()
        for frame in (off_0, off_1, off_2):
            assert (frame == GRAY).all()


def test_it_is_upright_not_mirrored_and_red_is_red(open_display):
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[0, :20, :20] = (255, 0, 0)  # top left
    image[0, :20, 44:] = (0, 255, 0)  # top right
    image[0, 44:, :20] = (0, 0, 255)  # bottom left
    display = open_display()
    display.stage(image)
    seen = display.read_back(next(_block(image).cues()))
    assert tuple(seen[150 - 32, 200 - 32]) == (255, 0, 0)
    assert tuple(seen[150 - 32, 200 + 31]) == (0, 255, 0)
    assert tuple(seen[150 + 31, 200 - 32]) == (0, 0, 255)
    assert tuple(seen[150 + 31, 200 + 31]) == (0, 0, 0)


@pytest.mark.parametrize("background", [0, 1, 77, 127, 255])
def test_every_background_is_exact(open_display, pictures, background):
    display = open_display(background=background, aperture_deg=0.5)
    display.stage(pictures)
    seen = display.read_back(next(_block(pictures).cues()))
    assert (seen[:120] == background).all()
    assert (seen[124, 168] == background).all(), "a corner of the image, outside the aperture"
    assert (display.read_back(None) == background).all()


def test_blocks_follow_each_other_in_the_same_textures(open_display, random):
    """Larger, smaller, other sizes, images that come again at other places: each is itself."""
    display = open_display(width_cm=32, distance_cm=57.29)
    many = random.integers(0, 256, (9, 40, 40, 3), dtype=np.uint8)
    large = random.integers(0, 256, (3, 120, 90, 3), dtype=np.uint8)
    textures = []
    for images in (many, many[[4, 8, 0]], 255 - many[:4], large, many[::-1], large[[1, 1, 2]]):
        places = [Placement(size_deg=max(images.shape[1:3]) / 40)] * len(images)
        display.stage(images, places)
        textures.append(len(display._pool))
        for cue in _block(images, places=places).cues():
            height, width = images.shape[1:3]
            top, left = 150 - height // 2, 200 - width // 2
            seen = display.read_back(cue)[top : top + height, left : left + width]
            np.testing.assert_array_equal(seen, images[cue.stimulus_index])
    assert textures == [9] * 6


def test_a_conserved_image_is_not_uploaded_again(open_display, pictures, monkeypatch):
    display = open_display()
    display.stage(pictures)
    loaded = []
    load = display._pool.load
    monkeypatch.setattr(
        display._pool,
        "load",
        lambda slot, name, *what: loaded.append(name) or load(slot, name, *what),
    )
    block = _block(np.concatenate([pictures[3:], pictures[:1] ^ 255]))
    display.stage(block.images)
    assert loaded == [f"{block.stimuli[2].id} 64x51"]


def test_degrees_become_pixels_on_the_screen(open_display):
    """1280 px and 32 cm wide: 40 px/cm; at 57.29 cm a degree is 40 px. Right is right, up is up."""
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    display = open_display(
        width_cm=32, distance_cm=57.29, size_deg=2.5, position_deg=(1, -0.5), background=0
    )
    display.stage(white)
    seen = display.read_back(next(_block(white).cues()))[:, :, 0]
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    assert (columns[0], columns[-1] + 1) == (200 + 40 - 50, 200 + 40 + 50)
    assert (rows[0], rows[-1] + 1) == (150 + 20 - 50, 150 + 20 + 50)
    assert (seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] == 255).all()


def test_scaled_pixels_are_those_that_were_computed(open_display, pictures):
    display = open_display(size_px=96)
    display.stage(pictures)
    expected = np.asarray(Image.fromarray(pictures[0]).resize((96, 76), Image.Resampling.BICUBIC))
    seen = display.read_back(next(_block(pictures).cues()))[112:188, 152:248]
    np.testing.assert_array_equal(seen, expected)


def test_through_the_aperture_pixels_are_exact(open_display, random):
    image = random.integers(0, 256, (1, 100, 100, 3), dtype=np.uint8)
    display = open_display(
        width_cm=32,
        distance_cm=57.29,
        size_px=100,
        aperture_deg=2.5,
        aperture_edge_deg=0.5,
        background=90,
    )
    display.stage(image)
    seen = display.read_back(next(_block(image).cues()))
    y, x = np.mgrid[:300, :400]
    distance = np.hypot(x - 199.5, y - 149.5)
    inside, outside = distance < 29.9, distance > 50.1
    shown = np.full((300, 400, 3), 90, np.uint8)
    shown[100:200, 150:250] = image[0]
    np.testing.assert_array_equal(seen[inside], shown[inside])
    assert (seen[outside] == 90).all()
    assert not np.array_equal(seen[~inside & ~outside], shown[~inside & ~outside])


# --- the photodiode, the fixation spot, messages ------------------------------------------------


def test_the_patch_is_white_exactly_while_an_image_is_on(open_display, pictures, monkeypatch):
    display = open_display(photodiode="bottom_right", photodiode_px=30)
    film = Film(display, monkeypatch)
    display.stage(pictures)
    first, second, *_ = _block(pictures).cues()
    display.blank(2 * FRAME_S)
    display.show(first, 3 * FRAME_S, _ignore)
    display.blank(2 * FRAME_S)
    display.show(second, FRAME_S, _ignore)
    display.message("paused")
    levels = []
    for frame in film.take():
        patch = np.unique(frame[270:, 370:])
        assert len(patch) == 1, "the whole patch, and nothing but it"
        assert (frame[268, 370:] == GRAY).all()
        levels.append(int(patch[0]))
    assert levels == [0, 0, 255, 255, 255, 0, 0, 255, 0, 0]


def test_an_image_on_the_patch_is_refused(open_display, pictures):
    display = open_display(photodiode="top_left", photodiode_px=200)
    with pytest.raises(SettingsError, match="on the photodiode's patch"):
        display.stage(pictures)


def test_an_aperture_may_leave_room_for_the_patch(open_display, random):
    image = random.integers(0, 256, (1, 280, 280, 3), dtype=np.uint8)
    display = open_display(
        width_cm=32, distance_cm=57.29, size_px=280, aperture_deg=6.5, photodiode="top_left"
    )
    display.stage(image)
    seen = display.read_back(next(_block(image).cues()))
    assert (seen[:60, :60] == 255).all()


def test_the_fixation_spot_is_straight_ahead_and_always_there(open_display, pictures):
    display = open_display(fixation_spot_deg=0.25, fixation_spot=10, width_cm=32, distance_cm=57.29)
    display.stage(pictures)
    for cue in (None, next(_block(pictures).cues())):
        seen = display.read_back(cue)
        assert (seen[146:154, 196:204] == 10).all(axis=2).sum() > 40
    assert (display.read_back(None)[:140] == GRAY).all()


def test_a_message_is_legible_and_goes_away(open_display, monkeypatch):
    display = open_display()
    film = Film(display, monkeypatch)
    display.message("no answer from tcp://10.0.0.5:5570: nothing is lost; waiting")
    display.message("")
    written, cleared = film.take()
    assert (written[0] == GRAY).all()
    assert (written > 200).all(axis=2).sum() > 300
    assert (cleared == GRAY).all()


# --- time ---------------------------------------------------------------------------------------


def test_onsets_are_whole_frames_apart_and_told_at_the_flip(open_display, pictures):
    """100 ms on, 100 ms off at 60 Hz: 12 frames from onset to onset, however they are divided."""
    clock = Ticking()
    display = open_display(clock)
    assert display.measured_hz == pytest.approx(60)
    display.stage(pictures)
    told, flips = [], []
    for cue in _block(pictures).cues():
        flips.append(display.show(cue, 0.1, told.append))
        display.blank(0.0)
        display.blank(0.06)
        display.blank(0.04)
    assert told == [flip.onset_s for flip in flips]
    np.testing.assert_allclose(np.diff(told), 12 * FRAME_S)
    assert [flip.dropped_frames for flip in flips] == [0] * 5


def test_the_callback_comes_after_the_flip_and_before_the_next(open_display, pictures, monkeypatch):
    display = open_display()
    film = Film(display, monkeypatch)
    display.stage(pictures)
    seen = []
    display.show(next(_block(pictures).cues()), 0.1, lambda _: seen.append(len(film.frames)))
    assert seen == [1]


@pytest.mark.parametrize(
    ("place", "frames", "dropped"),
    [(1, 1.4, 0), (1, 1.6, 1), (3, 4.0, 3), (6, 2.0, 1), (0, 9.0, 0), (7, 9.0, 0)],
)
def test_late_frames_are_counted_while_the_image_is_on(
    open_display, pictures, place, frames, dropped
):
    """Six frames on. Flip 0 brings the image, flip 6 takes it away; before and after is no matter."""
    clock = Ticking()
    display = open_display(clock)
    display.stage(pictures)
    first, second, *_ = _block(pictures).cues()
    clock.delay(place, frames)
    assert display.show(first, 0.1, _ignore).dropped_frames == dropped
    display.blank(0.1)
    assert display.show(second, 0.1, _ignore).dropped_frames == 0


def test_a_screen_at_another_rate_is_refused(open_display):
    from psychopy.core import openWindows

    n_open = len(openWindows)
    with pytest.raises(DisplayError, match=r"60\.00 Hz"):
        open_display(Ticking(), refresh_hz=75)
    assert len(openWindows) == n_open, "its window is closed again"


def test_fixation_is_asked_for_in_every_frame_and_a_break_takes_the_image_away(
    open_display, pictures, monkeypatch
):
    display = open_display()
    film = Film(display, monkeypatch)
    display.stage(pictures)
    cue = next(_block(pictures).cues())
    answers = iter([True, True, False])
    flip = display.show(cue, 0.1, _ignore, lambda: next(answers))
    on = [not (frame == GRAY).all() for frame in film.take()]
    assert on == [True, True, True, False]
    assert not flip.held
    asked = []
    assert display.show(cue, 0.1, _ignore, lambda: asked.append(1) or True).held
    assert len(asked) == 6
    assert len(film.take()) == 7


def test_a_break_in_the_last_frame_is_a_break(open_display, pictures):
    display = open_display()
    display.stage(pictures)
    answers = iter([True] * 5 + [False])
    assert not display.show(next(_block(pictures).cues()), 0.1, _ignore, lambda: next(answers)).held


# --- what must not be ---------------------------------------------------------------------------


def test_another_image_than_the_cue_names_is_never_shown(open_display, pictures, monkeypatch):
    display = open_display()
    display.stage(pictures)
    film = Film(display, monkeypatch)
    cue = next(_block(pictures).cues())
    wrong = cue.model_copy(update={"stimulus_index": 1})
    with pytest.raises(DisplayError, match="is not the image that is to be shown"):
        display.show(wrong, 0.1, _ignore)
    with pytest.raises(DisplayError, match="nothing staged there"):
        display.show(cue.model_copy(update={"stimulus_index": 5}), 0.1, _ignore)
    assert film.take() == []


def test_a_block_that_the_card_cannot_hold_is_refused(open_display, random):
    images = random.integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    display = open_display(max_texture_mb=1, size_px=128)
    with pytest.raises(DisplayError, match="max_texture_mb"):
        display.stage(images)
    display.stage(images[:6])


def test_an_image_larger_than_the_window_is_refused(open_display, random):
    with pytest.raises(SettingsError, match="off the screen"):
        open_display(size_px=301).stage(random.integers(0, 256, (1, 301, 64, 3), dtype=np.uint8))


def test_many_presentations_leave_nothing_behind(open_display, random):
    """400 of them, in 20 blocks of new images; the benchmark `display` shows 5,000."""
    display = open_display()

    def show_block() -> None:
        images = random.integers(0, 256, (20, 128, 128, 3), dtype=np.uint8)
        display.stage(images)
        for cue in _block(images).cues():
            display.show(cue, 2 * FRAME_S, _ignore)

    for _ in range(5):
        show_block()
    before = _memory_mb()
    for _ in range(20):
        show_block()
    assert _memory_mb() - before < 10


def _memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def test_a_screen_that_is_not_there_is_refused(open_display):
    with pytest.raises(SettingsError, match="there is no such screen"):
        open_display(screen=3)


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="a real screen takes it")
def test_a_gamma_that_the_card_does_not_take_is_refused(open_display):
    """A screen in memory takes none; images must not be shown without."""
    with pytest.raises(DisplayError, match="does not take a gamma"):
        open_display(gamma=2.2)


def test_without_psychopy_it_says_what_to_install(open_display, monkeypatch):
    monkeypatch.setitem(sys.modules, "psychopy", None)
    with pytest.raises(InstallationError, match=r"pip install 'stimloop\[rig\]'"):
        open_display()


# --- the experimenter ---------------------------------------------------------------------------


def test_keys_become_wishes(open_display):
    from pyglet.window import key

    display = open_display()

    def press(*symbols: int) -> str:
        for symbol in symbols:
            display.window.winHandle.dispatch_event("on_key_press", symbol, 0)
        return display.wish()

    assert press(key.Q) == ""
    assert press(key.ESCAPE) == "pause"
    assert press() == ""
    assert press(key.P) == "resume"
    assert press(key.ESCAPE) == "pause"
    assert press(key.Q) == "quit"


def test_a_closed_window_stops_the_rig_wherever_it_is(open_display, pictures):
    display = open_display()
    display.stage(pictures)
    cue = next(_block(pictures).cues())
    display.window.winHandle.dispatch_event("on_close")
    for act in (
        lambda: display.show(cue, 0.1, _ignore),
        lambda: display.blank(0.1),
        lambda: display.message("x"),
        display.wish,
    ):
        with pytest.raises(RigStopped, match="start the rig client again"):
            act()


# --- places ---------------------------------------------------------------------------------------


def _quadrants(size_deg: float = 1.0) -> list[Placement]:
    return [Placement(x_deg=x, y_deg=y, size_deg=size_deg) for x in (-2, 2) for y in (-1.5, 1.5)]


def test_images_in_four_quadrants_are_exact_to_the_last_bit(open_display, random):
    """40 px a degree: 1° is 40 px, scaled for nobody; right is right, up is up."""
    images = random.integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    display = open_display(width_cm=32, distance_cm=57.29)
    places = _quadrants()
    display.stage(images, places)
    for cue, place in zip(_block(images, places=places).cues(), places, strict=True):
        seen = display.read_back(cue).copy()
        x, y = 200 + round(place.x_deg * 40), 150 - round(place.y_deg * 40)
        np.testing.assert_array_equal(
            seen[y - 20 : y + 20, x - 20 : x + 20], images[cue.stimulus_index]
        )
        seen[y - 20 : y + 20, x - 20 : x + 20] = GRAY
        assert (seen == GRAY).all()


def test_the_same_pixels_at_several_places_are_one_texture_a_size(open_display, random):
    image = random.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)
    display = open_display(width_cm=32, distance_cm=57.29)
    places = [*_quadrants(), *_quadrants(2.0)]
    images = np.repeat(image, 8, axis=0)
    display.stage(images, places)
    assert len(display._pool) == 2
    block = _block(images, places=places)
    assert len(set(block.stimulus_ids)) == 8
    large = np.asarray(Image.fromarray(image[0]).resize((80, 80), Image.Resampling.BICUBIC))
    for cue, place in reversed(list(zip(block.cues(), places, strict=True))):
        half, expected = (20, image[0]) if place.size_deg == 1 else (40, large)
        x, y = 200 + round(place.x_deg * 40), 150 - round(place.y_deg * 40)
        seen = display.read_back(cue)[y - half : y + half, x - half : x + half]
        np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (Placement(x_deg=4.8, y_deg=0, size_deg=1), "off the screen"),
        (Placement(x_deg=-4.4, y_deg=-3.1, size_deg=1), "on the photodiode's patch"),
    ],
)
def test_a_place_that_the_screen_does_not_have_is_refused_by_name(
    open_display, pictures, place, why
):
    display = open_display(width_cm=32, distance_cm=57.29, photodiode="bottom_left")
    block = _block(pictures, places=[None, None, place, None, None])
    with pytest.raises(
        SettingsError, match=f"{why}[\\s\\S]*stimulus 2 .{block.stimuli[2].id[:12]}"
    ):
        display.stage(pictures, [None, None, place, None, None])


def test_the_aperture_is_as_large_as_its_image(open_display, random):
    """Made for 2°; an image of 1° has half of it, and its corners are gray as well."""
    image = random.integers(0, 256, (1, 40, 40, 3), dtype=np.uint8)
    display = open_display(width_cm=32, distance_cm=57.29, size_deg=2, aperture_deg=2)
    display.stage(image, [Placement(size_deg=1)])
    block = _block(image, places=Placement(size_deg=1))
    seen = display.read_back(next(block.cues()))[130:170, 180:220]
    y, x = np.mgrid[:40, :40] - 19.5
    inside = np.hypot(x, y) <= 19.9
    np.testing.assert_array_equal(seen[inside], image[0][inside])
    assert (seen[np.hypot(x, y) > 20.1] == GRAY).all()


# --- what it says of itself -----------------------------------------------------------------------


def test_it_describes_itself(open_display, tmp_path):
    display = open_display(
        Ticking(),
        width_cm=32,
        distance_cm=57.29,
        size_px=120,
        position_deg=(1, -0.5),
        aperture_deg=2,
        background=100,
        photodiode="bottom_left",
        photodiode_px=40,
        fixation_point_deg=(0.5, 0.25),
        fixation_spot_deg=0.2,
    )
    described = display.describe()
    assert described.size_px == (400, 300)
    assert (described.px_per_cm, described.distance_cm) == (40, 57.29)
    assert described.place.size_deg == pytest.approx(3, abs=1e-3)
    assert (described.place.x_deg, described.place.y_deg) == (1, -0.5)
    assert described.refresh_hz == pytest.approx(60)
    assert described.bounds_deg == pytest.approx((-4.99, -3.75, 4.99, 3.75), abs=0.01)
    assert described.patch_deg == pytest.approx((-4.99, -3.75, -4.0, -2.75), abs=0.01)
    assert described.aperture == "round, 2° across, with a hard edge"
    assert described.fixation_point_deg == (0.5, 0.25)
    assert described.gamma_digest == ""
    assert not display.is_simulated
    assert described.why_not(described.place) == ""


@pytest.mark.parametrize(("options", "clock"), [({"paced": True}, "rig"), ({}, "virtual")])
def test_a_screen_without_frames_of_its_own_is_simulated(open_display, options, clock):
    display = open_display(**options)
    assert display.is_simulated
    assert display.clock == clock


def test_time_without_waiting_is_that_of_the_headless_display(open_display, pictures):
    """Asked for fixation at the same moments, too: a dry run in a window has the digest of one without."""

    def story(display: Any) -> list[float]:
        display.stage(pictures)
        moments: list[float] = []

        def held() -> bool:
            moments.append(display.now_s())
            return True

        display.blank(0.05)
        began_s = display.now_s()
        for cue in _block(pictures).cues():
            display.show(cue, 0.05, moments.append, held)
            display.blank(0.07, held)
            display.blank(0.03)
        return list(np.subtract(moments, began_s))

    headless = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    np.testing.assert_allclose(story(open_display()), story(headless), atol=1e-9)


# --- gaps, the spot, what was shown ---------------------------------------------------------------


def test_a_gap_ends_at_the_first_break(open_display, pictures, monkeypatch):
    display = open_display()
    display.stage(pictures)
    display.show(next(_block(pictures).cues()), 0.1, _ignore)
    film = Film(display, monkeypatch)
    answers = iter([True, True, False])
    assert not display.blank(1.0, lambda: next(answers))
    assert len(film.take()) == 2
    asked = []
    assert display.blank(0.1, lambda: not asked.append(1))
    assert len(film.take()) == 5, "the frame of the break was the first of six"
    assert len(asked) == 7, "once a frame, and once at the end"


def test_how_long_an_image_was_on_is_measured(open_display, pictures):
    clock = Ticking()
    display = open_display(clock)
    display.stage(pictures)
    first, second, *_ = _block(pictures).cues()
    assert display.show(first, 0.1, _ignore).shown_s == pytest.approx(0.1)
    clock.delay(3, 2.0)
    late = display.show(second, 0.1, _ignore)
    assert (late.shown_s, late.dropped_frames) == (pytest.approx(7 * FRAME_S), 1)


def test_the_spot_goes_and_comes_and_stands_at_its_point(open_display, monkeypatch):
    display = open_display(
        fixation_spot_deg=0.25,
        fixation_spot=10,
        width_cm=32,
        distance_cm=57.29,
        fixation_point_deg=(2, -1),
    )
    film = Film(display, monkeypatch)
    for visible in (True, False, True):
        display.spot(visible)
        display.blank(FRAME_S)
    on, off, again = ((frame == 10).all(axis=2) for frame in film.take())
    assert on[184:196, 274:286].sum() > 40
    assert on.sum() == on[184:196, 274:286].sum()
    assert not off.any()
    assert (again == on).all()
    display.point((-2, 1))
    display.blank(FRAME_S)
    display.point(None)
    display.blank(FRAME_S)
    pointing, last = ((frame == 10).all(axis=2) for frame in film.take())
    assert pointing[104:116, 114:126].sum() > 60
    assert not pointing[184:196, 274:286].any()
    assert (last == on).all()


def test_a_spot_beyond_the_window_is_refused(open_display):
    with pytest.raises(SettingsError, match="fixation_point_deg"):
        open_display(fixation_spot_deg=0.25, fixation_point_deg=(40, 0))
