"""How alike the images of one target are: in what textures they hold, wherever these lie.

Compared are the channels' covariances over places, which know no place (Gram matrices; Gatys, Ecker &
Bethge 2015, NIPS; for diversity Olah, Mordvintsev & Schubert 2017, Distill). In pixels, a texture that is
shifted by half a period counts as another one, and "diverse" images would be one image, moved about.

The network is always the same one, whatever is climbed.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import normalize

from encoders.backbones.robust import ROBUST
from encoders.features import FeatureExtractor, Tap

TAP = Tap(backbone="efficientnet_lite0", layer="blocks.2", input_px=80, weights=ROBUST)


def similarity(images: Tensor) -> Tensor:
    """`(n, 3, h, h)` in 0..1 → `(n,)` in -1..1: each image's mean likeness to the others; 0 if alone.

    Differentiable.
    """
    if len(images) < 2:
        return images.new_zeros(len(images))
    unit = normalize(textures(images), dim=1)
    alike = (unit[:, None] * unit[None, :]).sum(dim=2)
    return (alike.sum(dim=1) - alike.diagonal()) / (len(images) - 1)


def textures(images: Tensor) -> Tensor:
    """`(n, 3, h, h)` in 0..1 → `(n, c²)`: covariances of the channels over places."""
    network = _network(images.device.type)
    features = network(images.to(network.device)).flatten(2)
    centred = features - features.mean(dim=2, keepdim=True)
    covariances: Tensor = centred @ centred.mT / centred.shape[2]
    return covariances.flatten(1).to(images.device)


@cache
def _network(device: str) -> FeatureExtractor:
    return FeatureExtractor(TAP, device=device if torch.cuda.is_available() else "cpu")
