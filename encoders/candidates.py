"""Which layers and image sizes are worth trying for V4: mid-level, at several scales."""

from __future__ import annotations

from encoders.backbones.catalogue import catalogue
from encoders.backbones.robust import ROBUST
from encoders.features import Tap

INPUT_PX = 112
STRIDES = (4, 8, 16)
"""px of the image for a step on the map; V4 prefers features of a middling scale."""
KNOWN: dict[str, tuple[Tap, ...]] = {
    name: tuple(
        Tap(backbone=name, layer=layer, input_px=input_px, weights=ROBUST)
        for layer, input_px in (
            ("blocks.2", 80),
            ("blocks.3", 80),
            ("blocks.3", 112),
            ("blocks.4", 112),
        )
    )
    for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
} | {"cornet_s": tuple(Tap(backbone="cornet_s", layer=area) for area in ("V2", "V4"))}
"""Measured on the development splits of `benchmarks/encoder_accuracy.py`."""


def candidate_taps(backbone: str, weights: str = "") -> tuple[Tap, ...]:
    """Layers of `backbone` to fit together: those that are known to serve, or the last of each stride.

    Args:
        backbone: A network's name.
        weights: As in `BackboneSettings`; the robust ones, where it has them, if not given.

    Raises:
        PluginError, InstallationError: If there is no such network, or its weights cannot be had.
    """
    known = KNOWN.get(backbone) or _last_of_strides(backbone)
    return tuple(tap.model_copy(update={"weights": weights}) for tap in known) if weights else known


def _last_of_strides(backbone: str) -> tuple[Tap, ...]:
    last_of_stride = {
        row.stride: row.name
        for row in catalogue(backbone, input_px=INPUT_PX).layers
        if row.stride in STRIDES and len(row.shape) == 3
    }
    return tuple(
        Tap(backbone=backbone, layer=layer, input_px=INPUT_PX) for layer in last_of_stride.values()
    )
