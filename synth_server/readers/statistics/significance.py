"""Effect sizes (Cohen 1988) and permutation tests (Phipson & Smyth 2010), from given streams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from synth_server.readers.statistics.bootstrap import N_RESAMPLES, Floats, Sampled

N_PERMUTATIONS = 9999
CHUNK = 500
ROUNDING = 1e-9


def difference_p(first: Floats, second: Floats, random: np.random.Generator) -> float | None:
    """Two-sided p that the means of `(n,)` and `(m,)` values differ as much by relabelling alone.

    None if a side is empty or there are fewer than three values. The smallest p is
    1 / (`N_PERMUTATIONS` + 1).
    """
    if not len(first) or not len(second) or len(first) + len(second) < 3:
        return None
    n, m = len(first), len(second)
    values = np.concatenate([first, second])
    total = values.sum()
    observed = abs(first.mean() - second.mean())

    def extremes(rows: Floats) -> int:
        sums = rows[:, :n].sum(axis=1)
        return int((abs(sums / n - (total - sums) / m) >= observed - ROUNDING).sum())

    return _p(sum(extremes(rows) for rows in _shuffled(values, random)))


def correlation_p(first: Floats, second: Floats, random: np.random.Generator) -> float | None:
    """Two-sided p that two lists `(n,)` correlate as much when their pairing is shuffled.

    None for fewer than four pairs, or if a list is constant.
    """
    if len(first) < 4 or np.ptp(first) <= ROUNDING or np.ptp(second) <= ROUNDING:
        return None
    fixed, values = first - first.mean(), second - second.mean()
    observed = abs(fixed @ values)
    limit = observed - ROUNDING * max(1.0, observed)
    return _p(sum(int((abs(rows @ fixed) >= limit).sum()) for rows in _shuffled(values, random)))


def cohens_d(first: Floats, second: Floats, random: np.random.Generator) -> Sampled | None:
    """Difference of the means of `(n,)` and `(m,)` values, in pooled standard deviations (Cohen 1988).

    None for fewer than two values on a side.
    """
    if min(len(first), len(second)) < 2:
        return None
    moments = [_moments(each, random) for each in (first, second)]
    (mean1, var1), (mean2, var2) = moments
    n, m = len(first), len(second)
    pooled = np.sqrt(((n - 1) * var1 + (m - 1) * var2) / (n + m - 2))
    d = np.divide(mean1 - mean2, pooled, out=np.full_like(pooled, np.nan), where=pooled > 0)
    return Sampled(float(d[0]), d[1:])


def _shuffled(values: Floats, random: np.random.Generator) -> Iterator[Floats]:
    """`N_PERMUTATIONS` orders of `values`, in chunks `(≤ CHUNK, n)`."""
    for at in range(0, N_PERMUTATIONS, CHUNK):
        size = min(CHUNK, N_PERMUTATIONS - at)
        yield random.permuted(np.broadcast_to(values, (size, len(values))), axis=1)


def _p(n_as_extreme: int) -> float:
    return (n_as_extreme + 1) / (N_PERMUTATIONS + 1)


def _moments(values: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Mean and variance (n − 1) of the values, and of their resamples: `(1 + N_RESAMPLES,)` each."""
    n = len(values)
    weights = np.vstack(
        [np.full(n, 1 / n), random.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES) / n]
    )
    mean = weights @ values
    return mean, np.maximum(weights @ values**2 - mean**2, 0) * n / (n - 1)
