"""How large a degree is: a bar of known pixels is shown, and somebody holds a ruler to it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from protocols.errors import DataError
from protocols.vocabulary import Images
from rig_client.display.geometry import Geometry

BAR = 0.5
"""The bar's part of the window's width."""
LARGEST_ERROR = 0.1
"""Between what was measured and what the settings say, beyond which they are called wrong."""


class Ruler(NamedTuple):
    """An image with a bar, and how long the bar is."""

    image: Images
    """`(1, height, width, 3) uint8`."""
    length_px: int


def ruler(window_px: tuple[int, int], background: int = 128) -> Ruler:
    """A horizontal bar with end marks, and ticks at every tenth of it."""
    width, height = window_px
    length = 2 * round(BAR * width / 2)
    picture = np.full((1, height // 4, length, 3), background, np.uint8)
    middle = picture.shape[1] // 2
    picture[0, middle - 2 : middle + 2] = 255
    for tenth in range(11):
        x = min(round(tenth * length / 10), length - 1)
        reach = picture.shape[1] // (2 if tenth in (0, 10) else 6)
        picture[0, middle - reach : middle + reach, max(0, x - 1) : x + 1] = 255
    return Ruler(picture, length)


def screen_width_cm(bar_px: int, measured_cm: float, screen_px: int) -> float:
    """Width of a screen `screen_px` wide, on which a bar of `bar_px` measures `measured_cm`.

    Raises:
        DataError: If no screen is like that.
    """
    if not 0.1 <= measured_cm <= 1000:
        raise DataError(
            "the bar's length is not believable",
            where="--measured-cm",
            expected="0.1 to 1000 cm",
            got=measured_cm,
            remedy="measure the bar on the screen from end mark to end mark, in centimetres",
        )
    return measured_cm * screen_px / bar_px


def size_table(geometry: Geometry) -> list[tuple[float, float, float]]:
    """For some angles: degrees, pixels, centimetres, around the centre of the screen."""
    return [
        (angle, geometry.length_px(angle), geometry.length_px(angle) / geometry.px_per_cm)
        for angle in (0.5, 1.0, 2.0, 4.0, 8.0)
    ]
