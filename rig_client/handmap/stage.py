"""The stimulus on the rig's window, frame by frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Placement
from rig_client.display.geometry import Geometry
from rig_client.display.psychopy_window import PsychoPyDisplay
from rig_client.display.textures import TexturePool
from rig_client.handmap.picture import Look, look_at, picture
from rig_client.handmap.state import Stimulus

Pixels = NDArray[np.uint8]
MAX_MB = 1024
LARGEST_SEEN_PX = 1024


class Stage:
    """Draws what is in the hand; pictures stay on the graphics card until its looks change.

    Args:
        display: The rig's window.
        background: Its gray level.
        photographs: To choose from.
    """

    def __init__(
        self, display: PsychoPyDisplay, background: int, photographs: list[Pixels]
    ) -> None:
        self._display, self._background, self._photographs = display, background, photographs
        self._pool = TexturePool(display.window, MAX_MB)
        self._looks: Stimulus | None = None
        self._loaded: dict[str, tuple[int, int]] = {}

    def frame(
        self, stimulus: Stimulus, time_s: float, look: Callable[[Pixels], object] | None = None
    ) -> None:
        """One frame.

        Args:
            stimulus: What is in the hand.
            time_s: On the display's clock, for its flicker.
            look: Is given what is on the screen.
        """

        def draw() -> None:
            if stimulus.is_shown:
                self._draw(stimulus, look_at(stimulus, time_s))

        self._display.draw_frame(draw, lit=stimulus.is_shown, look=look)

    def _draw(self, stimulus: Stimulus, look: Look) -> None:
        geometry = self._display.geometry
        looks = stimulus._replace(x_deg=0.0, y_deg=0.0)
        if looks != self._looks:
            self._looks, self._loaded = looks, {}
        name = f"{looks} {look}"
        slot = self._pool.slots([*self._loaded, name])[-1]
        if name not in self._loaded:
            image = picture(stimulus, look, geometry, self._background, self._photographs)
            size = image.shape[1], image.shape[0]
            self._pool.load(slot, name, image, geometry.box((0.0, 0.0), size))
            self._display.window.clearBuffer()
            self._loaded[name] = size
        centre = stimulus.x_deg, stimulus.y_deg
        self._pool.draw(slot, geometry.box(centre, self._loaded[name]))


def seen_by_degrees(
    pixels: Pixels, geometry: Geometry, background: int
) -> tuple[NDArray[np.uint8], Placement]:
    """What a window shows, as a square around the screen's centre with as many degrees in each pixel.

    A flat screen has more pixels in a degree the farther from its centre; here they are as many
    everywhere. Beyond the window is background.

    Args:
        pixels: `(height, width, 3)` of the window.
        geometry: Of the window.
        background: Gray level.

    Returns:
        `(n, n, 3) uint8`, and its place.
    """
    width, height = geometry.window_px
    right, top = geometry.point_deg((width, 0))
    half, n = max(right, top), min(max(width, height), LARGEST_SEEN_PX)
    middles = (np.arange(n) + 0.5) / n * 2 * half - half
    per_tangent = geometry.distance_cm * geometry.px_per_cm
    from_centre = np.tan(np.radians(middles)) * per_tangent
    columns = np.floor(width / 2 + from_centre).astype(int)
    rows = np.floor(height / 2 + from_centre).astype(int)
    out = np.full((n, n, 3), background, np.uint8)
    is_column, is_row = (columns >= 0) & (columns < width), (rows >= 0) & (rows < height)
    out[np.ix_(is_row, is_column)] = pixels[np.ix_(rows[is_row], columns[is_column])]
    return out, Placement(x_deg=0.0, y_deg=0.0, size_deg=2 * half)
