"""Features of images, as comparisons between images need them: a vector each."""

from __future__ import annotations

import numpy as np

from protocols.settings import Frozen
from protocols.vocabulary import Images
from synth_server.readers.statistics.bootstrap import Floats


class FeatureSettings(Frozen):
    """Where images are compared.

    `by_place` compares each feature place by place; otherwise it is averaged over the image first.
    """

    backbone: str = "efficientnet_lite1"
    layer: str = "blocks.2"
    input_px: int = 112
    by_place: bool = False

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.backbone} {self.layer}" + (", by place" if self.by_place else "")


class NetworkFeatures:
    """Features of a network's layer; each image's are computed once.

    Args:
        settings: Which network and layer.

    Raises:
        SettingsError: If there is no such network or layer.
        PluginError: If the network cannot be loaded.
    """

    def __init__(self, settings: FeatureSettings) -> None:
        from encoders.features import FeatureStore, Tap

        self._tap = Tap(
            backbone=settings.backbone, layer=settings.layer, input_px=settings.input_px
        )
        self._by_place = settings.by_place
        self._store = FeatureStore()
        self._store.extractor(self._tap)

    def __call__(self, images: Images) -> Floats:
        """`(n, h, w, 3) uint8` → `(n, d)`."""
        maps = self._store.features(self._tap, images).numpy().astype(np.float64)
        vectors: Floats = maps.reshape(len(maps), -1) if self._by_place else maps.mean(axis=(2, 3))
        return vectors
