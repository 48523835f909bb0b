"""Images of a session, which may differ in size, as one array."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocols.interfaces import PhotographSet


def of_one_size(images: Mapping[str, NDArray[np.uint8]]) -> PhotographSet:
    """Named images `(height, width, 3) uint8`; all brought to the size that most of them have."""
    shapes = [pixels.shape[:2] for pixels in images.values()]
    height, width = max(set(shapes), key=lambda shape: (shapes.count(shape), shape))
    sized = [
        pixels
        if pixels.shape[:2] == (height, width)
        else np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
        for pixels in images.values()
    ]
    return PhotographSet(np.stack(sized), tuple(images))
