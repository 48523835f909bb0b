"""Units of a network as an encoder: to see what a channel, a neuron or a class looks for.

Wherever an encoder's file is accepted, `units:NETWORK[:WEIGHTS]/LAYER[@SIZE]` is, too, such as
`units:efficientnet_lite0/blocks.3@112` or `units:efficientnet_lite0:robust/blocks.3@112`. Its sites are

- of a layer with places: `channel-0` … (a channel's mean over all places) and `neuron-0` … (the same
  channel at the middle place): feature visualisation's two usual objectives (Olah, Mordvintsev & Schubert
  2017, Distill);
- of a layer past a pooling: `unit-0` …; and of the logits of ImageNet's 1,000 classes the classes' names:
  `goldfish`, `tiger`, `analog clock`.

Rates are activations in the network's own unit, not spikes/s, and are not rectified.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from encoders.backbones.choice import network_choice
from encoders.features import FeatureExtractor, FeatureStore, Tap
from encoders.tapped import TappedModel
from encoders.units_name import PREFIX
from protocols.errors import SettingsError
from protocols.vocabulary import Images, Rates, check_images

IMAGENET_CLASSES = 1000
PROBE_PX = 224
"""Side of the image by which the units are counted, where the name gives no size."""
IMAGES_AT_ONCE = 16


class UnitsEncoder(TappedModel):
    """Predicts a layer's activations; frozen.

    Args:
        extractor: The network, up to the layer.
    """

    def __init__(self, extractor: FeatureExtractor) -> None:
        super().__init__(extractor)
        side = extractor.tap.input_px or PROBE_PX
        with torch.no_grad():
            probe = extractor(torch.full((1, 3, side, side), 0.5, device=extractor.device))
        self._site_ids = _names(probe)

    def rates_from_features(self, features: Tensor) -> Tensor:
        """`(n, c, h', w')`, as the layer gives them → `(n, n_sites)`."""
        if not _has_places(features):
            return features.flatten(1)
        height, width = features.shape[2:]
        return torch.cat([features.mean((2, 3)), features[:, :, height // 2, width // 2]], dim=1)

    @torch.no_grad()
    def predict(self, images: Images, store: FeatureStore | None = None) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` activations; features in `store` are used."""
        check_images(images)
        features = (
            self.extractor.features(images) if store is None else store.features(self.tap, images)
        )
        return self.rates_from_features(features).numpy().astype(np.float64)


def units_encoder(name: str | Path, *, device: str = "auto") -> UnitsEncoder:
    """The encoder that `units:NETWORK[:WEIGHTS]/LAYER[@SIZE]` names.

    Without a size, images are seen at their own.

    Raises:
        SettingsError: If the name is no such name, or there is no such network or layer.
        InstallationError: If the weights cannot be had.
    """
    return UnitsEncoder(FeatureExtractor(tap_of(str(name)), device=device))


def tap_of(name: str) -> Tap:
    """Where the units of this name are taken.

    Raises:
        SettingsError: If the name is no such name, or there is no such network.
    """
    whole, at, size = name.removeprefix(PREFIX).partition("@")
    network, slash, layer = whole.rpartition("/")
    if not (slash and network and layer) or (at and not size.isdecimal()):
        raise SettingsError(
            "this names no units",
            where=name,
            expected="units:NETWORK/LAYER@SIZE, such as units:efficientnet_lite0/blocks.3@112",
            got=name,
            remedy="synth-server backbones lists networks; with a network's name, its layers",
        )
    chosen = network_choice(network, where=name)
    px = int(size) if size else None
    if px is not None and not 16 <= px <= 2048:
        raise SettingsError("no such image size", where=name, expected="16 … 2048 px", got=px)
    return Tap(backbone=chosen.name, layer=layer, input_px=px, weights=chosen.weights)


def _names(features: Tensor) -> tuple[str, ...]:
    n = features.shape[1]
    if _has_places(features):
        return tuple(f"{kind}-{row}" for kind in ("channel", "neuron") for row in range(n))
    if n == IMAGENET_CLASSES and find_spec("torchvision") is not None:
        return imagenet_classes()
    return tuple(f"unit-{row}" for row in range(n))


def imagenet_classes() -> tuple[str, ...]:
    """Names of ImageNet's classes in the order of the logits, as torchvision has them."""
    from torchvision.models import AlexNet_Weights  # as long in coming as torch itself

    return tuple(AlexNet_Weights.DEFAULT.meta["categories"])


def _has_places(features: Tensor) -> bool:
    return features.shape[2] * features.shape[3] > 1
