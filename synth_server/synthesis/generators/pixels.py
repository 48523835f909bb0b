"""Pixel space, the control without a prior: a coarse RGB grid, smoothly enlarged. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.digests import document_digest
from protocols.errors import DataError
from protocols.settings import Frozen
from protocols.vocabulary import Codes, Images, check_images

MID_GRAY = 127.5


class PixelSettings(Frozen):
    """Settings of the pixel generator."""

    size_px: int = Field(default=128, ge=8, le=2048, description="side of the square image")
    grid: int = Field(default=16, ge=2, le=512, description="side of the grid of colours")
    contrast: float = Field(
        default=0.2, gt=0, le=1, description="gray levels for one code unit, as a fraction of 255"
    )


class PixelGenerator:
    """Draws `clip(127.5 + 255 · contrast · U g Uᵀ)`: g the grid of codes, U linear interpolation.

    Codes are N(0, 1), in the order row, column, channel.
    """

    Settings = PixelSettings

    def __init__(self, settings: PixelSettings) -> None:
        self._settings = settings
        self._enlarge = interpolation_matrix(settings.grid, settings.size_px)
        self._reduce = np.linalg.pinv(self._enlarge)

    @property
    def code_dim(self) -> int:
        """Grid rows × columns × 3."""
        return self._settings.grid**2 * 3

    @property
    def image_size_px(self) -> int:
        """Side of the square image."""
        return self._settings.size_px

    @property
    def digest(self) -> str:
        """Sha256 of the name and the settings, which are all there is."""
        return document_digest({"generator": "pixels", **self._settings.model_dump(mode="json")})

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)` from N(0, 1)."""
        return random.standard_normal((n, self.code_dim), dtype=np.float32)

    def __call__(self, codes: Codes) -> Images:
        """`(n, code_dim) float32` → `(n, size, size, 3) uint8`."""
        check_codes(codes, self.code_dim)
        size = self._settings.size_px
        images = np.empty((len(codes), size, size, 3), np.uint8)
        for image, code in zip(images, codes, strict=True):
            image[:] = self._draw(code)
        return images

    def invert(self, images: Images) -> Codes:
        """`(n, size, size, 3) uint8` → `(n, code_dim) float32`: the grids nearest to the images.

        Nearest by least squares: `g = U⁺ x U⁺ᵀ`. An image that was drawn here comes out the same,
        to the rounding of its gray levels, unless it was clipped.
        """
        size = self._settings.size_px
        check_images(images, where="images to invert")
        if images.shape[1:3] != (size, size):
            raise DataError(
                "images to invert have another size than the generator's",
                expected=f"(n, {size}, {size}, 3)",
                got=images.shape,
                remedy="load them at the generator's size",
            )
        return np.stack([self._grid_of(image) for image in images])

    def _grid_of(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        planes = (image.astype(np.float64) - MID_GRAY) / (255 * self._settings.contrast)
        grid = self._reduce @ planes.transpose(2, 0, 1) @ self._reduce.T
        return np.asarray(grid.transpose(1, 2, 0).reshape(-1), np.float32)

    def _draw(self, code: NDArray[np.float32]) -> NDArray[np.uint8]:
        grid = code.astype(np.float64).reshape(self._settings.grid, self._settings.grid, 3)
        planes = self._enlarge @ grid.transpose(2, 0, 1) @ self._enlarge.T
        levels = MID_GRAY + 255 * self._settings.contrast * planes
        return np.rint(np.clip(levels, 0, 255)).astype(np.uint8).transpose(1, 2, 0)


def check_codes(codes: Codes, code_dim: int) -> None:
    """Raise `DataError` unless `codes` is a finite `(n, code_dim) float32` array."""
    expected = f"(n, {code_dim}) float32, finite"
    if codes.ndim != 2 or codes.shape[1] != code_dim or codes.dtype != np.float32:
        raise DataError(
            "codes have the wrong shape or type",
            where="generator(codes)",
            expected=expected,
            got=f"{codes.shape} {codes.dtype}",
        )
    if not np.isfinite(codes).all():
        raise DataError(
            "codes hold NaN or infinity",
            where="generator(codes)",
            expected=expected,
            got=f"{int((~np.isfinite(codes)).sum())} values that are not finite",
        )


def interpolation_matrix(n_from: int, n_to: int) -> NDArray[np.float64]:
    """`(n_to, n_from)`: linear interpolation between sample centres; every row sums to 1."""
    centres = np.clip((np.arange(n_to) + 0.5) * n_from / n_to - 0.5, 0, n_from - 1)
    distance = np.abs(centres[:, None] - np.arange(n_from)[None, :])
    return np.asarray(np.maximum(0, 1 - distance), np.float64)
