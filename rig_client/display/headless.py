"""A display without a screen: keeps time in frames and shows nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field

from protocols.digests import image_id
from protocols.errors import DisplayError
from protocols.interfaces import SessionInfo
from protocols.rig_description import DisplayDescription, Edges
from protocols.rig_interfaces import Flip, Wish, always
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Cue, Images, Placement, check_images
from rig_client.display.frames import nearest_frames
from rig_client.display.keyboard import Keys, Wishes
from rig_client.display.placing import check_place, places_of, stimulus_id
from rig_client.display.psychopy_settings import Degrees
from rig_client.display.terminal_keys import TerminalKeys


class HeadlessSettings(Frozen):
    """Settings of a headless display.

    Attributes:
        clock: `virtual` time passes at once; `real` time is waited for.
        refresh_hz: Frames a second; durations are rounded to whole frames, as on a screen.
        size_deg: Longer side of images that have no place of their own.
        position_deg: Their centre, right and up from straight ahead.
        fixation_point_deg: Where the subject is to look.
        bounds_deg: Left, bottom, right and top edge of the screen that is stood in for; images
            beyond them are refused. Not given: a screen without end.
        patch_deg: The same of its photodiode's patch.
        dropped_frame_rate: Fraction of presentations that lose a frame, seeded by their cue.
    """

    clock: Literal["virtual", "real"] = "virtual"
    refresh_hz: float = Field(default=60, ge=1, le=10_000)
    size_deg: float = Field(default=4, gt=0, le=120)
    position_deg: tuple[Degrees, Degrees] = (0, 0)
    fixation_point_deg: tuple[Degrees, Degrees] = (0, 0)
    bounds_deg: Edges | None = None
    patch_deg: Edges | None = None
    dropped_frame_rate: float = Field(default=0, ge=0, le=1)


class HeadlessDisplay:
    """Keeps the timing of a display; on a virtual clock, as fast as the rest allows.

    Attributes:
        is_simulated: Nobody sees anything.
        spot_is_visible: What `spot` last said.
        point_deg: What `point` last said.
    """

    Settings = HeadlessSettings
    is_simulated = True

    def __init__(self, settings: HeadlessSettings, session: SessionInfo) -> None:
        self._settings = settings
        self._session = session
        self._virtual_frames = 0
        self._passed_s = 0.0
        self._staged: list[str] = []
        self._keys = TerminalKeys()
        self._wishes = Wishes(Keys())
        self._is_resting = self._is_just_gone = False
        self.spot_is_visible = True
        self.point_deg: tuple[float, float] | None = None

    @property
    def clock(self) -> Literal["rig", "virtual"]:
        """`virtual`, or the rig's own (`time.perf_counter`)."""
        return "virtual" if self._settings.clock == "virtual" else "rig"

    def now_s(self) -> float:
        """Seconds on this display's clock; virtual time stands at whole frames."""
        if self.clock == "virtual":
            return self._virtual_frames / self._settings.refresh_hz
        return time.perf_counter()

    def describe(self) -> DisplayDescription:
        """A screen without pixels; its refresh rate is the configured one."""
        settings = self._settings
        x_deg, y_deg = settings.position_deg
        return DisplayDescription(
            name="headless",
            size_px=(0, 0),
            place=Placement(x_deg=x_deg, y_deg=y_deg, size_deg=settings.size_deg),
            fixation_point_deg=settings.fixation_point_deg,
            refresh_hz=settings.refresh_hz,
            bounds_deg=settings.bounds_deg,
            patch_deg=settings.patch_deg,
        )

    def stage(self, images: Images, places: Sequence[Placement | None] = ()) -> None:
        """Check images and places; there is nowhere to upload them to.

        Raises:
            SettingsError: If one lies off the screen, or on the photodiode's patch.
        """
        check_images(images, where="images to stage")
        described = self.describe()
        staged = []
        for index, (image, place) in enumerate(zip(images, places_of(images, places), strict=True)):
            name = stimulus_id(image_id(image), place)
            check_place(described, place or described.place, index, name)
            staged.append(name)
        self._staged = staged

    def show(
        self,
        cue: Cue,
        on_s: float,
        at_onset: Callable[[float], None],
        held: Callable[[], bool] = always,
    ) -> Flip:
        """Let the whole number of frames nearest to `on_s` pass, at least one; each asks `held` first.

        Raises:
            DisplayError: If it is not the image that was staged.
        """
        index = cue.stimulus_index
        if index >= len(self._staged) or self._staged[index] != cue.stimulus_id:
            raise DisplayError(
                "an image that was not staged cannot be shown",
                where=f"block {cue.block_index}, stimulus {index}",
                expected=cue.stimulus_id,
                got=self._staged[index] if index < len(self._staged) else "nothing staged there",
            )
        if self._is_just_gone:
            self._pass(1)
        onset_s = self._passed_s = self.now_s()
        at_onset(onset_s)
        n_frames = max(1, nearest_frames(on_s, self._settings.refresh_hz))
        kept = True
        for _ in range(n_frames):
            kept = held()
            self._pass(1)
            if not kept:
                break
        self._is_just_gone = True
        return Flip(onset_s, self._dropped_frames(cue), kept, self.now_s() - onset_s)

    def blank(self, duration_s: float, held: Callable[[], bool] = always) -> bool:
        """Let the nearest whole number of frames pass; `held` is asked at the end of each.

        What takes an image away is a frame of gray, in which `held` is asked too; it passes before
        the next image at the latest.
        """
        n_frames = nearest_frames(duration_s, self._settings.refresh_hz)
        if n_frames <= 0:
            return held()
        was_just_gone, self._is_just_gone = self._is_just_gone, False
        if held is always:
            self._pass(n_frames)
            return True
        if was_just_gone and not held():
            return False
        for _ in range(n_frames):
            self._pass(1)
            if not held():
                return False
        return True

    def spot(self, visible: bool) -> None:
        """There is no screen to have a spot."""
        self.spot_is_visible = visible

    def point(self, point_deg: tuple[float, float] | None) -> None:
        """Where a point to look at would be, while an eye tracker is calibrated; None: none."""
        self.point_deg = point_deg

    def wish(self) -> Wish:
        """The next thing that was asked for in the terminal, if the rig was started from one."""
        return self._wishes.read(self._keys.pressed(), resting=self._is_resting)

    @property
    def keys_help(self) -> str:
        """Which keys there are within a pause."""
        return self._wishes.keys.help()

    def interrupted(self) -> bool:
        """Whether what goes on within a pause is to end."""
        return self._wishes.interrupted(self._keys.pressed())

    def message(self, text: str) -> None:
        """The terminal shows it already."""
        self._is_resting = bool(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._keys.close()

    def _pass(self, n_frames: int) -> None:
        """So many frames; those that follow each other at once are as long as they should be."""
        if self.clock == "virtual":
            self._virtual_frames += n_frames
            return
        frame_s, now_s = 1 / self._settings.refresh_hz, time.perf_counter()
        if now_s - self._passed_s > frame_s / 2:
            self._passed_s = now_s
        self._passed_s += n_frames * frame_s
        time.sleep(max(0.0, self._passed_s - now_s))

    def _dropped_frames(self, cue: Cue) -> int:
        rate = self._settings.dropped_frame_rate
        if rate == 0:
            return 0
        stream = random_stream(self._session.seed, "dropped frame", *cue.seed_path)
        return int(stream.random() < rate)
