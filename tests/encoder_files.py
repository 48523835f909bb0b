"""Small encoders: a few channels of an untrained network, seen through random weights or fitted."""

from __future__ import annotations

from pathlib import Path

import torch

from encoders.checkpoint import Provenance, save_encoder
from encoders.encoder import Scaling, TwoStageEncoder
from encoders.features import FeatureExtractor, Tap
from encoders.two_stage import Readout

SITES = ("A-001", "A-002", "A-003")
SIZE_PX = 32
TAP = Tap(layer="blocks.0", input_px=SIZE_PX, weights="random")
FIT = {
    "taps": [TAP.model_dump()],
    "penalties": [{"spatial": 0.1, "mixing": 0.1, "smoothness": 1.0}],
    "max_sweeps": 2,
}
"""Options of a fit within a session: to such a network, and soon over."""
CLIMB = {"n_steps": 3, "n_candidates": 2, "refinement": {"n_steps": 1}}
"""Options of a synthesis by the default recipe: all of its parts, and soon over."""


def small_encoder(site_ids: tuple[str, ...] = SITES, seed: int = 0) -> TwoStageEncoder:
    """Predicts `site_ids` from an untrained network's first block."""
    extractor = FeatureExtractor(TAP, device="cpu")
    channels, height, width = extractor(torch.zeros(1, 3, SIZE_PX, SIZE_PX)).shape[1:]
    stream, n = torch.Generator().manual_seed(seed), len(site_ids)
    readout = Readout(
        torch.randn(n, height, width, generator=stream) / height,
        torch.randn(n, channels, generator=stream),
        torch.zeros(n),
    )
    unscaled = Scaling(torch.zeros(channels), torch.ones(channels))
    rates = Scaling(torch.full((n,), 20.0), torch.full((n,), 10.0))
    return TwoStageEncoder(extractor, unscaled, readout, rates, site_ids)


def write_small_encoder(path: Path, site_ids: tuple[str, ...] = SITES, seed: int = 0) -> Path:
    """The same in a file."""
    save_encoder(path, small_encoder(site_ids, seed), Provenance(notes="untrained"))
    return path
