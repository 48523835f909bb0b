"""Counts on one scale, whatever the recording does: `(count − baseline) / scale`, site by site.

Responses drift: the electrode moves, the animal tires. The reference images in every block are the
same throughout; what becomes of them tells the drift, and dividing by it cancels it. Over how many
blocks they are averaged is a choice between noise and lag.

An objective scores what it is given; nothing else knows whether counts were normalised.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from protocols.interfaces import Apparatus
from protocols.settings import Frozen, ObjectiveChoice
from protocols.vocabulary import SiteId

Floats: TypeAlias = NDArray[np.float64]


class NormalisationSettings(Frozen):
    """What is subtracted from counts, and what they are divided by."""

    baseline: Literal["none", "given", "blank", "references"] = Field(
        default="none", description="subtracted: nothing, given counts, those to gray, the mean"
    )
    baseline_counts: dict[SiteId, float] | None = Field(
        default=None, description="with baseline = 'given': site → counts; 0 for other sites"
    )
    scale: Literal["none", "mean", "sd"] = Field(
        default="none",
        description="divided by: nothing, the references' mean above the baseline, their SD",
    )
    window_blocks: int = Field(
        default=5, ge=1, le=1000, description="blocks that references and gray are averaged over"
    )
    n_blanks: int = Field(
        default=4, ge=1, le=100, description="with baseline = 'blank': showings of gray a block"
    )

    @model_validator(mode="after")
    def _given_means_given(self) -> Self:
        if (self.baseline == "given") != (self.baseline_counts is not None):
            raise ValueError("baseline_counts go with baseline = 'given', and only with it")
        if self.baseline == "references" and self.scale == "mean":
            raise ValueError(
                "the references' mean less the references' mean is nothing to divide by: "
                "scale = 'sd', or another baseline"
            )
        return self

    @property
    def blanks_a_block(self) -> int:
        """Showings of gray."""
        return self.n_blanks if self.baseline == "blank" else 0

    @property
    def least_references(self) -> int:
        """How many reference images this takes."""
        if self.scale == "sd":
            return 2
        return int(self.scale == "mean" or self.baseline == "references")


class Normaliser:
    """Learns from each block what its references and gray drew; brings counts to one scale."""

    def __init__(self, settings: NormalisationSettings) -> None:
        self._settings = settings
        self._site_ids: tuple[str, ...] = ()
        self._references: deque[Floats] = deque(maxlen=settings.window_blocks)
        self._blanks: deque[Floats] = deque(maxlen=settings.window_blocks)

    def learn(self, site_ids: tuple[str, ...], references: Floats, blank: Floats) -> None:
        """Take in a block.

        Args:
            site_ids: The columns of all counts.
            references: `(n_references, n_sites)` mean counts, NaN where not measured.
            blank: `(n_sites,)` mean counts to gray; NaN if it was not shown.
        """
        self._site_ids = site_ids
        if np.isfinite(references).any():
            self._references.append(references)
        if np.isfinite(blank).any():
            self._blanks.append(blank)

    def __call__(self, counts: Floats) -> Floats:
        """`(n, n_sites)` counts → the same on the scale; NaN as long as that is unknown."""
        references = self._over_window(self._references)
        baseline = self._baseline(references)
        scale = np.ones(len(self._site_ids))
        if self._settings.scale == "mean":
            scale = np.maximum(mean_of_measured(references) - baseline, self._least())
        if self._settings.scale == "sd":
            scale = np.maximum(_spread(references), self._least())
        return (counts - baseline) / scale

    def _baseline(self, references: Floats) -> Floats:
        """`(n_sites,)`, given `references` `(n_references, n_sites)`."""
        match self._settings.baseline:
            case "given":
                known = self._settings.baseline_counts or {}
                return np.array([known.get(site, 0.0) for site in self._site_ids])
            case "references":
                return mean_of_measured(references)
            case "blank":
                return self._over_window(self._blanks).reshape(-1)
        return np.zeros(len(self._site_ids))

    def _over_window(self, blocks: Collection[Floats]) -> Floats:
        """Each mean over the blocks where it was measured; NaN before the first of them."""
        if not blocks:
            return np.full((1, len(self._site_ids)), np.nan)
        return mean_of_measured(np.array(list(blocks)))

    def _least(self) -> float:
        """One count among all references of the window: a silent site is not divided by nothing."""
        return 1 / max(1, sum(len(block) for block in self._references))


def check_sites(settings: NormalisationSettings, apparatus: Apparatus) -> None:
    """A rig that does not record the sites of a given baseline is refused before anything is shown."""
    for site in settings.baseline_counts or {}:
        apparatus.objective(ObjectiveChoice(name="site", options={"site": site}))


def mean_of_measured(values: Floats) -> Floats:
    """Over the first axis, of what was measured; NaN where nothing was."""
    known = np.isfinite(values)
    n = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _spread(values: Floats) -> Floats:
    """Standard deviation over the first axis, of what was measured."""
    variance = mean_of_measured(np.square(values - mean_of_measured(values)))
    return np.asarray(np.sqrt(variance), np.float64)
