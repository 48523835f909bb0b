"""Diagonal CMA by the package `cma` (Hansen, Akimoto & Baudis 2019), as in Wang & Ponce 2022.

An adapter: the package's own evolution strategy with its diagonal covariance, σ₀ 2.0 as published,
here in units of the first population's standard deviation. That population is the generator's own;
the weighted mean of its best half is where the strategy starts. The package draws from our stream, and
never from numpy's global one.

Codes that were not measured are ranked in the middle, where recombination weights are smallest.
"""

from __future__ import annotations

import math
from typing import Any

import cma
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.settings import Frozen
from protocols.vocabulary import Codes
from synth_server.synthesis.optimizers.genetic import CodeSampler
from synth_server.synthesis.optimizers.recombination import log_weights, n_measured, n_selected
from synth_server.synthesis.optimizers.sphere import spread, with_ceiling
from synth_server.synthesis.optimizers.turns import Turns

QUIET = -9
SELECTED = 0.5
LEAST_MEASURED = 2
"""One measured code has no rank among others."""


class DiagonalCMASettings(Frozen):
    """The defaults are as published; the norm then grows without limit."""

    population: int = Field(default=40, ge=4, le=10_000, description="codes in one generation")
    step_size: float = Field(default=2.0, gt=0, description="first σ, in the prior's std")
    max_norm: float | None = Field(default=None, gt=0, description="ceiling of a code's norm")


class DiagonalCMA:
    """CMA evolution strategy with one step size a gene.

    Args:
        settings: Population, first step, ceiling.
        sample_codes: Draws the first population.
        random: The only source of randomness.
    """

    Settings = DiagonalCMASettings

    def __init__(
        self, settings: DiagonalCMASettings, sample_codes: CodeSampler, random: np.random.Generator
    ) -> None:
        self._settings = settings
        self._random = random
        self._turns = Turns()
        self._population = np.asarray(sample_codes(settings.population, random), np.float32)
        self._sigma = settings.step_size * spread(self._population)
        self._strategy: Any = None

    def ask(self) -> Codes:
        """The population to show, `(population, code_dim) float32`."""
        return self._turns.ask(self._population)

    def tell(self, codes: Codes, fitness: NDArray[np.float64]) -> None:
        """Adapt to `fitness` `(population,)`, NaN where not measured.

        If fewer than two codes were measured, the same codes are asked for again.
        """
        order = self._turns.tell(codes, fitness)
        ranked, scores = codes[order].astype(np.float64), fitness[order]
        measured = n_measured(scores)
        if measured < LEAST_MEASURED:
            return
        if self._strategy is None:
            n_best = n_selected(measured, SELECTED)
            self._strategy = self._started(log_weights(n_best) @ ranked[:n_best])
        else:
            # The package minimises.
            losses = -np.where(np.isnan(scores), np.nanmedian(scores), scores)
            self._strategy.tell(list(ranked), losses.tolist())
        asked = np.array(self._strategy.ask())
        self._population = np.asarray(with_ceiling(asked, self._settings.max_norm), np.float32)

    def _started(self, mean: NDArray[np.float64]) -> Any:
        options = {
            "popsize": self._settings.population,
            "CMA_diagonal": True,
            "randn": lambda *shape: self._random.standard_normal(shape),
            "seed": math.nan,  # leave numpy's global stream alone
            "verbose": QUIET,
        }
        return cma.CMAEvolutionStrategy(mean, self._sigma, options)
