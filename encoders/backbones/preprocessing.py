"""From sRGB pixels to what a network was trained on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from protocols.errors import DataError
from protocols.settings import Frozen
from protocols.vocabulary import Images, check_images

Channels = tuple[float, float, float]


class Preprocessing(Frozen):
    """A network's own input convention: `(x - mean) / std` for x in 0..1, after an optional resize."""

    mean: Channels
    std: Channels
    input_px: int | None = None

    def __call__(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → network input of the same layout; differentiable."""
        if self.input_px is not None:
            pixels = resized(pixels, self.input_px)
        mean, std = (
            torch.tensor(values, dtype=pixels.dtype, device=pixels.device).view(1, 3, 1, 1)
            for values in (self.mean, self.std)
        )
        return (pixels - mean) / std


def pixels_of(images: Images, device: torch.device) -> Tensor:
    """`(n, h, w, 3) uint8` sRGB → `(n, 3, h, w)` float32 RGB in 0..1 on `device`.

    Raises:
        DataError: If `images` has another shape or type.
    """
    check_images(images)
    return torch.tensor(images).to(device).permute(0, 3, 1, 2).to(torch.float32).div(255)


def resized(pixels: Tensor, size_px: int) -> Tensor:
    """`(n, 3, h, h)` → `(n, 3, size_px, size_px)`, bilinear and antialiased; differentiable.

    Raises:
        DataError: If the images are not square, which a resize would distort.
    """
    height, width = pixels.shape[-2:]
    if height != width:
        raise DataError(
            "only square images can be resized to a network's input",
            expected="height = width",
            got=f"{height} x {width} px",
            remedy="crop them, or leave input_px unset",
        )
    if height == size_px:
        return pixels
    return functional.interpolate(
        pixels, (size_px, size_px), mode="bilinear", align_corners=False, antialias=True
    )
