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
from cma.sigma_adaptation import CMAAdaptSigmaCSA
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
        self._asked = self._population.astype(np.float64)

    def ask(self) -> Codes:
        """The population to show, `(population, code_dim) float32`."""
        return self._turns.ask(self._population)

    def adopt(self, codes: Codes) -> None:
        """See `protocols.interfaces.AdoptingOptimizer`."""
        self._turns.adopt(codes)

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
            self._strategy.tell(*self._as_asked(codes, fitness))
        self._asked = np.array(self._strategy.ask())
        self._population = np.asarray(
            with_ceiling(self._asked, self._settings.max_norm), np.float32
        )

    def _as_asked(
        self, codes: Codes, fitness: NDArray[np.float64]
    ) -> tuple[list[NDArray[np.float64]], list[float]]:
        """What the package asked for, in its order, and what it minimises.

        Its step size is adapted by the first two codes, which are a mirrored pair.
        """
        known = np.where(np.isnan(fitness), np.nanmedian(fitness), fitness)
        losses = {row.tobytes(): -float(value) for row, value in zip(codes, known, strict=True)}
        told = with_ceiling(self._asked, self._settings.max_norm)
        return list(told), [losses[row.tobytes()] for row in self._population]

    def _started(self, mean: NDArray[np.float64]) -> Any:
        options: dict[str, Any] = {
            "popsize": self._settings.population,
            "CMA_diagonal": True,
            "randn": lambda *shape: self._random.standard_normal(shape),
            "seed": math.nan,  # leave numpy's global stream alone
            "verbose": QUIET,
        }
        if self._settings.max_norm is not None:
            # Else it may be adapted by a mirrored pair, which a ceiling bends.
            options["AdaptSigma"] = CMAAdaptSigmaCSA
        return cma.CMAEvolutionStrategy(mean, self._sigma, options)
