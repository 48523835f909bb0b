"""What stands on the screen beside the image: the photodiode's patch, a fixation spot, a message."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.errors import SettingsError
from rig_client.display.aperture import Aperture
from rig_client.display.geometry import Box, Geometry, photodiode_box
from rig_client.display.psychopy_settings import PsychoPySettings

LINES_ON_SCREEN = 36


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
        self._dark = self._lit = self._spot = None
        if settings.photodiode != "none":
            self.patch = photodiode_box(
                settings.photodiode, settings.photodiode_px, geometry.window_px
            )
            self._dark, self._lit = (self._shape(self.patch, level) for level in (0, 255))
        if settings.fixation_spot_deg:
            size = max(1, round(geometry.length_px(settings.fixation_spot_deg)))
            box = geometry.box((0, 0), (size, size))
            self._spot = self._shape(box, settings.fixation_spot, mask="circle")
        self._text = self._line(0 if settings.background > 140 else 255)

    def draw(self, *, lit: bool) -> None:
        """The patch, white if `lit`, and the spot, into the next frame."""
        patch = self._lit if lit else self._dark
        if patch is not None:
            patch.draw()
        if self._spot is not None:
            self._spot.draw()

    def write(self, text: str) -> None:
        """The dark patch and a message, into the next frame."""
        if self._dark is not None:
            self._dark.draw()
        self._text.setText(text, log=False)
        self._text.draw()

    def check_clear(self, box: Box, aperture: Aperture | None) -> None:
        """Nothing of an image in `box` may shine on the photodiode.

        Raises:
            SettingsError: If something does.
        """
        radius_px = aperture.diameter_px / 2 if aperture else np.inf
        patch = self.patch
        if patch and patch.overlaps(box) and patch.reaches(box.centre, radius_px):
            raise SettingsError(
                "the image touches the photodiode's patch",
                where="display options photodiode, photodiode_px",
                expected=f"nothing of the image within {patch}",
                got=f"image within {box}",
                remedy="choose another corner, a smaller patch, or another place for the image",
            )

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
