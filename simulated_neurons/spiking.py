"""From a rate to a spike count: latency, slow drift, noise."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.seeds import random_stream
from protocols.vocabulary import Counts

Noise: TypeAlias = Literal["none", "poisson", "overdispersed"]

DRIFT_PERIODS = (61.0, 23.0, 7.0)
"""Blocks. About an hour, twenty and seven minutes at a minute a block."""


def expected_counts(
    rates: NDArray[np.float64],
    *,
    baseline: float,
    on_s: float,
    latency_s: float,
    window_s: tuple[float, float],
) -> Counts:
    """The integral of the rate over the half-open window.

    Args:
        rates: `(n_sites,)` spikes/s while the image drives the sites, which is from `latency_s` to
            `latency_s + on_s` after its onset.
        baseline: Spikes/s at all other times.
        on_s: Duration of the image.
        latency_s: Of the response.
        window_s: `[start, stop)` after onset.

    Returns:
        `(n_sites,)` expected spikes.
    """
    start, stop = window_s
    driven = max(0.0, min(stop, latency_s + on_s) - max(start, latency_s))
    undriven = max(0.0, stop - start - driven)
    return np.asarray(rates * driven + baseline * undriven, dtype=np.float64)


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


def drift_gain(seed: int, *, block_index: int, place: float, amplitude: float) -> float:
    """The factor on all rates at `place` (0 at its start, 1 at its end) in a block.

    A sum of slow sinusoids whose phases the session's `seed` draws: smooth, in 1 ± `amplitude`, and
    known without history, so that a restarted rig finds it as it was.
    """
    phases = random_stream(seed, "drift").uniform(0, 2 * np.pi, size=len(DRIFT_PERIODS))
    angles = 2 * np.pi * (block_index + place) / np.array(DRIFT_PERIODS) + phases
    return float(1 + amplitude * np.mean(np.sin(angles)))
