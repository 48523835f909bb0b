"""What optimizers on the sphere of codes share: a mean direction, and candidates around it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Codes
from synth_server.synthesis.optimizers.genetic import CodeSampler
from synth_server.synthesis.optimizers.recombination import n_measured
from synth_server.synthesis.optimizers.sphere import directions, tangents, typical_norm, walked
from synth_server.synthesis.optimizers.turns import Turns

Floats = NDArray[np.float64]


class SphereWalk(ABC):
    """Candidates `exp_m(θ / √code_dim · z)` around a mean direction m, z ~ N(0, I) tangential.

    The first population is what `sample_codes` returns, scaled to the norm.

    Args:
        population: Codes in one generation.
        norm: Of all codes; None: that of the first population.
        sample_codes: Draws the first population.
        random: The only source of randomness.
    """

    least_measured = 1
    """With fewer, a generation teaches nothing and is asked for again."""

    def __init__(
        self,
        population: int,
        norm: float | None,
        sample_codes: CodeSampler,
        random: np.random.Generator,
    ) -> None:
        self._random = random
        self._turns = Turns()
        first = sample_codes(population, random)
        self._norm = norm or typical_norm(first)
        self._mean: Floats | None = None
        self._generation = 0
        self._population = self._scaled(directions(first))

    @abstractmethod
    def angle_rad(self) -> float:
        """θ now, in radians."""

    @abstractmethod
    def _moved(self, mean: Floats | None, ranked: Floats) -> Floats:
        """The next mean direction, from the directions that were measured, best first."""

    def ask(self) -> Codes:
        """The population to show, `(population, code_dim) float32`."""
        return self._turns.ask(self._population)

    def adopt(self, codes: Codes) -> None:
        """See `protocols.interfaces.AdoptingOptimizer`."""
        self._turns.adopt(codes)

    def tell(self, codes: Codes, fitness: Floats) -> None:
        """Move the mean by what was measured, `fitness` `(population,)`, NaN where not.

        If fewer than `least_measured` codes were measured, the same are asked for again.
        """
        order = self._turns.tell(codes, fitness)
        n = n_measured(fitness[order])
        if n < self.least_measured:
            return
        self._mean = self._moved(self._mean, directions(codes[order[:n]]))
        self._population = self._around(self._mean)
        self._generation += 1

    def _around(self, mean: Floats) -> Codes:
        steps = tangents(self._random.standard_normal(self._population.shape), mean)
        return self._scaled(walked(mean, steps * self.angle_rad() / np.sqrt(len(mean))))

    def _scaled(self, points: Floats) -> Codes:
        return np.asarray(self._norm * points, np.float32)
