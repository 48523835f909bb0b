"""What stands on the screen beside the image: the photodiode's patch, a fixation spot, a message."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.errors import SettingsError
from rig_client.display.aperture import Aperture
from rig_client.display.geometry import Box, Geometry, Point, photodiode_box
from rig_client.display.psychopy_settings import PsychoPySettings

LINES_ON_SCREEN = 36
POINT_DEG = 0.3
"""Of a point to look at while an eye tracker is calibrated, if the spot is smaller."""


class Furniture:
    """Made once, drawn in every frame.

    Args:
        window: A `psychopy.visual.Window`.
        settings: Which of it there is.
        geometry: Of the window.
    """

    def __init__(self, window: Any, settings: PsychoPySettings, geometry: Geometry) -> None:
        self._window = window
        self._geometry = geometry
        self.patch: Box | None = None
        self._dark = self._lit = None
        self._spot_deg = settings.fixation_spot_deg
        if settings.photodiode != "none":
            self.patch = photodiode_box(
                settings.photodiode, settings.photodiode_px, geometry.window_px
            )
            self._dark, self._lit = (self._shape(self.patch, level) for level in (0, 255))
        self._level = settings.fixation_spot
        self.is_spot_on = bool(settings.fixation_spot_deg)
        self._spot = self._disc(settings.fixation_point_deg, settings.fixation_spot_deg)
        self._point: Any = None
        self._text = self._line(0 if settings.background > 140 else 255)

    def draw(self, *, lit: bool) -> None:
        """The patch, white if `lit`, and the spot, into the next frame."""
        patch = self._lit if lit else self._dark
        if patch is not None:
            patch.draw()
        spot = self._point or (self._spot if self.is_spot_on else None)
        if spot is not None:
            spot.draw()

    def write(self, text: str) -> None:
        """The dark patch and a message, into the next frame."""
        if self._dark is not None:
            self._dark.draw()
        self._text.setText(text, log=False)
        self._text.draw()

    @property
    def is_pointing(self) -> bool:
        """Whether a point to look at is shown: then nothing is written beside it."""
        return self._point is not None

    def point(self, point_deg: Point | None) -> None:
        """From now on a disc there, in place of the spot; None: as before."""
        size_deg = max(self._spot_deg, POINT_DEG)
        self._point = None if point_deg is None else self._disc(point_deg, size_deg)

    def is_clear(self, box: Box, aperture: Aperture | None) -> bool:
        """Whether nothing of an image in `box` shines on the photodiode."""
        radius_px = aperture.diameter_px / 2 if aperture else np.inf
        patch = self.patch
        return not (patch and patch.overlaps(box) and patch.reaches(box.centre, radius_px))

    def _disc(self, centre_deg: Point, size_deg: float) -> Any:
        """Of the spot's gray level; None if it has no size."""
        if not size_deg:
            return None
        size = max(1, round(self._geometry.length_px(size_deg)))
        box = self._geometry.box(centre_deg, (size, size))
        if not self._geometry.contains(box):
            raise SettingsError(
                "the fixation spot does not lie in the window",
                where="display options fixation_point_deg, fixation_spot_deg",
                expected=f"within {self._geometry.window_px[0]} × {self._geometry.window_px[1]} px",
                got=f"{size} px around {centre_deg[0]:g}°, {centre_deg[1]:g}°",
            )
        return self._shape(box, self._level, mask="circle")

    def _shape(self, box: Box, level: int, mask: str | None = None) -> Any:
        from psychopy import visual

        width, height = self._geometry.window_px
        x, y = box.centre
        return visual.GratingStim(
            self._window,
            tex=None,
            mask=mask,
            units="pix",
            pos=(x - width / 2, height / 2 - y),
            size=(box.width, box.height),
            colorSpace="rgb255",
            color=(level,) * 3,
            autoLog=False,
        )

    def _line(self, level: int) -> Any:
        from psychopy import visual

        width, height = self._geometry.window_px
        return visual.TextStim(
            self._window,
            text=" ",
            units="pix",
            height=max(12, height // LINES_ON_SCREEN),
            wrapWidth=0.9 * width,
            colorSpace="rgb255",
            color=(level,) * 3,
            autoLog=False,
        )
