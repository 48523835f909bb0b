"""How alike images are, and correlations with bootstrapped confidence intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synth_server.readers.statistics.bootstrap import Estimate, Floats, Sampled, estimate


def resemblances(theirs: Floats, ours: Floats) -> Floats:
    """Pearson's r of each row of `theirs` `(n, d)` with the mean row of `ours` `(m, d)`: `(n,)`."""
    return _pearson(theirs, ours.mean(axis=0, keepdims=True))


def sampled_correlation(
    first: Floats, second: Floats, drawn: NDArray[np.int64], *, of_ranks: bool = False
) -> Estimate:
    """Pearson's r of `(n,)` values, or Spearman's; its resamples take the pairs `drawn` `(k, n)`."""
    rows = np.vstack([np.arange(len(first)), drawn])
    pair = first[rows], second[rows]
    if of_ranks:
        from scipy.stats import rankdata  # importing scipy.stats takes a second: once it is needed

        pair = rankdata(pair[0], axis=1), rankdata(pair[1], axis=1)
    correlations = _pearson(*pair)
    return estimate(Sampled(float(correlations[0]), correlations[1:]))


def _pearson(first: Floats, second: Floats) -> Floats:
    """Row by row of `(n, d)` and `(n or 1, d)`: `(n,)`; NaN where a row is constant."""
    a = first - first.mean(axis=1, keepdims=True)
    b = second - second.mean(axis=1, keepdims=True)
    power = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    covariance = (a * b).sum(axis=1)
    unknown = np.full_like(covariance, np.nan)
    correlation: Floats = np.divide(covariance, power, out=unknown, where=power > 0)
    return correlation
