"""Settings of the PsychoPy display; `docs/reference/settings.md` lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocols.settings import Frozen
from rig_client.display.keyboard import Keys

Degrees = Annotated[float, Field(ge=-80, le=80)]
Pixels = Annotated[int, Field(ge=16, le=16_384)]
Corner = Literal["none", "top_left", "top_right", "bottom_left", "bottom_right"]


class PsychoPySettings(Frozen):
    """A window on a screen whose geometry is known; see docs/how-to/calibrate-the-display.md.

    Attributes:
        screen: Which screen, from 0.
        full_screen: Fill it; else a window of `window_px`.
        window_px: Width and height of a window that is not full screen.
        refresh_hz: Frames a second; durations are rounded to whole frames.
        check_refresh: Measure it at the start, refuse another, and count late frames. False for
            screens that have no frames of their own.
        paced: Without `check_refresh`: frames are waited for by the clock; else as fast as they can
            be drawn.
        virtual_screen: Where there is no screen, make one in memory (Xvfb).
        width_cm: Width of the screen's picture.
        distance_cm: From the eye to the screen.
        gamma: Exponent of the screen, undone by the graphics card.
        gamma_table: Text file of 256 or more rows, red, green and blue in 0..1, for that.
        background: Gray level around the images.
        size_deg: Longer side of images that have no place of their own; 4 if neither this nor
            `size_px` is given.
        size_px: The same, in pixels of the screen.
        position_deg: Their centre, right and up from straight ahead.
        aperture_deg: Diameter of a round aperture for an image of that size, larger or smaller as the
            image is; not given: the whole image is shown.
        aperture_edge_deg: Over which it fades, within the diameter.
        photodiode: Corner with a patch that is white while an image is on, else black.
        photodiode_px: Its side.
        fixation_point_deg: Where the subject is to look, right and up from straight ahead: the
            spot's place, and that of the fixation window.
        fixation_spot_deg: Diameter of the spot; 0: none.
        fixation_spot: Its gray level.
        pause_key: Pauses after the trial.
        resume_key: Pauses too, and goes on after a pause.
        quit_key: Quits, within a pause.
        free_reward_key: Gives a reward.
        longer_pulse_key: Makes rewards 10 ms longer; `plus` is also the shifted `equal`.
        shorter_pulse_key: Makes them 10 ms shorter.
        centre_gaze_key: What is looked at is the fixation point.
        undo_centre_key: Takes the last correction of gaze back.
        calibrate_key: Calibrates the eye tracker, within a pause.
        max_texture_mb: Of images on the graphics card; a block that needs more is refused.
    """

    screen: int = Field(default=0, ge=0, le=15)
    full_screen: bool = True
    window_px: tuple[Pixels, Pixels] = (800, 600)
    refresh_hz: float = Field(default=60, ge=10, le=1000)
    check_refresh: bool = True
    paced: bool = True
    virtual_screen: bool = False
    width_cm: float = Field(default=52, ge=1, le=1000)
    distance_cm: float = Field(default=57, ge=1, le=1000)
    gamma: float | None = Field(default=None, ge=0.2, le=5)
    gamma_table: Path | None = None
    background: int = Field(default=128, ge=0, le=255)
    size_deg: float | None = Field(default=None, gt=0, le=120)
    size_px: int | None = Field(default=None, ge=1, le=8192)
    position_deg: tuple[Degrees, Degrees] = (0, 0)
    aperture_deg: float | None = Field(default=None, gt=0, le=120)
    aperture_edge_deg: float = Field(default=0, ge=0, le=60)
    photodiode: Corner = "none"
    photodiode_px: int = Field(default=60, ge=1, le=1000)
    fixation_point_deg: tuple[Degrees, Degrees] = (0, 0)
    fixation_spot_deg: float = Field(default=0, ge=0, le=10)
    fixation_spot: int = Field(default=255, ge=0, le=255)
    pause_key: str = Field(default="escape", min_length=1, max_length=32)
    resume_key: str = Field(default="p", min_length=1, max_length=32)
    quit_key: str = Field(default="q", min_length=1, max_length=32)
    free_reward_key: str = Field(default="r", min_length=1, max_length=32)
    longer_pulse_key: str = Field(default="plus", min_length=1, max_length=32)
    shorter_pulse_key: str = Field(default="minus", min_length=1, max_length=32)
    centre_gaze_key: str = Field(default="c", min_length=1, max_length=32)
    undo_centre_key: str = Field(default="u", min_length=1, max_length=32)
    calibrate_key: str = Field(default="k", min_length=1, max_length=32)
    max_texture_mb: int = Field(default=2048, ge=1, le=262_144)

    @model_validator(mode="after")
    def _choices_fit(self) -> Self:
        if self.size_deg is not None and self.size_px is not None:
            raise ValueError("give size_deg or size_px, not both")
        if self.gamma is not None and self.gamma_table is not None:
            raise ValueError("give gamma or gamma_table, not both")
        if self.aperture_deg is not None and self.aperture_edge_deg > self.aperture_deg / 2:
            raise ValueError("aperture_edge_deg must not be more than half of aperture_deg")
        if conflict := Keys.of(self).conflict():
            raise ValueError(f"keys must differ: {conflict}")
        return self
