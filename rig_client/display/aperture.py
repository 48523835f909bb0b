"""An image as it goes to the screen: scaled, and seen through a round aperture with a soft edge.

All of it happens here, on the processor and before the block begins: what the screen gets is known
to the last bit, and does not depend on the graphics card.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class Aperture(NamedTuple):
    """A disc around the image's centre.

    Attributes:
        diameter_px: Beyond it there is background only.
        edge_px: Width of the edge, within the diameter, over which the image fades to background.
    """

    diameter_px: float
    edge_px: float

    def opacity(self, size_px: tuple[int, int]) -> NDArray[np.float32]:
        """`(height, width)` in 0..1 for an image of `size_px` (width, height): 1 is the image alone.

        Falls by half a cosine over the edge.
        """
        width, height = size_px
        y, x = np.ogrid[:height, :width]
        distance = np.hypot(x - (width - 1) / 2, y - (height - 1) / 2)
        inside = self.diameter_px / 2 - distance
        if self.edge_px == 0:
            return (inside >= 0).astype(np.float32)
        phase = np.clip(inside / self.edge_px, 0, 1)
        return ((1 - np.cos(np.pi * phase)) / 2).astype(np.float32)


class Preparation:
    """Makes images ready for the screen; keeps the aperture for each size.

    Args:
        long_side_px: Length of the image's longer side on the screen, where `aperture` has its size:
            for an image that is shown smaller or larger, the aperture is so as well.
        aperture: None shows the whole image.
        background: Gray level around it, 0 to 255.
    """

    def __init__(self, long_side_px: int, aperture: Aperture | None, background: int) -> None:
        self._long_side_px = long_side_px
        self._aperture = aperture
        self._background = background
        self._opacities: dict[tuple[int, int], NDArray[np.float32]] = {}

    def size_px(self, shape: tuple[int, ...], long_side_px: int | None = None) -> tuple[int, int]:
        """(width, height) on the screen of images `(height, width, 3)`, by their longer side there."""
        height, width = shape[:2]
        scale = (long_side_px or self._long_side_px) / max(width, height)
        return max(1, round(width * scale)), max(1, round(height * scale))

    def aperture(self, size_px: tuple[int, int]) -> Aperture | None:
        """The aperture of an image that is so large on the screen (width, height)."""
        if self._aperture is None:
            return None
        scale = max(size_px) / self._long_side_px
        return Aperture(self._aperture.diameter_px * scale, self._aperture.edge_px * scale)

    def __call__(
        self, image: NDArray[np.uint8], size_px: tuple[int, int] | None = None
    ) -> NDArray[np.uint8]:
        """`(height, width, 3) uint8` as it is to appear: bicubic where scaled, exact where not."""
        size = size_px or self.size_px(image.shape)
        shown = image
        if size != (image.shape[1], image.shape[0]):
            resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
            shown = np.asarray(resized)
        aperture = self.aperture(size)
        return shown if aperture is None else self._through(aperture, shown, size)

    def _through(
        self, aperture: Aperture, image: NDArray[np.uint8], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        if size not in self._opacities:
            self._opacities[size] = aperture.opacity(size)[:, :, None]
        opacity = self._opacities[size]
        shown = self._background + opacity * (image.astype(np.float32) - self._background)
        rounded: NDArray[np.uint8] = np.rint(shown).astype(np.uint8)
        return rounded
