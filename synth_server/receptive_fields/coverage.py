"""How much of a Gaussian receptive field a round patch covers.

A field is a 2-D Gaussian of unit volume, a patch a disc whose edge falls by half a cosine. What the
patch covers is their product's integral: the Gaussian convolved with the patch, at their distance.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter

SIGMA_RANGE_DEG = (0.2, 6.0)
"""σ that can be told from others with patches of a few degrees."""
FARTHEST_DEG = 40.0
POINTS, DISTANCES, SIGMAS = 161, 321, 33
PADDING = 3
"""Rows and columns beyond the table, or a spline had to bend at its edges."""

Floats = NDArray[np.float64]


def patch_profile(distance_deg: Floats, diameter_deg: float, edge_deg: float) -> Floats:
    """Opacity 0..1 of a patch at a distance from its centre."""
    inside = diameter_deg / 2 - distance_deg
    edge = min(edge_deg, diameter_deg / 2)
    if edge <= 0:
        return np.asarray(inside >= 0, np.float64)
    phase = np.clip(inside / edge, 0, 1)
    return np.asarray((1 - np.cos(np.pi * phase)) / 2, np.float64)


class Coverage:
    """Of patches of one kind: a table over distance and log σ, interpolated by cubic splines.

    The square root of the distance is the axis: even in the distance, without a kink at 0.
    """

    def __init__(self, diameter_deg: float, edge_deg: float) -> None:
        across = (np.arange(POINTS) + 0.5) / POINTS * diameter_deg - diameter_deg / 2
        step = across[1] - across[0]
        mask = patch_profile(np.hypot(across[:, None], across), diameter_deg, edge_deg)
        distances = FARTHEST_DEG * _padded(0, 1, DISTANCES) ** 2
        self._low, high = np.log(SIGMA_RANGE_DEG).tolist()
        log_sigmas = _padded(self._low, high, SIGMAS)
        table = np.empty((len(distances), len(log_sigmas)))
        for column, sigma in enumerate(np.exp(log_sigmas)):
            bump = np.exp(-(across**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
            along = mask @ bump * step
            away = distances[:, None] - across
            apart = np.exp(-(away**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
            table[:, column] = apart @ along * step
        self._coefficients = spline_filter(table, order=3)
        self._per_sigma = (SIGMAS - 1) / (high - self._low)

    def __call__(self, distance_deg: Floats, log_sigma: Floats) -> tuple[Floats, Floats, Floats]:
        """`(n_fields, n)` covered part 0..1, and its derivatives by distance and by log σ.

        Args:
            distance_deg: `(n_fields, n)` of each field's centre from each patch's.
            log_sigma: `(n_fields,)`
        """
        root = np.sqrt(np.clip(distance_deg, 1e-6, FARTHEST_DEG) / FARTHEST_DEG)
        column, by_sigma, slope_sigma = _taps((log_sigma - self._low) * self._per_sigma)
        row, by_root, slope_root = _taps(root * (DISTANCES - 1))
        near = self._coefficients[row[:, :, :, None], column[:, None, None, :]]
        over_sigma = np.stack([by_sigma, slope_sigma], axis=2)
        over_both = near @ over_sigma[:, None]
        covered = (by_root * over_both[..., 0]).sum(axis=2)
        by_distance = (slope_root * over_both[..., 0]).sum(axis=2) * (DISTANCES - 1)
        by_log_sigma = (by_root * over_both[..., 1]).sum(axis=2) * self._per_sigma
        return covered, by_distance / (2 * root * FARTHEST_DEG), by_log_sigma


def _padded(first: float, last: float, n: int) -> Floats:
    """`(n + 2 · PADDING,)`: n evenly from `first` to `last`, and `PADDING` more at both ends."""
    return first + (last - first) * np.arange(-PADDING, n + PADDING) / (n - 1)


def _taps(at: Floats) -> tuple[NDArray[np.int64], Floats, Floats]:
    """The four rows of a padded table around each place, their weights and the weights' slopes.

    Args:
        at: `(…)` in steps of the table without its padding; all that comes out is `(…, 4)`.
    """
    before = np.floor(at)
    t = at - before
    rows = (before[..., None] + np.arange(-1, 3)).astype(np.int64) + PADDING
    weights = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    slopes = [-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]
    return rows, np.stack(weights, axis=-1) / 6, np.stack(slopes, axis=-1) / 2


@lru_cache(maxsize=16)
def coverage(diameter_deg: float, edge_deg: float) -> Coverage:
    """The table for patches of this kind; computed once."""
    return Coverage(diameter_deg, edge_deg)
