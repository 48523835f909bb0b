"""Evolve images that drive neurons, from their counts alone (Ponce et al. 2019; XDREAM)."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from protocols.experiments.experiment import experiment
from protocols.interfaces import Apparatus, Plan
from protocols.settings import Frozen, GeneratorChoice, ObjectiveChoice, OptimizerChoice
from protocols.vocabulary import Block, Role, Timing


class EvolveSettings(Frozen):
    """Settings of an evolution.

    `unmeasured` says what becomes of an image that got no counts (every attempt was aborted):
    `carry_over` leaves it to the optimizer, which keeps its code for the next generation (XDREAM);
    `reshow` shows the generation's missing images again, in blocks of their own, before the
    optimizer moves on (XDREAM's `require_response`).
    """

    n_generations: int = Field(default=40, ge=1, le=100_000)
    generator: GeneratorChoice = GeneratorChoice(name="fourier")
    optimizer: OptimizerChoice = OptimizerChoice(name="genetic", options={"preset": "stimloop"})
    objective: ObjectiveChoice = ObjectiveChoice(name="mean_of_sites")
    references: str = Field(default="embedded", description="natural images shown in every block")
    n_references: int = Field(default=20, ge=0, le=1000)
    repetitions: int = Field(default=1, ge=1, le=100)
    unmeasured: Literal["carry_over", "reshow"] = "carry_over"
    max_reshows: int = Field(default=3, ge=0, le=100, description="blocks of missing images")
    timing: Timing = Timing()


@experiment(EvolveSettings)
def evolve(settings: EvolveSettings, apparatus: Apparatus) -> Plan:
    """Each block: the generation's images and the natural references, in seeded random order."""
    generator = apparatus.generator(settings.generator)
    optimizer = apparatus.optimizer(settings.optimizer, generator)
    objective = apparatus.objective(settings.objective)
    references = apparatus.photographs(
        settings.references, settings.n_references, generator.image_size_px
    )
    shuffle = apparatus.random_stream("presentation order")

    for generation in range(settings.n_generations):
        codes = optimizer.ask()
        images = generator(codes)
        shown = np.concatenate([images, references.images])
        block = Block.of(
            shown,
            roles=[Role.EVOLVED] * len(images) + [Role.REFERENCE] * len(references.images),
            labels=[""] * len(images) + list(references.names),
            order=shuffle.permutation(np.repeat(np.arange(len(shown)), settings.repetitions)),
            label=f"generation {generation}",
            generation=generation,
            codes=codes,
            timing=settings.timing,
        )
        responses = yield block
        mean_counts = responses.mean_by_stimulus(block.stimulus_ids[: len(codes)])
        for again in range(settings.max_reshows if settings.unmeasured == "reshow" else 0):
            missing = np.flatnonzero(np.isnan(mean_counts).all(axis=1))
            if not len(missing):
                break
            retry = Block.of(
                images[missing],
                roles=Role.EVOLVED,
                label=f"generation {generation}, shown again {again + 1}",
                generation=generation,
                codes=codes[missing],
                timing=settings.timing,
            )
            responses = yield retry
            mean_counts[missing] = responses.mean_by_stimulus(retry.stimulus_ids)
        optimizer.tell(codes, objective(mean_counts, responses.site_ids))
