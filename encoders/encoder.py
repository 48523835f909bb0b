"""The two-stage encoder: images, features, readout, spikes/s."""

from __future__ import annotations

from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from encoders.features import FeatureExtractor, FeatureStore
from encoders.tapped import TappedModel
from encoders.two_stage import Readout
from protocols.vocabulary import Images, Rates, check_images

FLAT = 1e-6
"""A channel or response that varies less than this is left unscaled."""


@runtime_checkable
class DifferentiableEncoder(Protocol):
    """An `Encoder` through which images can be improved by gradient ascent."""

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Names of the predicted sites, in the order of the columns."""
        ...

    @property
    def device(self) -> torch.device:
        """Where `rates` wants its pixels."""
        ...

    def rates(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → `(n, n_sites)` spikes/s, differentiable in `pixels`."""
        ...

    def predict(self, images: Images, store: FeatureStore | None = None) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` spikes/s; features in `store` are not computed again."""
        ...


class Scaling(NamedTuple):
    """An affine map of a tensor's last axis, or of its channels: `offset`, `scale` `(k,)`."""

    offset: Tensor
    scale: Tensor

    @classmethod
    def of_channels(cls, features: Tensor) -> Self:
        """Mean and standard deviation of each channel over images and places."""
        deviation, mean = torch.std_mean(features, dim=(0, 2, 3), correction=0)
        return cls(mean, torch.where(deviation > FLAT, deviation, 1.0))

    def standardised(self, features: Tensor) -> Tensor:
        """Features `(n, c, h, w)` as z-scores."""
        offset, scale = (each[None, :, None, None] for each in self)
        return (features - offset) / scale

    def restored(self, z: Tensor) -> Tensor:
        """z-scores `(n, n_sites)` in the units of the recording."""
        return self.offset + self.scale * z

    def to(self, device: torch.device) -> Self:
        """The same map on `device`, in memory of torch's own, as a `Readout`'s weights."""
        return type(self)(*(each.to(device, copy=True) for each in self))


class TwoStageEncoder(TappedModel):
    """Predicts the rates of all sites from one tap; frozen.

    The readout is linear, so a prediction may fall below 0 for images that drive a site little.

    Args:
        extractor: The network.
        channels: Mean and standard deviation of the features in the training images.
        readout: From standardised features to standardised responses.
        responses: Mean and standard deviation of each site's responses in the training images.
        site_ids: A name for each site.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        channels: Scaling,
        readout: Readout,
        responses: Scaling,
        site_ids: tuple[str, ...],
    ) -> None:
        super().__init__(extractor)
        self.channels = channels.to(extractor.device)
        self.readout = readout.to(extractor.device)
        self.responses = responses.to(extractor.device)
        self._site_ids = site_ids

    def rates_from_features(self, features: Tensor) -> Tensor:
        """`(n, c, h', w')`, as the tap gives them → `(n, n_sites)` spikes/s."""
        return self.responses.restored(self.readout(self.channels.standardised(features)))

    @torch.no_grad()
    def predict(self, images: Images, store: FeatureStore | None = None) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` spikes/s; features in `store` are not computed again.

        Raises:
            DataError: If the images are of another type, or of another shape than the fit's.
        """
        check_images(images)
        features = (
            self.extractor.features(images)
            if store is None
            else store.features(self.extractor.tap, images)
        )
        rates = self.rates_from_features(features.to(self.device))
        return rates.cpu().numpy().astype(np.float64)
