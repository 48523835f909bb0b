"""The networks that are compared, their layers in order, and the features of all of them in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from encoders.backbones import pixels_of
from encoders.backbones.catalogue import catalogue
from encoders.backbones.choice import NetworkChoice
from encoders.backbones.robust import ROBUST
from encoders.features import FeatureExtractor, Tap
from encoders.geometry import Floats
from encoders.progress import Progress, silent
from encoders.shared_features import SharedFeatures
from protocols.errors import SettingsError
from protocols.vocabulary import Images

BUNDLED = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
WEIGHTS = (ROBUST, "default", "random")
MAX_NUMBERS = 250_000_000
"""Of a layer's features over all images: 2 GB as 64-bit floats, and once more while they are worked on."""
IMAGES_AT_ONCE = 8
STAGE = re.compile(r"(blocks\.\d+)\.\d+")
"""A block of an EfficientNet-lite: its stage stands for it."""


class Layer(NamedTuple):
    """A layer, and its place in the whole network: 0 the first, 1 the last."""

    name: str
    depth: float


def default_networks() -> tuple[NetworkChoice, ...]:
    """The bundled networks with robust, with pretrained and with random weights."""
    return tuple(NetworkChoice(name, weights) for name in BUNDLED for weights in WEIGHTS)


def layers_of(choice: NetworkChoice, size_px: int, wanted: Sequence[str] = ()) -> list[Layer]:
    """Layers in the order of computation.

    Args:
        choice: The network.
        size_px: Side of the images that it is given.
        wanted: Only these; all if none is given. Robust networks end at a middle layer, and have those
            up to there.

    Raises:
        SettingsError: If none of the wanted ones is there.
    """
    rows = catalogue(choice.name, input_px=size_px).layers
    names = list(dict.fromkeys(_stage(row.name) for row in rows))
    known = {name: Layer(name, place / max(1, len(names) - 1)) for place, name in enumerate(names)}
    for row, name in ((row.name, _stage(row.name)) for row in rows):
        known.setdefault(row, Layer(row, known[name].depth))
    if choice.weights == ROBUST:
        last = names.index("blocks.4")
        known = {
            name: layer for name, layer in known.items() if layer.depth <= known[names[last]].depth
        }
    chosen = [known[name] for name in (wanted or names) if name in known]
    if not chosen:
        raise SettingsError(
            f"{choice.label} has none of these layers",
            where="--layers",
            expected=", ".join(known),
            got=", ".join(wanted),
        )
    return sorted(chosen, key=lambda layer: layer.depth)


def _stage(name: str) -> str:
    match = STAGE.fullmatch(name)
    return match[1] if match else name


def check_loadable(choice: NetworkChoice, layer: str) -> None:
    """Load the network once, so that missing weights are told before work begins."""
    FeatureExtractor(tap_of(choice, layer))


def patterns(
    choice: NetworkChoice,
    layers: Sequence[Layer],
    images: Images,
    progress: Progress = silent,
) -> Iterator[tuple[Layer, Floats | str]]:
    """Each layer's patterns `(n_images, n_units)`, or why there are none.

    Channels are z-scored over images and places, so that no channel counts for its scale; then each
    unit's mean over the images is taken off, since what all images share tells none from another.
    """
    extractors = [FeatureExtractor(tap_of(choice, layer.name)) for layer in layers]
    shared = SharedFeatures(extractors)
    kept: list[list[Tensor]] = [[] for _ in layers]
    reasons: dict[int, str] = {}
    with torch.no_grad():
        for start in range(0, len(images), IMAGES_AT_ONCE):
            pixels = pixels_of(images[start : start + IMAGES_AT_ONCE], extractors[0].device)
            for row, features in enumerate(shared(pixels)):
                units = features[0].numel()
                if units * len(images) > MAX_NUMBERS:
                    reasons[row] = (
                        f"too wide: {units:,} units × {len(images):,} images are more than "
                        f"{MAX_NUMBERS:,} numbers; show fewer or smaller images"
                    )
                    continue
                kept[row].append(features.float().cpu())
            progress(min(start + IMAGES_AT_ONCE, len(images)), len(images), choice.label)
    for row, layer in enumerate(layers):
        parts, kept[row] = kept[row], []
        yield layer, reasons[row] if row in reasons else _patterns(torch.cat(parts))


def tap_of(choice: NetworkChoice, layer: str) -> Tap:
    """Where the layer's features are taken; images keep their size."""
    return Tap(backbone=choice.name, layer=layer, input_px=None, weights=choice.weights)


def _patterns(features: Tensor) -> Floats:
    """`(n, c, h, w)` → `(n, c · h · w)`."""
    deviation, mean = torch.std_mean(features.double(), dim=(0, 2, 3), correction=0, keepdim=True)
    scaled = features.double().sub_(mean).div_(torch.where(deviation > 0, deviation, 1.0))
    scaled -= scaled.mean(dim=0, keepdim=True)
    found: Floats = np.ascontiguousarray(scaled.flatten(1).numpy())
    return found
