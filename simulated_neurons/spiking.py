"""From a rate to a spike count: latency, slow drift, noise."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream
from protocols.spike_times import Ticks, ticks_after
from protocols.vocabulary import Counts

Floats: TypeAlias = NDArray[np.float64]
Noise: TypeAlias = Literal["none", "poisson", "overdispersed"]

TRANSIENT_S = 0.04
"""How long a response is above its mean, if it has a transient."""
TICK_HZ = 30_000.0
"""Ticks of simulated spike times in a second."""
DRIFT_PERIODS = (61.0, 23.0, 7.0)
"""Blocks. About an hour, twenty and seven minutes at a minute a block."""


class Piece(NamedTuple):
    """`[start, stop)` s after the onset, and the rate there in spikes/s."""

    start: float
    stop: float
    rate: float


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

    def pieces(self, span_s: tuple[float, float], site: int = 0) -> list[Piece]:
        """The span cut where the site's drive changes."""
        start, stop = span_s
        begins = float(np.broadcast_to(self.latency_s, len(self.rates))[site])
        ends = begins + self.on_s
        cuts = [begins, ends]
        if self.transient and self.on_s > TRANSIENT_S:
            cuts.insert(1, begins + TRANSIENT_S)
        edges = [start, *(edge for edge in cuts if start < edge < stop), stop]
        rate = float(self.rates[site])
        return [
            Piece(a, b, self._factor(a - begins) * rate if begins <= a < ends else self.baseline)
            for a, b in itertools.pairwise(edges)
        ]

    def _factor(self, after_s: float) -> float:
        """The rate so long after the latency, as a part of its mean."""
        if not self.transient or self.on_s <= TRANSIENT_S:
            return 1.0
        if after_s < TRANSIENT_S - 1e-12:
            return 1 + self.transient
        rest = self.on_s - TRANSIENT_S
        return max(0.0, 1 - self.transient * TRANSIENT_S / rest)

    def expected(self, span_s: tuple[float, float]) -> Counts:
        """`(n_sites,)` expected spikes: the integral of the rate over `[start, stop)` s."""
        return np.array(
            [
                sum((stop - start) * rate for start, stop, rate in self.pieces(span_s, site))
                for site in range(len(self.rates))
            ],
            np.float64,
        )


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
    around = [span for span in ((start, window_s[0]), (window_s[1], stop)) if span[0] < span[1]]
    drawn = [(span, random.poisson(drive.expected(span))) for span in around]
    drawn.append((window_s, counts.astype(int)))
    each: list[list[NDArray[np.int64]]] = [[] for _ in counts]
    for span, numbers in drawn:
        for site, number in enumerate(numbers):
            each[site].append(_spread(drive, site, int(number), span, random))
    return tuple(np.sort(np.concatenate(parts)) for parts in each)


def _spread(
    drive: Drive, site: int, number: int, span_s: tuple[float, float], random: np.random.Generator
) -> NDArray[np.int64]:
    """`(number,)` ticks in the span, as dense as the site's rate."""
    pieces = drive.pieces(span_s, site)
    weights = np.array([(piece.stop - piece.start) * piece.rate for piece in pieces])
    if not weights.sum():
        weights = np.array([piece.stop - piece.start for piece in pieces])
    chosen = random.choice(len(pieces), size=number, p=weights / weights.sum())
    edges = np.array([[ticks_after(edge, TICK_HZ) for edge in piece[:2]] for piece in pieces])
    low, high = edges[chosen].reshape(-1, 2).T
    return np.asarray(low + np.floor(random.random(number) * (high - low)), dtype=np.int64)


def drawn_counts(
    expected: Counts, noise: Noise, *, fano: float, random: np.random.Generator
) -> Counts:
    """`(n_sites,)` expected spikes → one draw.

    `none` gives the expectation itself. `poisson` has variance = mean. `overdispersed` is a Poisson
    count whose mean is Gamma distributed (Goris, Movshon & Simoncelli 2014, Nat Neurosci 17:858),
    hence a negative binomial one, with variance = `fano` x mean; `fano` = 1 is Poisson.
    """
    if noise == "none":
        return expected.copy()
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
    phases = random_stream(seed, "drift").uniform(0, 2 * np.pi, size=len(DRIFT_PERIODS))
    angles = 2 * np.pi * (block_index + place) / np.array(DRIFT_PERIODS) + phases
    return float(1 + amplitude * np.mean(np.sin(angles)))
