"""What a pretrained network sees, at several depths of one pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from encoders.backbones import load_backbone
from encoders.backbones.folding import quicken

FLAT = 1e-3


class FeatureStack(nn.Module):
    """Images to the features of several layers of one network, frozen and differentiable.

    Args:
        backbone: A network whose layers are the beginnings of one another (`is_chain`).
        layers: The deepest last.
    """

    def __init__(self, backbone: str, layers: Sequence[str]) -> None:
        super().__init__()
        self.backbone = load_backbone(backbone, layers[-1])
        quicken(self.backbone.network)
        chains = {name: load_backbone(backbone, name).network for name in layers}
        self._ends = {len(list(chain.children())): name for name, chain in chains.items()}

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """`(n, 3, h, w)` RGB in 0..1 → layer → `(n, c, h', w')`."""
        found: dict[str, Tensor] = {}
        features = self.backbone.prepared(pixels)
        for length, part in enumerate(self.backbone.network.children(), start=1):
            features = part(features)
            if length in self._ends:
                found[self._ends[length]] = features
        return found

    @torch.no_grad()
    def spread(self, pixels: Tensor) -> dict[str, Tensor]:
        """Layer → each channel's standard deviation over `pixels`, `(1, c, 1, 1)`, never 0."""
        features = self(pixels)
        return {name: each.std((0, 2, 3), keepdim=True) + FLAT for name, each in features.items()}
