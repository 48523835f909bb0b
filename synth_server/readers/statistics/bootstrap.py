"""Confidence intervals by the bootstrap (Efron 1979), from a random stream of their own.

Resampled are the repetitions of every image and, where a quantity is an average over images that
stand for others (the seeds of a target), the images. Intervals are percentiles: 95 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.settings import Frozen

Floats: TypeAlias = NDArray[np.float64]
N_RESAMPLES = 2000
PERCENTILES = (2.5, 97.5)


class Estimate(Frozen):
    """A value with its 95 % confidence interval; None where it cannot be said."""

    value: float | None
    low: float | None
    high: float | None


UNKNOWN = Estimate(value=None, low=None, high=None)


class Sampled(NamedTuple):
    """A quantity, and the same of every resample `(N_RESAMPLES,)`."""

    value: float
    resamples: Floats

    def estimate(self) -> Estimate:
        """With its interval; unknown if the value is not finite."""
        if not np.isfinite(self.value):
            return UNKNOWN
        known = self.resamples[np.isfinite(self.resamples)]
        if not len(known):
            return Estimate(value=float(self.value), low=None, high=None)
        low, high = np.percentile(known, PERCENTILES)
        return Estimate(value=float(self.value), low=float(low), high=float(high))


class ImageSample:
    """An image's counts, and their resampled means.

    Args:
        counts: `(n_repetitions, n_sites)`, at least one row.
        random: Draws the resamples.
    """

    def __init__(self, counts: Floats, random: np.random.Generator) -> None:
        n = len(counts)
        self._counts = counts
        self._weights = random.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLES) / n

    @property
    def mean(self) -> Floats:
        """`(n_sites,)`."""
        mean: Floats = self._counts.mean(axis=0)
        return mean

    def at(self, site: int) -> Sampled:
        """The mean count of one site."""
        return Sampled(float(self.mean[site]), self._weights @ self._counts[:, site])

    def resampled_means(self) -> Floats:
        """`(N_RESAMPLES, n_sites)`."""
        means: Floats = self._weights @ self._counts
        return means


def mean_over(images: Sequence[Sampled], random: np.random.Generator) -> Sampled | None:
    """The mean over images that stand for others of their kind: these are resampled, too."""
    if not images:
        return None
    resamples = np.array([each.resamples for each in images])
    chosen = random.integers(len(images), size=(len(images), N_RESAMPLES))
    drawn = np.take_along_axis(resamples, chosen, axis=0).mean(axis=0)
    return Sampled(float(np.mean([each.value for each in images])), drawn)


def highest_of(images: Sequence[Sampled]) -> Sampled | None:
    """The highest of several images: of each resample, its own highest."""
    if not images:
        return None
    resamples = np.array([each.resamples for each in images])
    return Sampled(max(each.value for each in images), resamples.max(axis=0))


def average_of(folds: Sequence[Sampled]) -> Sampled | None:
    """Of one quantity that was measured in several folds."""
    if not folds:
        return None
    resamples = np.mean([each.resamples for each in folds], axis=0)
    return Sampled(float(np.mean([each.value for each in folds])), resamples)


def ratio(above: Sampled | None, below: Sampled | None) -> Sampled | None:
    """`above / below`; None where one is unknown or nothing can be divided."""
    if above is None or below is None or below.value <= 0:
        return None
    divisor = np.where(below.resamples > 0, below.resamples, np.nan)
    return Sampled(above.value / below.value, above.resamples / divisor)


def median_over(sites: Sequence[Sampled], random: np.random.Generator) -> Sampled | None:
    """The median over sites, which are resampled with everything below them."""
    if not sites:
        return None
    resamples = np.array([each.resamples for each in sites])
    chosen = random.integers(len(sites), size=(len(sites), N_RESAMPLES))
    drawn = np.take_along_axis(resamples, chosen, axis=0)
    usable = np.where(np.isfinite(drawn).all(axis=0), np.median(drawn, axis=0), np.nan)
    return Sampled(float(np.median([each.value for each in sites])), usable)


def estimate(sampled: Sampled | None) -> Estimate:
    """What is reported of a quantity that may be unknown."""
    return UNKNOWN if sampled is None else sampled.estimate()
