"""Whether a site's counts depend on where a patch is, and how alike the maps of two halves are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from synth_server.receptive_fields.places import Floats, Places

TEMPLATE_SIGMAS_DEG = (0.4, 0.9, 2.0)
SPLITS = 50
AT_ONCE = 25
"""Permutations computed together."""


class Templates(NamedTuple):
    """Fields that could be there: centres half a step apart, of a few sizes.

    Attributes:
        fields: `(n, 3)` x, y and log σ of each.
        covered: `(n, n_places)` covered part, divided by its deviation over the showings.
    """

    fields: Floats
    covered: NDArray[np.float32]

    @classmethod
    def over(cls, places: Places) -> Templates:
        """All within the grid and half a step around it."""
        left, bottom, right, top = places.bounds_deg
        half = places.step_deg / 2
        xs = np.arange(left - half, right + 1.01 * half, half)
        ys = np.arange(bottom - half, top + 1.01 * half, half)
        fields = np.array(
            [(x, y, s) for s in np.log(TEMPLATE_SIGMAS_DEG) for y in ys for x in xs], np.float64
        )
        covered = places.covered(*fields.T)[0]
        rows = covered[:, places.of_row]
        total = np.zeros(len(fields))
        for group in np.unique(places.group):
            part = rows[:, places.group == group]
            total += ((part - part.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
        known = total > 1e-9
        scaled = covered[known] / np.sqrt(total[known])[:, None]
        return cls(fields[known], scaled.astype(np.float32))


def residuals(counts: Floats, places: Places) -> Floats:
    """`(n, n_sites)` counts less the mean of their texture and patch size."""
    left = counts.astype(np.float64)
    for group in np.unique(places.group):
        rows = places.group == group
        left[rows] -= left[rows].mean(axis=0)
    return left


def scores(left: Floats, places: Places, templates: Templates) -> NDArray[np.float32]:
    """`(n_templates, n_sites)`: how well each template goes with the residuals; either sign."""
    sums = np.zeros((len(places), left.shape[1]), np.float32)
    np.add.at(sums, places.of_row, left.astype(np.float32))
    return np.asarray(templates.covered @ sums)


def permutation_p(
    left: Floats, places: Places, templates: Templates, n: int, random: np.random.Generator
) -> Floats:
    """`(n_sites,)`: of the best template's score, against places exchanged within textures."""
    observed = np.abs(scores(left, places, templates)).max(axis=0)
    rows = left.astype(np.float32)
    exceeding = np.zeros(left.shape[1])
    groups = [np.flatnonzero(places.group == group) for group in np.unique(places.group)]
    onehot = np.zeros((len(places), len(rows)), np.float32)
    done = 0
    while done < n:
        for _ in range(min(AT_ONCE, n - done)):
            where = places.of_row.copy()
            for members in groups:
                where[members] = where[random.permutation(members)]
            onehot[:] = 0
            onehot[where, np.arange(len(rows))] = 1
            best = np.abs(templates.covered @ (onehot @ rows)).max(axis=0)
            exceeding += best >= observed * (1 - 1e-6)
        done += AT_ONCE
    p = (1 + exceeding) / (1 + n)
    return np.where(observed > 0, p, 1.0)


def map_reliability(left: Floats, places: Places, random: np.random.Generator) -> Floats:
    """`(n_sites,)`: correlation of two halves' maps over places, mean of random splits.

    Corrected to the whole by Spearman and Brown; NaN where a map is flat.
    """
    n_sites = left.shape[1]
    total = np.zeros(n_sites)
    for _ in range(SPLITS):
        order = random.permutation(len(left))
        by_place = order[np.argsort(places.of_row[order], kind="stable")]
        starts = np.searchsorted(places.of_row[by_place], np.arange(len(places)))
        rank = np.arange(len(left)) - starts[places.of_row[by_place]]
        halves = [_map(left, places, by_place[rank % 2 == half]) for half in (0, 1)]
        both = np.isfinite(halves[0]).all(axis=1) & np.isfinite(halves[1]).all(axis=1)
        total += _correlations(halves[0][both], halves[1][both])
    r = total / SPLITS
    corrected: Floats = 2 * r / (1 + np.maximum(r, -0.99))
    return corrected


def _map(left: Floats, places: Places, rows: NDArray[np.int64]) -> Floats:
    sums = np.zeros((len(places), left.shape[1]))
    np.add.at(sums, places.of_row[rows], left[rows])
    n = np.bincount(places.of_row[rows], minlength=len(places))[:, None]
    return np.where(n > 0, sums / np.maximum(n, 1), np.nan)


def _correlations(one: Floats, other: Floats) -> Floats:
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    r: Floats = np.where(size > 0, (a * b).sum(axis=0) / np.where(size > 0, size, 1), np.nan)
    return r
