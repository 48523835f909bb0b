"""How much of a Gaussian receptive field a round patch covers.

A field is a 2-D Gaussian of unit volume, a patch a disc whose edge falls by half a cosine. What the
patch covers is their product's integral: the Gaussian convolved with the patch, at their distance.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline

SIGMA_RANGE_DEG = (0.2, 6.0)
"""σ that can be told from others with patches of a few degrees."""
FARTHEST_DEG = 40.0
POINTS, DISTANCES, SIGMAS = 161, 321, 33

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
    """Of patches of one kind: a table over distance and log σ, interpolated by cubic splines."""

    def __init__(self, diameter_deg: float, edge_deg: float) -> None:
        across = (np.arange(POINTS) + 0.5) / POINTS * diameter_deg - diameter_deg / 2
        step = across[1] - across[0]
        mask = patch_profile(np.hypot(across[:, None], across), diameter_deg, edge_deg)
        distances = FARTHEST_DEG * np.linspace(0, 1, DISTANCES) ** 2
        log_sigmas = np.log(np.geomspace(*SIGMA_RANGE_DEG, SIGMAS))
        table = np.empty((DISTANCES, SIGMAS))
        for column, sigma in enumerate(np.exp(log_sigmas)):
            bump = np.exp(-(across**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
            along = mask @ bump * step
            away = distances[:, None] - across
            apart = np.exp(-(away**2) / (2 * sigma**2)) / (np.sqrt(2 * np.pi) * sigma)
            table[:, column] = apart @ along * step
        # Even in the distance: the square root of it is the axis, or the spline had a kink at 0.
        self._spline = RectBivariateSpline(np.linspace(0, 1, DISTANCES), log_sigmas, table)

    def __call__(self, distance_deg: Floats, log_sigma: float) -> tuple[Floats, Floats, Floats]:
        """Covered part 0..1 at `(n,)` distances, and its derivatives by distance and by log σ."""
        distance = np.clip(distance_deg, 1e-6, FARTHEST_DEG)
        place = np.sqrt(distance / FARTHEST_DEG)
        at = self._spline.ev
        covered = at(place, log_sigma)
        by_distance = at(place, log_sigma, dx=1) / (2 * place * FARTHEST_DEG)
        return covered, by_distance, at(place, log_sigma, dy=1)


@lru_cache(maxsize=16)
def coverage(diameter_deg: float, edge_deg: float) -> Coverage:
    """The table for patches of this kind; computed once."""
    return Coverage(diameter_deg, edge_deg)
