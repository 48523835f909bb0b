"""The display of a rig: a PsychoPy window.

Everything that takes time happens in `stage`. Between two flips nothing is uploaded, computed or
sent: textures that lie on the graphics card are drawn, and fixation is asked for.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.digests import image_id
from protocols.errors import DisplayError, RigStopped, StimloopError
from protocols.interfaces import SessionInfo
from protocols.rig_description import DisplayDescription
from protocols.rig_interfaces import Flip, Wish, always
from protocols.vocabulary import Cue, Images, Placement, check_images
from rig_client.display.aperture import Aperture, Preparation
from rig_client.display.description import DEFAULT_SIZE_DEG, described
from rig_client.display.frames import FrameClock, Frames, check_refresh
from rig_client.display.furniture import Furniture
from rig_client.display.geometry import Box, Geometry, Point
from rig_client.display.keyboard import Keys, Wishes
from rig_client.display.placing import not_there, places_of, stimulus_id
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.textures import TexturePool
from rig_client.display.virtual_screen import has_screen
from rig_client.display.window import open_window, screen_width_px


class Staged(NamedTuple):
    """A stimulus on the graphics card: its id, its texture's slot and name, its pixels in the window."""

    name: str
    slot: int
    texture: str
    box: Box


class PsychoPyDisplay:
    """Shows images in a PsychoPy window; its clock is `time.perf_counter`.

    Without frames of a screen's own, and without waiting for any (`paced = false`), time is virtual:
    every flip moves it on by one frame.

    An image is on for a whole number of frames, of which each is drawn and each flip awaited; its
    time ends with the flip that takes it away, and `show` returns after that.

    Args:
        settings: See `PsychoPySettings`.
        session: Not needed.
        clock: Seconds, for tests.

    Raises:
        InstallationError, DisplayError, SettingsError: If the window cannot be opened as asked, or
            the screen has another refresh rate.
    """

    Settings = PsychoPySettings

    def __init__(
        self,
        settings: PsychoPySettings,
        session: SessionInfo,  # noqa: ARG002
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._settings = settings
        had_screen = has_screen()
        self.window = open_window(settings)
        self._has_virtual_screen = not had_screen
        self._closed_by_user = False
        self.window.winHandle.on_close = self._on_close
        self.geometry = Geometry.of_screen(
            (int(self.window.size[0]), int(self.window.size[1])),
            screen_width_px(self.window),
            settings.width_cm,
            settings.distance_cm,
        )
        is_virtual = clock is None and not settings.check_refresh and not settings.paced
        self._frames = Frames(
            self._flip,
            settings.refresh_hz,
            clock=clock or (FrameClock(settings.refresh_hz) if is_virtual else time.perf_counter),
            real=settings.check_refresh,
            paced=settings.paced,
        )
        self._wishes = Wishes(Keys.of(settings))
        self._is_resting = False
        self._text = ""
        self._aperture = _aperture_of(settings, self.geometry)
        self._prepare = Preparation(
            _long_side_px(settings, self.geometry), self._aperture, settings.background
        )
        self._pool = TexturePool(self.window, settings.max_texture_mb)
        self._staged: list[Staged] = []
        self._gray_frames = 0
        self.measured_hz: float | None = None
        try:
            self._furniture = Furniture(self.window, settings, self.geometry)
            if settings.check_refresh:
                self.measured_hz = check_refresh(self.frame_intervals_s(), settings.refresh_hz)
        except StimloopError:
            self.close()
            raise

    @property
    def clock(self) -> Literal["rig", "virtual"]:
        """The rig's own; `virtual` where frames are not waited for."""
        return "virtual" if self._frames.is_virtual else "rig"

    @property
    def is_simulated(self) -> bool:
        """Whether this screen has no frames of its own, so that nobody can see what is shown when."""
        return not self._settings.check_refresh or self._has_virtual_screen

    def now_s(self) -> float:
        """Seconds on the display's clock."""
        return self._frames.clock()

    def describe(self) -> DisplayDescription:
        """The window, as it is."""
        return described(self._settings, self.geometry, self._furniture.patch, self.measured_hz)

    def stage(self, images: Images, places: Sequence[Placement | None] = ()) -> None:
        """Scale, mask and upload what is not on the card yet; draw each once, unseen.

        Equal images of one size are one texture, wherever they stand.

        Raises:
            DisplayError: If they do not fit on the card.
            SettingsError: If one does not fit into the window, or touches the photodiode's patch.
        """
        check_images(images, where="images to stage")
        spots = [
            self._spot_of(index, image, place)
            for index, (image, place) in enumerate(
                zip(images, places_of(images, places), strict=True)
            )
        ]
        sizes = {texture: (box.width, box.height) for _, texture, box in spots}
        self._pool.check_room(list(sizes.values()))
        slots = self._pool.slots([texture for _, texture, _ in spots])
        self._staged = []
        for slot, (name, texture, box), image in zip(slots, spots, images, strict=True):
            if not self._pool.holds(slot, texture):
                prepared = self._prepare(image, (box.width, box.height))
                self._pool.load(slot, texture, prepared, box)
            self._staged.append(Staged(name, slot, texture, box))
        self.window.clearBuffer()

    def show(
        self,
        cue: Cue,
        on_s: float,
        at_onset: Callable[[float], None],
        held: Callable[[], bool] = always,
    ) -> Flip:
        """Show the image of `cue` for the whole number of frames nearest to `on_s`, at least one.

        `held` is asked in every frame. A flip that is more than half a frame late counts as the
        frames that were missed, the flip that takes the image away included.

        Raises:
            DisplayError: If the image of `cue` is not staged.
            RigStopped: If the window was closed.
        """
        staged = self._cued(cue)
        n_frames = max(1, self._frames.count(on_s))
        collects = gc.isenabled()
        gc.disable()
        try:
            self._draw(staged)
            onset_s = self._first_flip(at_onset)
            dropped, kept = 0, True
            for left in range(n_frames - 1, -1, -1):
                kept = held()
                self._draw(staged if left and kept else None)
                dropped += self._frames.next()
                if not kept:
                    break
        finally:
            if collects:
                gc.enable()
        self._gray_frames = 1
        return Flip(onset_s, dropped, kept, self._frames.last_s - onset_s)

    def blank(self, duration_s: float, held: Callable[[], bool] = always) -> bool:
        """Gray for `duration_s`, in whole frames; the one that took an image away is the first.

        `held` is asked after every flip, that which took an image away included, and once more before
        the flip that ends the last frame.

        Raises:
            RigStopped: If the window was closed.
        """
        n_frames = self._frames.count(duration_s)
        if n_frames <= 0 or (self._gray_frames and not held()):
            return n_frames <= 0 and held()
        for _ in range(n_frames - self._gray_frames):
            self._draw(None)
            self._frames.next()
            self._gray_frames = 1
            if not held():
                return False
        self._gray_frames = 0
        if held is not always or self._frames.is_virtual:
            self._frames.await_end()
        return held()

    def spot(self, visible: bool) -> None:
        """Whether the fixation spot, if there is one, stands on the background."""
        self._furniture.is_spot_on = visible

    def point(self, point_deg: Point | None) -> None:
        """A point to look at in place of the spot, from the next frame on; None: the spot again."""
        self._furniture.point(point_deg)

    def wish(self) -> Wish:
        """The next thing that was asked for at the keyboard; see the settings that end in `_key`.

        Raises:
            RigStopped: If the window was closed.
        """
        return self._wishes.read(self._pressed(), resting=self._is_resting)

    @property
    def keys_help(self) -> str:
        """Which keys there are within a pause."""
        return self._wishes.keys.help()

    def interrupted(self) -> bool:
        """Whether what goes on within a pause is to end: the pause's key, or that which began it.

        Raises:
            RigStopped: If the window was closed.
        """
        return self._wishes.interrupted(self._pressed())

    def draw_frame(
        self,
        draw: Callable[[], object],
        *,
        lit: bool,
        look: Callable[[NDArray[np.uint8]], object] | None = None,
    ) -> None:
        """One frame of something that moves, then a flip.

        `draw` draws into the back buffer, spot and patch (white if `lit`) come over it; `look` is given
        the pixels, `(height, width, 3)`, before they are shown.
        """
        draw()
        self._furniture.draw(lit=lit)
        if look is not None:
            look(self.pixels())
        self._frames.next()
        self._gray_frames = 0

    def message(self, text: str) -> None:
        """Gray, and `text` for the experimenter until another text, or an empty one, is given.

        Raises:
            RigStopped: If the window was closed.
        """
        self._is_resting, self._text = bool(text), text
        self._draw(None)
        self._frames.next()
        self._gray_frames = 0

    def close(self) -> None:
        """Close the window; again is no harm."""
        if not self.window._closed:
            self.window.close()

    # --- for calibration, `doctor` and tests -----------------------------------------------------

    def frame_intervals_s(self, n: int = 120) -> NDArray[np.float64]:
        """Times between flips of a gray screen, `(n,)` seconds."""
        return self._frames.intervals_s(n)

    def read_back(self, cue: Cue | None) -> NDArray[np.uint8]:
        """What the screen would show, `(height, width, 3)`, read from the graphics card; not shown."""
        self._draw(None if cue is None else self._cued(cue))
        pixels = self.pixels()
        self.window.clearBuffer()
        return pixels

    def pixels(self) -> NDArray[np.uint8]:
        """The frame drawn so far and not yet flipped, `(height, width, 3)`."""
        frame = self.window.getMovieFrame(buffer="back")
        self.window.movieFrames.clear()
        return np.asarray(frame)

    # --- within ----------------------------------------------------------------------------------

    def _spot_of(
        self, index: int, image: NDArray[np.uint8], place: Placement | None
    ) -> tuple[str, str, Box]:
        """A stimulus's id, its texture's name, and its pixels in the window.

        Raises:
            SettingsError: If it does not lie in the window, or shines on the photodiode's patch.
        """
        pixels = image_id(image)
        name = stimulus_id(pixels, place)
        long_side = None
        centre = self._settings.position_deg
        if place is not None:
            long_side = max(1, round(self.geometry.length_px(place.size_deg)))
            centre = place.x_deg, place.y_deg
        size = self._prepare.size_px(image.shape, long_side)
        box = self.geometry.box(centre, size)
        reason = self._why_not(box, size)
        if reason:
            raise not_there(index, name, place or self.describe().place, reason, self.describe())
        return name, f"{pixels} {size[0]}x{size[1]}", box

    def _why_not(self, box: Box, size: tuple[int, int]) -> str:
        if not self.geometry.contains(box):
            width, height = self.geometry.window_px
            return f"off the screen: {box} in a window of {width} × {height} px"
        if not self._furniture.is_clear(box, self._prepare.aperture(size)):
            return f"on the photodiode's patch: {box}, the patch {self._furniture.patch}"
        return ""

    def _cued(self, cue: Cue) -> Staged:
        index, name = cue.stimulus_index, cue.stimulus_id
        staged = self._staged[index] if index < len(self._staged) else None
        if staged and staged.name == name and self._pool.holds(staged.slot, staged.texture):
            return staged
        raise DisplayError(
            "what is staged is not the image that is to be shown",
            where=f"block {cue.block_index}, stimulus {index}",
            expected=name,
            got=staged.name if staged else "nothing staged there",
        )

    def _draw(self, staged: Staged | None) -> None:
        """The next frame: an image or gray, and what stands beside it."""
        if staged is not None:
            self._pool.draw(staged.slot, staged.box)
        self._furniture.draw(lit=staged is not None)
        if staged is None and self._text and not self._furniture.is_pointing:
            self._furniture.write(self._text)

    def _first_flip(self, at_onset: Callable[[float], None]) -> float:
        """Flip an image onto the screen; `at_onset` is called by PsychoPy, right after the flip."""
        onset_s = self._frames.last_s

        def flipped() -> None:
            nonlocal onset_s
            onset_s = self._frames.clock()
            at_onset(onset_s)

        self.window.callOnFlip(flipped)
        return self._frames.first(lambda: onset_s)

    def _pressed(self) -> list[str]:
        from psychopy import event

        pressed: list[str] = event.getKeys()
        self._check_open()
        return pressed

    def _flip(self) -> None:
        self.window.flip()
        self._check_open()

    def _on_close(self) -> bool:
        """Called by pyglet; what it returns keeps the window, until we are done with it."""
        self._closed_by_user = True
        return True

    def _check_open(self) -> None:
        if self._closed_by_user:
            raise RigStopped(
                "the window was closed; nothing is lost",
                remedy="start the rig client again: it goes on where it was, within the block",
            )


def _aperture_of(settings: PsychoPySettings, geometry: Geometry) -> Aperture | None:
    if settings.aperture_deg is None:
        return None
    diameter_px = geometry.length_px(settings.aperture_deg)
    return Aperture(diameter_px, geometry.length_px(settings.aperture_edge_deg))


def _long_side_px(settings: PsychoPySettings, geometry: Geometry) -> int:
    """The image's on the screen."""
    if settings.size_px is not None:
        return settings.size_px
    return max(1, round(geometry.length_px(settings.size_deg or DEFAULT_SIZE_DEG)))
