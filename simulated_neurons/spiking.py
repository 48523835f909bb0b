"""From a rate to a spike count: latency, slow drift, noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream
from protocols.spike_times import Ticks, ticks_after
from protocols.vocabulary import Counts

Floats: TypeAlias = NDArray[np.float64]
Noise: TypeAlias = Literal["none", "poisson", "overdispersed", "multiplicative"]
WITHOUT_SPIKES = ("none", "multiplicative")
"""Kinds of noise whose counts are no whole numbers: nothing spikes, and there are no spike times."""

TRANSIENT_S = 0.04
"""How long a response is above its mean, if it has a transient."""
TICK_HZ = 30_000.0
"""Ticks of simulated spike times in a second."""
DRIFT_PERIODS = (61.0, 23.0, 7.0)
"""Blocks. About an hour, twenty and seven minutes at a minute a block."""


class Drive(NamedTuple):
    """What drives the sites around one onset: an answer that begins a latency after it.

    Attributes:
        rates: `(n_sites,)` spikes/s, mean from the latency to `on_s` later.
        baseline: Spikes/s at all other times.
        on_s: Duration of the image.
        latency_s: Of the response: of all sites, or `(n_sites,)`.
        transient: By which part of the mean rate the first `TRANSIENT_S` lie above it; what follows
            lies below, so that the mean stays.
    """

    rates: NDArray[np.float64]
    baseline: float
    on_s: float
    latency_s: float | NDArray[np.float64]
    transient: float = 0.0

    def levels(self) -> Floats:
        """`(n_sites, 4)` spikes/s: before the response, in its transient, in the rest of it, after it."""
        first, rest = 1.0, 1.0
        if self._is_peaked:
            first = 1 + self.transient
            rest = max(0.0, 1 - self.transient * TRANSIENT_S / (self.on_s - TRANSIENT_S))
        found = np.full((len(self.rates), 4), float(self.baseline))
        found[:, 1], found[:, 2] = first * self.rates, rest * self.rates
        return found

    def edges(self, spans_s: Floats) -> Floats:
        """`(n_spans, n_sites, 5)` s: each span's two ends, and where the levels change within it.

        Args:
            spans_s: `(n_spans, 2)` s after the onset.
        """
        begins = np.broadcast_to(self.latency_s, len(self.rates))
        peak = begins + TRANSIENT_S if self._is_peaked else begins
        found = np.empty((len(spans_s), len(self.rates), 5))
        start, stop = found[:, :, :1], found[:, :, 4:]
        start[:], stop[:] = spans_s[:, None, :1], spans_s[:, None, 1:]
        found[:, :, 1:4] = np.stack([begins, peak, begins + self.on_s], axis=1).clip(start, stop)
        return found

    @property
    def _is_peaked(self) -> bool:
        return bool(self.transient) and self.on_s > TRANSIENT_S

    def expected(self, span_s: tuple[float, float]) -> Counts:
        """`(n_sites,)` expected spikes: the integral of the rate over `[start, stop)` s."""
        edges = self.edges(np.array([span_s]))[0]
        found: Counts = ((edges[:, 1:] - edges[:, :-1]) * self.levels()).sum(axis=1)
        return found


def drawn_ticks(
    drive: Drive,
    counts: Counts,
    window_s: tuple[float, float],
    kept_s: tuple[float, float],
    random: np.random.Generator,
) -> tuple[Ticks, ...]:
    """Each site's spike times in ticks of `TICK_HZ`: its `counts` within the window, and others around.

    Outside the window spikes are Poisson; inside, the known number is spread as the rate is.
    """
    start, stop = min(kept_s[0], window_s[0]), max(kept_s[1], window_s[1])
    spans_s = np.array([(start, window_s[0]), window_s, (window_s[1], stop)])
    edges = drive.edges(spans_s)
    weights = (edges[:, :, 1:] - edges[:, :, :-1]) * drive.levels()
    numbers = random.poisson(weights.sum(axis=2))
    numbers[1] = counts.astype(np.int64)
    ticks = _spread(edges, weights, numbers, random)
    limits = np.array([[ticks_after(edge, TICK_HZ) for edge in span] for span in spans_s.tolist()])
    span, site = np.divmod(np.repeat(np.arange(numbers.size), numbers.ravel()), len(counts))
    ticks = np.clip(ticks, limits[span, 0], limits[span, 1] - 1)
    order = np.lexsort((ticks, site))
    return tuple(np.split(ticks[order], np.cumsum(numbers.sum(axis=0))[:-1]))


def _spread(
    edges_s: Floats, weights: Floats, numbers: NDArray[np.int64], random: np.random.Generator
) -> Ticks:
    """`(numbers.sum(),)` ticks, span by span and site by site, as dense as the site's rate.

    Where a rate is 0 and yet there are spikes, they are spread evenly.

    Args:
        edges_s: `(n_spans, n_sites, 5)` between which the rate stays.
        weights: `(n_spans, n_sites, 4)` expected spikes between them.
        numbers: `(n_spans, n_sites)` spikes to spread.
    """
    silent = weights.sum(axis=2, keepdims=True) <= 0
    weights = np.where(silent, edges_s[:, :, 1:] - edges_s[:, :, :-1], weights).reshape(-1, 4)
    row = np.repeat(np.arange(len(weights)), numbers.ravel())
    until = weights.cumsum(axis=1)[row]
    depth = random.random(len(row)) * until[:, 3]
    piece = (depth[:, None] >= until[:, :3]).sum(axis=1)
    # What is drawn lies within a piece of some weight: a cumulated sum is passed only where it grew.
    left = (until[np.arange(len(row)), piece] - depth) / weights[row, piece]
    edges = edges_s.reshape(-1, 5)
    begin, end = edges[row, piece], edges[row, piece + 1]
    ticks: Ticks = np.floor((end - left * (end - begin)) * TICK_HZ).astype(np.int64)
    return ticks


def drawn_counts(
    expected: Counts,
    noise: Noise,
    *,
    fano: float = 1.0,
    sigma: float = 0.0,
    random: np.random.Generator,
) -> Counts:
    """`(n_sites,)` expected spikes → one draw.

    `none` gives the expectation itself. `poisson` has variance = mean. `overdispersed` is a Poisson
    count whose mean is Gamma distributed (Goris, Movshon & Simoncelli 2014, Nat Neurosci 17:858),
    hence a negative binomial one, with variance = `fano` x mean; `fano` = 1 is Poisson.
    `multiplicative` is the expectation times max(0, 1 + `sigma` z), z standard normal, of each site
    its own: no whole number (Wang & Ponce 2022, GECCO '22, their noise in silico).
    """
    if noise == "none":
        return expected.copy()
    if noise == "multiplicative":
        factors = np.maximum(0, 1 + sigma * random.standard_normal(expected.shape))
        return np.asarray(expected * factors, np.float64)
    if noise == "overdispersed" and fano > 1:
        expected = random.gamma(expected / (fano - 1), fano - 1)
    return random.poisson(expected).astype(np.float64)


def latencies(seed: int, site_ids: Sequence[str], range_ms: tuple[float, float]) -> Floats:
    """`(n_sites,)` s: each site's own, evenly drawn; more sites leave the first as they were."""
    low, high = range_ms
    return np.array(
        [random_stream(seed, "latency", site).uniform(low, high) / 1000 for site in site_ids]
    )


def drift_gain(seed: int, *, block_index: int, place: float, amplitude: float) -> float:
    """The factor on all rates at `place` (0 at its start, 1 at its end) in a block.

    A sum of slow sinusoids whose phases the session's `seed` draws: smooth, in 1 ± `amplitude`, and
    known without history, so that a restarted rig finds it as it was.
    """
    if not amplitude:
        return 1.0
    phases = random_stream(seed, "drift").uniform(0, 2 * np.pi, size=len(DRIFT_PERIODS))
    angles = 2 * np.pi * (block_index + place) / np.array(DRIFT_PERIODS) + phases
    return float(1 + amplitude * np.mean(np.sin(angles)))
