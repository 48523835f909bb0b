"""The genetic algorithm of XDREAM (Ponce et al. 2019; Xiao & Kreiman 2020, Methods).

A population of codes is shown; the better a code's fitness, the more children it has. One
generation, for fitness `s` `(population,)`:

1. Codes that were not measured (NaN) go on to the next generation as they are.
2. Selection: `p ∝ exp((s' − max s') / kT)`, `s' = min(s, 95th percentile of s)` and
   `kT = max(temperature · std(s), 1e-8)`. The percentile keeps one lucky count from fathering all.
3. The best `n_conserve` codes are shown again.
4. Each child draws two parents by `p`; each gene is the first parent's with probability
   `heritability`, and mutates with probability `mutation_rate` by N(0, `mutation_size`²).

Two conventions of `temperature` are published, and they are opposite: XDREAM divides the standard
deviation by its "selectivity" 2 (here 0.5), the PonceLab rig multiplies it by 2 (here 2.0). Codes
have no bounds.

The preset `stimloop` is ours, for a few dozen generations with the `fourier` generator: XDREAM's
temperature, smaller mutations, and annealing (`mutation_decay`): each generation mutates by less
than the one before it, down to `MUTATION_FLOOR` of the first, so that the whole last population is
good and not only its best. It was tuned on simulated V4-like populations of seeds ≥ 100; lower
seeds are kept for tests and reports.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from protocols.settings import Frozen
from protocols.vocabulary import Codes
from synth_server.synthesis.optimizers.turns import Turns

CodeSampler: TypeAlias = Callable[[int, np.random.Generator], Codes]
"""`(n, random)` → `(n, code_dim) float32`: a generator's `sample_codes`."""

PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "stimloop": {
            "population": 30, "mutation_rate": 0.25, "mutation_size": 0.6,
            "temperature": 0.5, "heritability": 0.5, "n_conserve": 5, "mutation_decay": 0.96,
        },
        "xdream": {
            "population": 20, "mutation_rate": 0.5, "mutation_size": 0.5,
            "temperature": 0.5, "heritability": 0.5, "n_conserve": 1, "mutation_decay": 1.0,
        },
        "poncelab": {
            "population": 30, "mutation_rate": 0.25, "mutation_size": 0.75,
            "temperature": 2.0, "heritability": 0.75, "n_conserve": 10, "mutation_decay": 1.0,
        },
        "wang_ponce": {
            "population": 40, "mutation_rate": 0.25, "mutation_size": 0.75,
            "temperature": 2.0, "heritability": 0.75, "n_conserve": 10, "mutation_decay": 1.0,
        },
    }
)  # fmt: skip
"""Ours, and as published: Xiao & Kreiman 2020; the PonceLab rig; Wang & Ponce's baseline (2022)."""

KT_FLOOR = 1e-8
CLIP_PERCENTILE = 95
MUTATION_FLOOR = 0.2
"""Annealing ends here, as a part of `mutation_size`: a long evolution must not freeze."""


class GeneticSettings(Frozen):
    """A preset, and whatever is to differ from it."""

    preset: Literal["stimloop", "xdream", "poncelab", "wang_ponce"] = "stimloop"
    population: int = Field(default=30, ge=2, le=10_000, description="codes in one generation")
    mutation_rate: float = Field(default=0.25, ge=0, le=1, description="probability, per gene")
    mutation_size: float = Field(default=0.6, ge=0, description="standard deviation, code units")
    temperature: float = Field(default=0.5, gt=0, description="kT in std of the fitness")
    heritability: float = Field(default=0.5, ge=0, le=1, description="genes of the first parent")
    n_conserve: int = Field(default=5, ge=0, description="best codes shown again")
    mutation_decay: float = Field(
        default=0.96, gt=0, le=1, description="factor on mutation_size, each generation"
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        preset = given.get("preset", "stimloop")
        return {**PRESETS.get(preset, {}), **given} if isinstance(preset, str) else given

    @model_validator(mode="after")
    def _leaves_room_for_children(self) -> GeneticSettings:
        if self.n_conserve >= self.population:
            raise ValueError(
                f"n_conserve = {self.n_conserve} of population = {self.population} "
                "leaves no room for children"
            )
        return self


class GeneticAlgorithm:
    """Evolves codes by selection, crossover and mutation.

    Args:
        settings: A preset and its overrides.
        sample_codes: Draws the first population.
        random: The only source of randomness.
    """

    Settings = GeneticSettings

    def __init__(
        self, settings: GeneticSettings, sample_codes: CodeSampler, random: np.random.Generator
    ) -> None:
        self._settings = settings
        self._random = random
        self._turns = Turns()
        self._annealing = 1.0
        self._population = np.asarray(sample_codes(settings.population, random), np.float32)

    def ask(self) -> Codes:
        """The population to show, `(population, code_dim) float32`."""
        return self._turns.ask(self._population)

    def adopt(self, codes: Codes) -> None:
        """See `protocols.interfaces.AdoptingOptimizer`."""
        self._turns.adopt(codes)

    def tell(self, codes: Codes, fitness: NDArray[np.float64]) -> None:
        """Breed the next population from `fitness` `(population,)`, NaN where not measured.

        If nothing was measured, the same codes are asked for again.
        """
        order = self._turns.tell(codes, fitness)
        ranked, scores = codes[order], fitness[order]
        n_measured = int(np.count_nonzero(~np.isnan(scores)))
        if n_measured == 0:
            return
        parents, unmeasured = ranked[:n_measured], ranked[n_measured:]
        n_kept = min(self._settings.n_conserve, n_measured)
        children = self._children(parents, scores[:n_measured], n_measured - n_kept)
        self._population = np.concatenate([unmeasured, parents[:n_kept], children])
        self._annealing = max(self._annealing * self._settings.mutation_decay, MUTATION_FLOOR)

    def _children(self, parents: Codes, scores: NDArray[np.float64], n: int) -> Codes:
        """`(n, code_dim)`: children of `parents` `(m, code_dim)` with fitness `scores` `(m,)`."""
        settings, draw = self._settings, self._random
        pairs = draw.choice(len(parents), size=(n, 2), p=self._chances(scores))
        shape = (n, parents.shape[1])
        from_first = draw.random(shape, dtype=np.float32) < settings.heritability
        children = np.where(from_first, parents[pairs[:, 0]], parents[pairs[:, 1]])
        mutates = draw.random(shape, dtype=np.float32) < settings.mutation_rate
        size = np.float32(settings.mutation_size * self._annealing)
        steps = draw.standard_normal(shape, dtype=np.float32) * size
        return np.asarray(children + np.where(mutates, steps, np.float32(0)), np.float32)

    def _chances(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each code's chance `(m,)` to be drawn as a parent."""
        clipped = np.minimum(scores, np.percentile(scores, CLIP_PERCENTILE))
        kt = max(self._settings.temperature * float(np.std(scores)), KT_FLOOR)
        weights = np.exp((clipped - clipped.max()) / kt)
        return np.asarray(weights / weights.sum(), np.float64)
