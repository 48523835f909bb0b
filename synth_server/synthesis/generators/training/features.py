"""What the pretrained network sees, at several depths of one pass."""

from __future__ import annotations

from torch import Tensor, nn

from encoders.backbones import load_backbone
from encoders.backbones.folding import quicken
from synth_server.synthesis.generators.decoder import BACKBONE, LAYER

DEPTHS = {"blocks.0": 16, "blocks.1": 24, "blocks.2": 40, "blocks.3": 80}
"""Layer → channels; at 128 px they have 64, 32, 16 and 8 rows."""


class FeatureStack(nn.Module):
    """Images to the features of all `DEPTHS`, frozen and differentiable."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = load_backbone(BACKBONE, LAYER)
        quicken(self.backbone.network)
        chains = {name: load_backbone(BACKBONE, name).network for name in DEPTHS}
        self._ends = {len(list(chain.children())): name for name, chain in chains.items()}

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """`(n, 3, 128, 128)` RGB in 0..1 → layer → `(n, c, h, w)`."""
        found: dict[str, Tensor] = {}
        features = self.backbone.prepared(pixels)
        for length, part in enumerate(self.backbone.network.children(), start=1):
            features = part(features)
            if length in self._ends:
                found[self._ends[length]] = features
        return found
