"""A pretrained network up to a named layer, frozen, with its own preprocessing."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from encoders.backbones.preprocessing import Preprocessing, pixels_of
from protocols.digests import document_digest
from protocols.errors import DataError, PluginError
from protocols.vocabulary import Images, check_images


class Backbone(nn.Module):
    """Images to features.

    Args:
        name: The network, as `load_backbone` knows it.
        layer: The last layer computed.
        network: `(n, 3, h, w)` preprocessed → `(n, c, h', w')`; holds nothing above `layer`.
        preprocessing: The network's own input convention.
        weights_digest: Sha256 (hex) of all the network's weights, above `layer` too.
        device: Where it runs.
        is_chain: `network` is a sequence, and those of the same name and weights that end earlier are
            the beginning of it; so one pass serves them all. No part changes its input.

    Raises:
        PluginError: If a chain is no sequence.
    """

    def __init__(
        self,
        *,
        name: str,
        layer: str,
        network: nn.Module,
        preprocessing: Preprocessing,
        weights_digest: str,
        device: torch.device,
        is_chain: bool = False,
    ) -> None:
        super().__init__()
        if is_chain and not isinstance(network, nn.Sequential):
            raise PluginError(
                "only a sequence can be a chain",
                where=f"{name} {layer}",
                expected="an nn.Sequential of the network's parts, or is_chain = False",
                got=type(network).__name__,
            )
        self.name = name
        self.layer = layer
        self.preprocessing = preprocessing
        self.weights_digest = weights_digest
        self.device = device
        self.is_chain = is_chain
        self.network = network.to(device).eval().requires_grad_(False)

    @property
    def digest(self) -> str:
        """Sha256 of everything that decides the features: network, layer, weights, preprocessing."""
        return document_digest(
            {
                "name": self.name,
                "layer": self.layer,
                "weights": self.weights_digest,
                "preprocessing": self.preprocessing.model_dump(mode="json"),
            }
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → `(n, c, h', w')` (`(n, c)` past a pooling).

        Differentiable in `pixels`; the weights are frozen.

        Raises:
            DataError: If `pixels` has another layout.
        """
        features: Tensor = self.network(self.prepared(pixels))
        return features

    def prepared(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → what the network is given.

        Raises:
            DataError: If `pixels` has another layout.
        """
        if pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
            raise DataError(
                "a backbone sees float pixels, channels first",
                where=f"{self.name} {self.layer}",
                expected="(n, 3, h, w) float in 0..1",
                got=f"{tuple(pixels.shape)} {pixels.dtype}",
                remedy="for uint8 images (n, h, w, 3) call features(images)",
            )
        return self.preprocessing(pixels)

    @torch.no_grad()
    def features(self, images: Images, *, batch_size: int | None = None) -> Tensor:
        """`(n, h, w, 3) uint8` sRGB → `(n, c, h', w')` float32 on `self.device`, without gradient.

        `batch_size` None chooses: small on a CPU, whose caches a large batch overflows.
        """
        size = batch_size or (64 if self.device.type == "cuda" else 8)
        check_images(images)
        return torch.cat(
            [
                self(pixels_of(images[at : at + size], self.device))
                for at in range(0, len(images), size)
            ]
        )

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode whatever its parent does: batch statistics must not move."""
        del mode
        return super().train(False)
