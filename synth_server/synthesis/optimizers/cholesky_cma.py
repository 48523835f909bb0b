"""Cholesky CMA (Wang & Ponce 2022, arXiv 2204.06765; after Loshchilov 2015, arXiv 1511.00221).

Candidates `m + σ z A`, z ~ N(0, I); a path of whitened steps adapts σ, another the factor A of the
covariance `Aᵀ A`. One generation, with log-rank weights w over the best μ = population / 2:

    m   ← Σ w_i x_i
    ps  ← (1 − cs) ps + √(cs (2 − cs) μeff) Σ w_i z_i
    pc  ← (1 − cc) pc + √(cc (2 − cc) μeff) (Σ w_i z_i) A
    σ   ← σ exp(cs / damps · (|ps| / χN − 1))

and every `update_every` generations, with c1 = 2 / (N + √2)² and v = pc A⁻¹,

    A   ← √(1 − c1) A   + √(1 − c1) / |v|² (√(1 + |v|² c1 / (1 − c1)) − 1) vᵀ pc
    A⁻¹ ← A⁻¹ / √(1 − c1) − (1 − 1 / √(1 + |v|² c1 / (1 − c1))) / (√(1 − c1) |v|²) (A⁻¹ vᵀ) v

The published programs hold A and its inverse as matrices: at 4096 dimensions 134 MB each, and seconds
for an update that changes next to nothing. Here both are what they are by construction, a scale times
the identity plus one outer product an update: the same numbers, without the stalls.

The first population is the generator's own; its weighted mean is the first m. `step_size` 3.0 is as
published, in units of that population's standard deviation (the published prior is N(0, I)).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.settings import Frozen
from protocols.vocabulary import Codes
from synth_server.synthesis.optimizers.genetic import CodeSampler
from synth_server.synthesis.optimizers.recombination import log_weights, n_measured, n_selected
from synth_server.synthesis.optimizers.sphere import spread, with_ceiling
from synth_server.synthesis.optimizers.turns import Turns

Floats = NDArray[np.float64]

SELECTED = 0.5


class CholeskyCMASettings(Frozen):
    """The defaults are as published."""

    population: int = Field(default=40, ge=2, le=10_000, description="codes in one generation")
    step_size: float = Field(default=3.0, gt=0, description="first σ, in the prior's std")
    update_every: int = Field(default=10, ge=1, description="generations between updates of A")
    max_norm: float | None = Field(default=None, gt=0, description="ceiling of a code's norm")


class ScaledUpdates:
    """A matrix `scale · (I + Σ_k a_kᵀ b_k)` of code_dim², never written out.

    Args:
        code_dim: Side of the matrix.
    """

    def __init__(self, code_dim: int) -> None:
        self.scale = 1.0
        self._left = np.zeros((0, code_dim))
        self._right = np.zeros((0, code_dim))

    def after(self, rows: Floats) -> Floats:
        """`rows @ matrix`, `(…, code_dim)`."""
        return np.asarray(self.scale * (rows + (rows @ self._left.T) @ self._right))

    def before(self, column: Floats) -> Floats:
        """`matrix @ column`, `(code_dim,)`."""
        return np.asarray(self.scale * (column + (self._right @ column) @ self._left))

    def update(self, factor: float, left: Floats, right: Floats) -> None:
        """Multiply by `factor`, then add the outer product `leftᵀ right`."""
        self.scale *= factor
        self._left = np.concatenate([self._left, left[None] / self.scale])
        self._right = np.concatenate([self._right, right[None]])


class CholeskyCMA:
    """CMA evolution strategy with a Cholesky factor in place of the covariance.

    Args:
        settings: Population, first step, period of updates.
        sample_codes: Draws the first population.
        random: The only source of randomness.
    """

    Settings = CholeskyCMASettings

    def __init__(
        self, settings: CholeskyCMASettings, sample_codes: CodeSampler, random: np.random.Generator
    ) -> None:
        self._settings = settings
        self._random = random
        self._turns = Turns()
        self._population = np.asarray(sample_codes(settings.population, random), np.float32)
        n = self._population.shape[1]
        self._sigma = settings.step_size * spread(self._population)
        self._mean: Floats | None = None
        self._ps, self._pc = np.zeros(n), np.zeros(n)
        self._factor, self._inverse = ScaledUpdates(n), ScaledUpdates(n)
        self._generation = 0

    def ask(self) -> Codes:
        """The population to show, `(population, code_dim) float32`."""
        return self._turns.ask(self._population)

    def adopt(self, codes: Codes) -> None:
        """See `protocols.interfaces.AdoptingOptimizer`."""
        self._turns.adopt(codes)

    def tell(self, codes: Codes, fitness: NDArray[np.float64]) -> None:
        """Adapt to `fitness` `(population,)`, NaN where not measured.

        If nothing was measured, the same codes are asked for again.
        """
        order = self._turns.tell(codes, fitness)
        measured = n_measured(fitness[order])
        if measured == 0:
            return
        n_best = n_selected(measured, SELECTED)
        mean = log_weights(n_best) @ codes[order[:n_best]].astype(np.float64)
        if self._mean is not None:
            self._adapt(self._inverse.after((mean - self._mean) / self._sigma), log_weights(n_best))
        self._mean = mean
        self._population = self._around(mean)

    def _adapt(self, step: Floats, weights: Floats) -> None:
        """Adapt σ and A to the recombined `step` `(code_dim,)`, whitened: Σ w_i z_i."""
        n, mu_eff = len(step), 1 / float(np.square(weights).sum())
        cs = np.sqrt(mu_eff) / (np.sqrt(mu_eff) + np.sqrt(n))
        cc = 4 / (n + 4)
        damps = 1 + cs + 2 * max(0.0, np.sqrt((mu_eff - 1) / (n + 1)) - 1)
        expected = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        self._ps = (1 - cs) * self._ps + np.sqrt(cs * (2 - cs) * mu_eff) * step
        self._pc = (1 - cc) * self._pc
        self._pc += np.sqrt(cc * (2 - cc) * mu_eff) * self._factor.after(step)
        self._sigma *= float(np.exp(cs / damps * (np.linalg.norm(self._ps) / expected - 1)))
        self._generation += 1
        if self._generation % self._settings.update_every == 0:
            self._update_factor()

    def _update_factor(self) -> None:
        c1 = 2 / (len(self._pc) + np.sqrt(2)) ** 2
        v = self._inverse.after(self._pc)
        length = float(v @ v)
        if length == 0:
            return
        keep = np.sqrt(1 - c1)
        stretch = np.sqrt(1 + length * c1 / (1 - c1))
        self._factor.update(keep, keep / length * (stretch - 1) * v, self._pc)
        shrink = (1 - 1 / stretch) / (keep * length)
        self._inverse.update(1 / keep, -shrink * self._inverse.before(v), v)

    def _around(self, mean: Floats) -> Codes:
        z = self._random.standard_normal((self._settings.population, len(mean)))
        codes = mean + self._sigma * self._factor.after(z)
        return np.asarray(with_ceiling(codes, self._settings.max_norm), np.float32)
