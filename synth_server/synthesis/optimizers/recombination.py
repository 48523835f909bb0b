"""Weights by rank: how much each code of a generation moves the mean."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_weights(n_selected: int) -> Floats:
    """`ln(μ + ½) − ln i` for i = 1 … μ, at sum 1 (Hansen & Ostermeier 2001; Wang & Ponce 2022)."""
    weights = np.log(n_selected + 0.5) - np.log(np.arange(1, n_selected + 1))
    return np.asarray(weights / weights.sum(), np.float64)


def n_selected(n_measured: int, share: float) -> int:
    """How many of `n_measured` codes recombine; ≥ 1.

    A share of what was measured: aborted trials must not make selection less strict.
    """
    return max(1, round(n_measured * share))


def n_measured(ranked_fitness: Floats) -> int:
    """How many have a fitness; in `Turns`' order they are the first ones."""
    return int(np.count_nonzero(~np.isnan(ranked_fitness)))


def signed_log_weights(n_measured: int) -> Floats:
    """`ln((n + 1) / 2) − ln i` for i = 1 … n: the better half sums to 1, the worse half to −1.

    Negative weights of active CMA (Jastrebski & Arnold 2006; Hansen 2016, eq. 49): a bad code says as
    much about where to go as a good one. Needs at least two codes.
    """
    raw = np.log((n_measured + 1) / 2) - np.log(np.arange(1, n_measured + 1))
    good, bad = np.maximum(raw, 0), np.minimum(raw, 0)
    return np.asarray(good / good.sum() - bad / bad.sum(), np.float64)
