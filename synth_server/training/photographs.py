"""Photographs to train on: many small ones, enlarged, and fewer sharp ones, cropped anew each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from encoders.backbones import pixels_of
from protocols.vocabulary import Images
from synth_server.synthesis.generators.decoder import IMAGE_SIZE_PX
from synth_server.synthesis.photographs import load_photographs

SHARP_SIZE_PX = 256
LEAST_CROP_PX = 96
"""Side of the smallest crop of a sharp photograph."""
HELD_OUT_EVERY = 10
"""Every tenth sharp photograph, and every twentieth small one, is never trained on."""


class Photographs:
    """Batches of `(n, 3, 128, 128)` RGB in 0..1.

    Args:
        sharp: `(n, 256, 256, 3) uint8`.
        small: `(n, 64, 64, 3) uint8`.
    """

    def __init__(self, sharp: Images, small: Images) -> None:
        self._sharp, self._small = sharp, small

    @classmethod
    def load(cls, folder: Path, *, held_out: bool) -> Photographs:
        """Those of `folder` that are trained on, or those that are not."""
        sharp = load_photographs(folder / "imagenet_1000_256px.zip", None, SHARP_SIZE_PX).images
        small = load_photographs(folder / "tiny_imagenet_train40k.zip", None, 64).images
        return cls(
            *(_part(images, every, held_out) for images, every in ((sharp, 10), (small, 20)))
        )

    def batch(self, n_sharp: int, n_small: int, random: np.random.Generator) -> Tensor:
        """Random crops of sharp photographs first, then small ones enlarged; each mirrored or not."""
        crops = [self._crop(random) for _ in range(n_sharp)]
        chosen = random.integers(len(self._small), size=n_small)
        enlarged = functional.interpolate(
            pixels_of(self._small[chosen], torch.device("cpu")),
            IMAGE_SIZE_PX,
            mode="bicubic",
            align_corners=False,
        )
        images = torch.cat([*crops, enlarged.clamp(0, 1)])
        mirrored = torch.from_numpy(random.random(len(images)) < 0.5)
        return torch.where(mirrored[:, None, None, None], images.flip(3), images)

    def _crop(self, random: np.random.Generator) -> Tensor:
        photograph = self._sharp[random.integers(len(self._sharp))]
        side = int(random.integers(LEAST_CROP_PX, SHARP_SIZE_PX + 1))
        top, left = random.integers(SHARP_SIZE_PX - side + 1, size=2)
        crop = np.ascontiguousarray(photograph[None, top : top + side, left : left + side])
        return functional.interpolate(
            pixels_of(crop, torch.device("cpu")),
            IMAGE_SIZE_PX,
            mode="bilinear",
            align_corners=False,
            antialias=True,
        )


def _part(images: Images, every: int, held_out: bool) -> Images:
    is_held_out = np.arange(len(images)) % every == every - 1
    return np.asarray(images[is_held_out == held_out])
