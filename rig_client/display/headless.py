"""A display without a screen: keeps time and shows nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from pydantic import Field

from protocols.errors import DisplayError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Flip, Wish, always
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Cue, Images, check_images


class HeadlessDisplay:
    """Keeps the timing of a display; on a virtual clock, as fast as the rest allows."""

    class Settings(Frozen):
        """Settings of a headless display.

        Attributes:
            clock: `virtual` time passes at once; `real` time is waited for.
            dropped_frame_rate: Fraction of presentations that lose a frame, seeded by their cue.
        """

        clock: Literal["virtual", "real"] = "virtual"
        dropped_frame_rate: float = Field(default=0, ge=0, le=1)

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        self._settings = settings
        self._session = session
        self._virtual_now_s = 0.0
        self._n_staged = 0

    @property
    def clock(self) -> Literal["rig", "virtual"]:
        """`virtual`, or the rig's own (`time.perf_counter`)."""
        return "virtual" if self._settings.clock == "virtual" else "rig"

    def now_s(self) -> float:
        """Seconds on this display's clock."""
        return self._virtual_now_s if self.clock == "virtual" else time.perf_counter()

    def stage(self, images: Images) -> None:
        """Check the images; there is nowhere to upload them to."""
        check_images(images, where="images to stage")
        self._n_staged = len(images)

    def show(
        self,
        cue: Cue,
        on_s: float,
        at_onset: Callable[[float], None],
        held: Callable[[], bool] = always,
    ) -> Flip:
        """Let `on_s` pass; fixation is asked for at its end.

        Raises:
            DisplayError: If no image of that index was staged.
        """
        if cue.stimulus_index >= self._n_staged:
            raise DisplayError(
                "an image that was not staged cannot be shown",
                expected=f"index below {self._n_staged}",
                got=cue.stimulus_index,
            )
        onset_s = self.now_s()
        at_onset(onset_s)
        self._pass(onset_s + on_s)
        return Flip(onset_s, self._dropped_frames(cue), held())

    def blank(self, duration_s: float) -> None:
        """Let `duration_s` pass."""
        self._pass(self.now_s() + duration_s)

    def wish(self) -> Wish:
        """There is no keyboard."""
        return ""

    def message(self, text: str) -> None:
        """There is nobody to read it."""

    def close(self) -> None:
        """Nothing to close."""

    def _pass(self, until_s: float) -> None:
        if self.clock == "virtual":
            self._virtual_now_s = max(self._virtual_now_s, until_s)
        else:
            time.sleep(max(0.0, until_s - time.perf_counter()))

    def _dropped_frames(self, cue: Cue) -> int:
        rate = self._settings.dropped_frame_rate
        if rate == 0:
            return 0
        stream = random_stream(self._session.seed, "dropped frame", *cue.seed_path)
        return int(stream.random() < rate)
