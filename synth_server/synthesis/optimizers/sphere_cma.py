"""Sphere CMA (Wang & Ponce 2022, arXiv 2204.06765): codes of one norm, a step that only shrinks.

In thousands of dimensions, adapting a covariance does nothing; what counts is the step, and that the
norm doesn't drift. So the mean is a direction, candidates lie around it at an angle, and the angle
follows a schedule. One generation, for directions `m` (mean) and tangents `t` `(population, code_dim)`:

1. `m ← exp_m(learning_rate · Σ w_i t_i)` over the best codes, `w` log-rank weights.
2. Candidates `exp_m(θ_g / √code_dim · z)`, z ~ N(0, I) projected on the tangent space at m.

Schedules of the angle θ_g of generation g, degrees: `exp`, from 50 to 7.33 in equal ratios over
`n_generations`, and 7.33 from then on; `inv`, `15 + 1 / (0.0017 g + 0.0146)`.

The first population is the generator's own, scaled to the norm; its weighted mean is the first `m`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from protocols.settings import Frozen
from synth_server.synthesis.optimizers.genetic import CodeSampler
from synth_server.synthesis.optimizers.recombination import log_weights, n_selected
from synth_server.synthesis.optimizers.sphere import (
    N_GENERATIONS,
    directions,
    steps_to,
    walked,
)
from synth_server.synthesis.optimizers.sphere_walk import Floats, SphereWalk

FIRST_DEG, LAST_DEG = 50.0, 7.33
INV_FLOOR_DEG, INV_RATE, INV_START = 15.0, 0.0017, 0.0146


class SphereCMASettings(Frozen):
    """The defaults are as published, but for the norm: 300 there, for the codes of DeePSiM fc6."""

    population: int = Field(default=40, ge=2, le=10_000, description="codes in one generation")
    selected: float = Field(default=0.5, gt=0, le=1, description="share of codes that recombine")
    learning_rate: float = Field(default=1.5, gt=0, le=10, description="factor on the mean's step")
    schedule: Literal["exp", "inv"] = "exp"
    n_generations: int | None = Field(
        default=None, ge=1, description="over which `exp` anneals; None: the plan's, else 75"
    )
    norm: float | None = Field(default=None, gt=0, description="of all codes; None: the prior's")


class SphereCMA(SphereWalk):
    """Moves a mean direction over the sphere of codes.

    Args:
        settings: Population, schedule, norm.
        sample_codes: Draws the first population.
        random: The only source of randomness.
    """

    Settings = SphereCMASettings

    def __init__(
        self, settings: SphereCMASettings, sample_codes: CodeSampler, random: np.random.Generator
    ) -> None:
        super().__init__(settings.population, settings.norm, sample_codes, random)
        self._settings = settings

    def angle_rad(self) -> float:
        """The schedule's angle now, in radians."""
        generation, settings = self._generation, self._settings
        if settings.schedule == "inv":
            return float(np.deg2rad(INV_FLOOR_DEG + 1 / (INV_RATE * generation + INV_START)))
        passed = min(generation / max((settings.n_generations or N_GENERATIONS) - 1, 1), 1.0)
        return float(np.deg2rad(FIRST_DEG * (LAST_DEG / FIRST_DEG) ** passed))

    def _moved(self, mean: Floats | None, ranked: Floats) -> Floats:
        n_best = n_selected(len(ranked), self._settings.selected)
        best, weights = ranked[:n_best], log_weights(n_best)
        if mean is None:
            return directions(weights @ best)
        return walked(mean, self._settings.learning_rate * weights @ steps_to(best, mean))
