"""Random search: what an optimizer must beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.settings import Frozen
from protocols.vocabulary import Codes
from synth_server.synthesis.optimizers.genetic import CodeSampler
from synth_server.synthesis.optimizers.turns import Turns


class RandomSearchSettings(Frozen):
    """Settings of the random control."""

    population: int = Field(default=30, ge=1, le=10_000, description="codes in one generation")


class RandomSearch:
    """Fresh codes from the generator's prior in every generation, whatever the fitness was."""

    Settings = RandomSearchSettings

    def __init__(
        self, settings: RandomSearchSettings, sample_codes: CodeSampler, random: np.random.Generator
    ) -> None:
        self._settings = settings
        self._sample_codes = sample_codes
        self._random = random
        self._turns = Turns()
        self._population = self._fresh(settings.population)

    def ask(self) -> Codes:
        """The population to show, `(population, code_dim) float32`."""
        return self._turns.ask(self._population)

    def adopt(self, codes: Codes) -> None:
        """See `protocols.interfaces.AdoptingOptimizer`."""
        self._turns.adopt(codes)

    def tell(self, codes: Codes, fitness: NDArray[np.float64]) -> None:
        """Draw anew all codes that were measured; those with NaN fitness are asked again first."""
        order = self._turns.tell(codes, fitness)
        unmeasured = codes[order][np.isnan(fitness[order])]
        self._population = np.concatenate(
            [unmeasured, self._fresh(self._settings.population - len(unmeasured))]
        )

    def _fresh(self, n: int) -> Codes:
        return np.asarray(self._sample_codes(n, self._random), np.float32)
