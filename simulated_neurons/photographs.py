"""Natural images to calibrate on, without a download: the photographs inside scikit-image's wheel."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocols.errors import InstallationError
from protocols.vocabulary import Images

PHOTOGRAPHS = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "moon.png",
    "motorcycle_left.png",
    "rocket.jpg",
)


def natural_patches(size_px: int) -> Images:
    """Square patches `(n, size_px, size_px, 3) uint8`: of each photograph the whole and four parts.

    Raises:
        InstallationError: If scikit-image is missing.
    """
    folder = _folder()
    patches: list[NDArray[np.uint8]] = []
    for name in PHOTOGRAPHS:
        with Image.open(folder / name) as file:
            photograph = file.convert("RGB")
        for box in _boxes(*photograph.size):
            patch = photograph.resize((size_px, size_px), Image.Resampling.BILINEAR, box=box)
            patches.append(np.asarray(patch))
    return np.stack(patches)


def _boxes(width: int, height: int) -> list[tuple[float, float, float, float]]:
    """Left, top, right, bottom: the largest centred square, and its quarters."""
    side = min(width, height)
    left, top, half = (width - side) / 2, (height - side) / 2, side / 2
    corners = [(left + x, top + y) for y in (0.0, half) for x in (0.0, half)]
    return [
        (left, top, left + side, top + side),
        *((x, y, x + half, y + half) for x, y in corners),
    ]


def _folder() -> Path:
    spec = importlib.util.find_spec("skimage")
    for place in [] if spec is None else list(spec.submodule_search_locations or []):
        folder = Path(place) / "data"
        if all((folder / name).is_file() for name in PHOTOGRAPHS):
            return folder
    raise InstallationError(
        "the photographs to calibrate simulated neurons on are not installed",
        expected="scikit-image, whose wheel carries them",
        remedy="pip install 'stimloop[server]'",
    )
