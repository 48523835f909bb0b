"""What encoders have in common that see through one layer of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from encoders.features import FeatureExtractor, Tap


class TappedModel(nn.Module):
    """Predicts from the features that one tap gives.

    Args:
        extractor: The network, up to the layer.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__()
        self.extractor = extractor
        self._site_ids: tuple[str, ...] = ()

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Names of what is predicted, in the order of the columns."""
        return self._site_ids

    @property
    def tap(self) -> Tap:
        """Where it takes its features."""
        return self.extractor.tap

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.extractor.device

    def rates(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → `(n, n_sites)`, differentiable in `pixels`."""
        return self.rates_from_features(self.extractor(pixels))

    def rates_from_features(self, features: Tensor) -> Tensor:
        """`(n, c, h', w')`, as the tap gives them → `(n, n_sites)`."""
        raise NotImplementedError
