"""How alike images are, and correlations with bootstrapped confidence intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth_server.readers.bootstrap import Estimate, Floats, Sampled, estimate


def resemblances(theirs: Floats, ours: Floats) -> Floats:
    """Pearson's r of each row of `theirs` `(n, d)` with the mean row of `ours` `(m, d)`: `(n,)`."""
    mean = ours.mean(axis=0)
    return np.array([_pearson(row, mean) for row in theirs])


def sampled_correlation(
    first: Floats, second: Floats, drawn: NDArray[np.int64], *, of_ranks: bool = False
) -> Estimate:
    """Pearson's r of `(n,)` values, or Spearman's; its resamples take the pairs `drawn` `(k, n)`."""
    correlate = _spearman if of_ranks else _pearson
    resamples = np.array([correlate(first[rows], second[rows]) for rows in drawn])
    return estimate(Sampled(correlate(first, second), resamples))


def ranks(values: Floats) -> Floats:
    """Of `(n,)` values, from 1; equal values share their mean rank."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    shared: Floats = mean_rank[place]
    return shared


def _spearman(first: Floats, second: Floats) -> float:
    return _pearson(ranks(first), ranks(second))


def _pearson(first: Floats, second: Floats) -> float:
    """NaN if one of the lists is constant."""
    a, b = first - first.mean(), second - second.mean()
    power = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / power if power > 0 else float("nan")
