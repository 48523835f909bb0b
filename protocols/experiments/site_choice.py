"""Which sites to make images for, decided by what the mapping measured: the plan's own decision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import DataError
from protocols.settings import Frozen

N_SPLITS = 50
LEAST_FOR_RELIABILITY = 2
"""Passes."""


class BestTargets(Frozen):
    """The sites whose answers repeat best: `targets = { best = 12, least_reliability = 0.5 }`.

    Attributes:
        best: So many at most.
        least_reliability: Of a target: split-half correlation of its mean counts over images,
            Spearman-Brown corrected.
    """

    best: int = Field(default=12, ge=1, le=512)
    least_reliability: float = Field(default=0.5, ge=-1, le=1)


def reliabilities(counts: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """`(n_sites,)` mean over random halves of the passes; NaN where it cannot be said.

    Args:
        counts: `(n_sites, n_images, n_passes)`, NaN where not measured; at least 2 passes.
        random: Draws the halves.
    """
    n_sites, _, n_passes = counts.shape
    if n_passes < LEAST_FOR_RELIABILITY:
        return np.full(n_sites, np.nan)
    total = np.zeros((N_SPLITS, n_sites))
    for split in range(N_SPLITS):
        order = random.permutation(n_passes)
        halves = order[: n_passes // 2], order[n_passes // 2 :]
        means = [_mean(counts[:, :, half]) for half in halves]
        total[split] = [correlation(a, b) for a, b in zip(*means, strict=True)]
    r = total.mean(axis=0)
    corrected: NDArray[np.float64] = 2 * r / (1 + np.maximum(r, -0.99))
    return corrected


def chosen_targets(
    wanted: BestTargets,
    counts: NDArray[np.float64],
    site_ids: Sequence[str],
    predicted: Sequence[str],
    random: np.random.Generator,
) -> tuple[str, ...]:
    """The most reliable of the sites that the encoder predicts, in the recorder's order.

    Raises:
        DataError: If none is reliable enough.
    """
    found = dict(zip(site_ids, reliabilities(counts, random).tolist(), strict=True))
    able = [site for site in predicted if found[site] >= wanted.least_reliability]
    ranked = sorted(able, key=lambda site: -found[site])[: wanted.best]
    if not ranked:
        best = max(predicted, key=lambda site: np.nan_to_num(found[site], nan=-1.0))
        raise DataError(
            "no site is reliable enough to make images for",
            where="targets",
            expected=f"a reliability of at least {wanted.least_reliability:g} over images",
            got=f"the best is {best}: {found[best]:.2f}",
            remedy="map with more repetitions, lower least_reliability, or name the targets",
        )
    return tuple(site for site in site_ids if site in ranked)


def _mean(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(n_sites, n_images)` over passes; NaN where none was measured."""
    known = np.isfinite(counts)
    n = known.sum(axis=2)
    total = np.where(known, counts, 0.0).sum(axis=2)
    means: NDArray[np.float64] = np.where(n > 0, total / np.maximum(n, 1), np.nan)
    return means


def correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson's, over what both have `(n,)`; NaN where it cannot be said."""
    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3:
        return float("nan")
    a, b = one[both] - one[both].mean(), other[both] - other[both].mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size > 0 else float("nan")
