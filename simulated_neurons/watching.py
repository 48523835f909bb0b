"""Simulated neurons that are watched while something moves on the screen: spikes as time passes.

The rate of a site at a moment is the population's to the whole screen as it was the site's latency
before; of it, Poisson (or other) counts are drawn. Nothing is known of the time after the last look at
the screen, so nothing is told of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.live_interfaces import Fresh
from protocols.placed_population import PlacedPopulation
from protocols.vocabulary import Placement, Rates
from simulated_neurons.spiking import Floats, Noise, drawn_counts

MEMORY_S = 2.0
"""Screens are remembered for so long; no latency is longer."""


class Screen(NamedTuple):
    """What the sites answer to the screen as it was from a moment on: `(n_sites,)` spikes/s."""

    since_s: float
    rates: Rates


class Watching:
    """A population before a screen that changes at any time.

    Args:
        population: It sees the whole screen.
        latency_s: From screen to spikes: of all sites, or `(n_sites,)`.
        noise: Of the counts.
        fano: Variance / mean if they are overdispersed.
        random: The stream of the counts.
        now_s: The display's clock.
    """

    def __init__(
        self,
        population: PlacedPopulation,
        latency_s: float | NDArray[np.float64],
        noise: Noise,
        fano: float,
        random: np.random.Generator,
        now_s: Callable[[], float],
    ) -> None:
        self._population = population
        self._latency_s: Floats = np.broadcast_to(
            np.asarray(latency_s, np.float64), len(population.site_ids)
        )
        self._noise: Noise = noise
        self._fano, self._random, self._now_s = fano, random, now_s
        self._screens: deque[Screen] = deque()
        self._told_s: float | None = None

    def see(self, screen: NDArray[np.uint8], place: Placement) -> None:
        """From now on the screen is `(n, n, 3) uint8`, centred and as large as `place`."""
        now_s = self._now_s()
        rates = self._population.rates_on_screen(screen[None], [place])[0]
        self._screens.append(Screen(now_s, rates))
        while len(self._screens) > 1 and self._screens[1].since_s < now_s - MEMORY_S:
            self._screens.popleft()

    def fresh(self) -> Fresh:
        """Spikes from the last telling to the last look at the screen."""
        n_sites = len(self._latency_s)
        if not self._screens:
            return Fresh(
                0.0, np.zeros(n_sites), float("inf"), float("inf"), "no screen was seen yet"
            )
        lag_s = self._now_s() - (until_s := self._screens[-1].since_s)
        start_s = until_s if self._told_s is None else self._told_s
        self._told_s = until_s
        if until_s <= start_s:
            return Fresh(0.0, np.zeros(n_sites), lag_s, lag_s)
        counts = drawn_counts(
            self._expected(start_s, until_s), self._noise, fano=self._fano, random=self._random
        )
        return Fresh(until_s - start_s, counts, lag_s, lag_s)

    def _expected(self, start_s: float, until_s: float) -> Floats:
        """`(n_sites,)` spikes: the integral of each rate over `[start, until)`, a latency before."""
        begins = [-np.inf, *(screen.since_s for screen in list(self._screens)[1:]), np.inf]
        found = np.zeros(len(self._latency_s))
        for screen, since_s, next_s in zip(self._screens, begins, begins[1:], strict=False):
            low = np.maximum(start_s - self._latency_s, since_s)
            high = np.minimum(until_s - self._latency_s, next_s)
            found += screen.rates * np.clip(high - low, 0, None)
        return found
