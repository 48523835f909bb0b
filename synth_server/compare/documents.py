"""What `comparison.json` holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, Self, TypeAlias

from pydantic import Field

from protocols.settings import Frozen

Readout: TypeAlias = Literal["ridge", "two_stage", "pls"]
MEASURES = {
    "r_noise_corrected": "predictivity: median over sites of r / √reliability, on held-out images",
    "brain_score": "predictivity as Brain-Score has it: (median of split-mean r)² / reliability",
    "r": "predictivity, not corrected: median over sites of the split-mean r",
    "cka": "debiased linear CKA",
    "rsa": "Spearman's correlation of the RDMs (1 − Pearson)",
    "rsa_pearson": "Pearson's correlation of the RDMs",
}
CHOSEN_BY = ("r_noise_corrected", "cka", "rsa")
"""Measures by which a best layer is chosen; without single trials by `r` instead of the first."""


class Band(Frozen):
    """Of a number over random draws: its mean, and its lowest and highest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """Of the finite ones; None if there are none."""
        known = [value for value in values if math.isfinite(value)]
        return cls(mean=fmean(known), low=min(known), high=max(known)) if known else None


class LayerScore(Frozen):
    """One layer against the sites; None where it cannot be said, and `note` says why."""

    layer: str
    depth: float = Field(description="0: the network's first layer, 1: its last")
    n_units: int | None
    r_noise_corrected: float | None = None
    brain_score: float | None = None
    r: float | None = None
    cka: float | None = None
    rsa: float | None = None
    rsa_pearson: float | None = None
    shuffled: dict[str, Band] = Field(
        default_factory=dict, description="measure → the same with images in another order"
    )
    note: str = ""


class BestLayer(Frozen):
    """The layer that a measure puts first on one half of the images, and what it scores on each half."""

    layer: str
    chosen_on: float = Field(description="its score on the half that it was chosen on: too high")
    scored: float | None = Field(description="its score on the other half")


class NetworkScore(Frozen):
    """A network's layers in order, and its best one by each measure."""

    network: str
    weights: str
    label: str
    layers: tuple[LayerScore, ...]
    best: dict[str, BestLayer]


class Comparison(Frozen):
    """What was compared, and what came of it."""

    n_images: int
    n_sites: int
    site_ids: tuple[str, ...]
    left_out: dict[str, str] = Field(description="site → why it takes no part")
    n_images_left_out: int = Field(description="images that a site was not measured for")
    recording: str = Field(description="sha256 of images, responses and names")
    image_size_px: tuple[int, int]
    readout: Readout
    n_splits: int
    seed: int
    measures: dict[str, str]
    reliability: float | None = Field(description="median over sites, split-half, Spearman–Brown")
    ceilings: dict[str, Band] = Field(
        description="measure → one half of the trials against the other; shown, never divided by"
    )
    networks: tuple[NetworkScore, ...]
