"""Sphere ascent: stimloop's own optimizer. A mean direction climbs, and learns from bad codes too.

An evolution strategy on the sphere of codes, after sphere CMA (Wang & Ponce 2022) and natural
evolution strategies (Wierstra et al. 2014). Per generation, for the directions `x_i` of the codes,
best first, and the mean direction `m`:

1. `t_i`: the tangent at m that leads to x_i. The estimated gradient is `Σ w_i t_i`, with log-rank
   weights w that are positive for the better half and negative for the worse half.
2. `m ← exp_m(learning_rate · (n / population) · Σ w_i t_i)` for n measured codes.
3. Candidates `exp_m(θ_g / √code_dim · z)`, z ~ N(0, I) projected on the tangent space at m, where θ_g
   falls from `first_deg` to `last_deg` in equal ratios over `n_generations`, and then stays.

What makes it stand noise: no code is kept for a response it got once; every code only weighs in by
its rank, and the mean averages over its whole lineage. The worse half of a generation doubles what
is learned from it. While θ is large, candidates differ by more than the noise; once it is small, the
whole population is as good as its mean.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from protocols.settings import Frozen
from synth_server.synthesis.optimizers.genetic import CodeSampler
from synth_server.synthesis.optimizers.recombination import (
    log_weights,
    n_selected,
    signed_log_weights,
)
from synth_server.synthesis.optimizers.sphere import (
    N_GENERATIONS,
    directions,
    steps_to,
    walked,
)
from synth_server.synthesis.optimizers.sphere_walk import Floats, SphereWalk

LEAST_MEASURED = 2
"""One measured code has no rank among others."""


class SphereAscentSettings(Frozen):
    """Population and annealing; the defaults were chosen on units that no report uses."""

    population: int = Field(default=40, ge=2, le=10_000, description="codes in one generation")
    n_generations: int | None = Field(
        default=None, ge=1, description="over which the angle anneals; None: the plan's, else 75"
    )
    first_deg: float = Field(default=70.0, gt=0, le=90, description="angle of candidates, first")
    last_deg: float = Field(default=6.0, gt=0, le=90, description="and after `n_generations`")
    learning_rate: float = Field(default=1.0, gt=0, le=10, description="factor on the mean's step")
    norm: float | None = Field(default=None, gt=0, description="of all codes; None: the prior's")


class SphereAscent(SphereWalk):
    """Climbs on the sphere of codes by an estimate of the gradient from ranks.

    Args:
        settings: Population and annealing.
        sample_codes: Draws the first population.
        random: The only source of randomness.
    """

    Settings = SphereAscentSettings
    least_measured = LEAST_MEASURED

    def __init__(
        self, settings: SphereAscentSettings, sample_codes: CodeSampler, random: np.random.Generator
    ) -> None:
        super().__init__(settings.population, settings.norm, sample_codes, random)
        self._settings = settings

    def angle_rad(self) -> float:
        """Between candidates and the mean now, in radians."""
        settings = self._settings
        passed = min(self._generation / max((settings.n_generations or N_GENERATIONS) - 1, 1), 1.0)
        ratio = settings.last_deg / settings.first_deg
        return float(np.deg2rad(settings.first_deg * ratio**passed))

    def _moved(self, mean: Floats | None, ranked: Floats) -> Floats:
        n = len(ranked)
        if mean is None:
            n_best = n_selected(n, 0.5)
            return directions(log_weights(n_best) @ ranked[:n_best])
        gradient = signed_log_weights(n) @ steps_to(ranked, mean)
        rate = self._settings.learning_rate * n / self._settings.population
        return walked(mean, rate * gradient)
