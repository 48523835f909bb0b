"""The display of a rig: a PsychoPy window.

Everything that takes time happens in `stage`. Between two flips nothing is uploaded, computed or
sent: textures that lie on the graphics card are drawn, and fixation is asked for.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.digests import image_id
from protocols.errors import DisplayError, RigStopped, StimloopError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Flip, Wish, always
from protocols.vocabulary import Cue, Images, check_images
from rig_client.display.aperture import Aperture, Preparation
from rig_client.display.frames import Frames, check_refresh
from rig_client.display.furniture import Furniture
from rig_client.display.geometry import Box, Geometry
from rig_client.display.keyboard import Keys, Wishes
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.textures import TexturePool
from rig_client.display.window import open_window, screen_width_px


class PsychoPyDisplay:
    """Shows images in a PsychoPy window; its clock is `time.perf_counter`.

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
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = settings
        self.window = open_window(settings)
        self._closed_by_user = False
        self.window.winHandle.on_close = self._on_close
        self.geometry = Geometry.of_screen(
            (int(self.window.size[0]), int(self.window.size[1])),
            screen_width_px(self.window),
            settings.width_cm,
            settings.distance_cm,
        )
        self._frames = Frames(
            self._flip,
            settings.refresh_hz,
            clock=clock,
            real=settings.check_refresh,
            paced=settings.paced,
        )
        self._wishes = Wishes(Keys(settings.pause_key, settings.resume_key, settings.quit_key))
        self._aperture = _aperture_of(settings, self.geometry)
        self._prepare = Preparation(
            _long_side_px(settings, self.geometry), self._aperture, settings.background
        )
        self._pool = TexturePool(self.window, settings.max_texture_mb)
        self._staged: list[str] = []
        self._slots: list[int] = []
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
        """The rig's own."""
        return "rig"

    def now_s(self) -> float:
        """Seconds on the rig's clock."""
        return self._frames.clock()

    def stage(self, images: Images) -> None:
        """Scale, mask and upload what is not on the card yet; draw each once, unseen.

        Raises:
            DisplayError: If they do not fit on the card.
            SettingsError: If they do not fit into the window, or touch the photodiode's patch.
        """
        check_images(images, where="images to stage")
        box = self._box(images)
        ids = [image_id(image) for image in images]
        self._pool.place(box, len(set(ids)))
        self._staged, self._slots = ids, self._pool.slots(ids)
        for slot, name, image in zip(self._slots, ids, images, strict=True):
            if not self._pool.holds(slot, name):
                self._pool.load(slot, name, self._prepare(image))
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
        slot = self._slot(cue)
        n_frames = max(1, self._frames.count(on_s))
        collects = gc.isenabled()
        gc.disable()
        try:
            self._draw(slot)
            onset_s = self._first_flip(at_onset)
            dropped, kept = 0, True
            for left in range(n_frames - 1, -1, -1):
                kept = held()
                self._draw(slot if left and kept else None)
                dropped += self._frames.next()
                if not kept:
                    break
        finally:
            if collects:
                gc.enable()
        self._gray_frames = 1
        return Flip(onset_s, dropped, kept)

    def blank(self, duration_s: float) -> None:
        """Gray for `duration_s`, in whole frames; the one that took an image away is the first.

        Raises:
            RigStopped: If the window was closed.
        """
        n_frames = self._frames.count(duration_s)
        if n_frames > 0:
            for _ in range(n_frames - self._gray_frames):
                self._draw(None)
                self._frames.next()
            self._gray_frames = 0

    def wish(self) -> Wish:
        """Esc: pause; then P: resume, or Q: quit (by default).

        Raises:
            RigStopped: If the window was closed.
        """
        from psychopy import event

        pressed = event.getKeys()
        self._check_open()
        return self._wishes.read(pressed)

    def message(self, text: str) -> None:
        """Gray, and `text` for the experimenter; empty text leaves gray.

        Raises:
            RigStopped: If the window was closed.
        """
        if text:
            self._furniture.write(text)
        else:
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
        self._draw(None if cue is None else self._slot(cue))
        pixels = self.pixels()
        self.window.clearBuffer()
        return pixels

    def pixels(self) -> NDArray[np.uint8]:
        """The frame drawn so far and not yet flipped, `(height, width, 3)`."""
        frame = self.window.getMovieFrame(buffer="back")
        self.window.movieFrames.clear()
        return np.asarray(frame)

    # --- within ----------------------------------------------------------------------------------

    def _box(self, images: Images) -> Box:
        """Where the images go; never onto the photodiode's patch."""
        size = self._prepare.size_px(images.shape[1:])
        box = self.geometry.box(self._settings.position_deg, size)
        self._furniture.check_clear(box, self._aperture)
        return box

    def _slot(self, cue: Cue) -> int:
        index, name = cue.stimulus_index, cue.stimulus_id
        if index < len(self._staged) and self._pool.holds(self._slots[index], name):
            return self._slots[index]
        raise DisplayError(
            "what is staged is not the image that is to be shown",
            where=f"block {cue.block_index}, stimulus {index}",
            expected=name,
            got=self._staged[index] if index < len(self._staged) else "nothing staged there",
        )

    def _draw(self, slot: int | None) -> None:
        """The next frame: an image or gray, and what stands beside it."""
        if slot is not None:
            self._pool.draw(slot)
        self._furniture.draw(lit=slot is not None)

    def _first_flip(self, at_onset: Callable[[float], None]) -> float:
        """Flip an image onto the screen; `at_onset` is called by PsychoPy, right after the flip."""
        onset_s = self._frames.last_s

        def flipped() -> None:
            nonlocal onset_s
            onset_s = self._frames.clock()
            at_onset(onset_s)

        self.window.callOnFlip(flipped)
        return self._frames.first(lambda: onset_s)

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


def _long_side_px(settings: PsychoPySettings, geometry: Geometry) -> int | None:
    """The image's on the screen; None: as it is."""
    if settings.size_deg is None:
        return settings.size_px
    return max(1, round(geometry.length_px(settings.size_deg)))
