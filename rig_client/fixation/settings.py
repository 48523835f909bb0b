"""Settings of the fixation window, and of the calibration at the rig."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from protocols.settings import Frozen


class FixationWindowSettings(Frozen):
    """A disc in the visual field, and times.

    Attributes:
        radius_deg: Of the window.
        centre_deg: Its centre, right and above of straight ahead; not given: the display's
            `fixation_point_deg`, where the spot is.
        acquire_s: How long the subject has to bring its gaze there and keep it for `hold_ms`.
        hold_ms: How long gaze must stay before the first image.
        blink_ms: How long the tracker may lose the eye without breaking fixation.
        silent_ms: A tracker without a new sample for so long has lost the eye.
        give_up_s: A tracker without a new sample for so long, while fixation is waited for, stops
            the rig with an error.
        gaze_hz: Samples of gaze that are kept in a second; a slower tracker's are all kept.
        calibration_points: 5 or 9.
        calibration_reach_deg: How far the outermost lie from the fixation point, across and up.
        calibration_hold_ms: A point is accepted once gaze has been steady for so long.
        calibration_spread_deg: Gaze is steady while its samples lie within so much of their mean.
        calibration_patience_s: How long a point is shown; then the calibration ends without effect.
        calibration_error_deg: A fit that leaves more than this (root mean square) is not used.
        folder: For what is kept of each session: the correction of gaze, an EyeLink's EDF.
    """

    radius_deg: float = Field(default=1.5, gt=0, le=60)
    centre_deg: tuple[float, float] | None = None
    acquire_s: float = Field(default=3, gt=0, le=600)
    hold_ms: float = Field(default=200, ge=0, le=60_000)
    blink_ms: float = Field(default=0, ge=0, le=1000)
    silent_ms: float = Field(default=100, gt=0, le=10_000)
    give_up_s: float = Field(default=2, gt=0, le=3600)
    gaze_hz: float = Field(default=250, gt=0, le=2000)
    calibration_points: Literal[5, 9] = 9
    calibration_reach_deg: tuple[float, float] = (8, 5)
    calibration_hold_ms: float = Field(default=300, ge=10, le=10_000)
    calibration_spread_deg: float = Field(default=0.7, gt=0, le=20)
    calibration_patience_s: float = Field(default=20, gt=0, le=600)
    calibration_error_deg: float = Field(default=1, gt=0, le=20)
    folder: Path = Path("eye-tracker")
