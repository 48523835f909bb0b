"""Evolve images that drive neurons, from their counts alone (Ponce et al. 2019; XDREAM)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from protocols.experiments.experiment import experiment
from protocols.experiments.final_test import (
    Candidates,
    Generation,
    ScoredPhotographs,
    compared,
    final_block,
)
from protocols.experiments.generation import Company, shown
from protocols.experiments.guide import Guide, GuideSettings, adopting
from protocols.experiments.normalisation import NormalisationSettings, Normaliser, check_sites
from protocols.experiments.warm_start import Evolution, Start, StartSettings, warm_start
from protocols.interfaces import Apparatus, ImageGenerator, Objective, PhotographSet, Plan
from protocols.settings import Frozen, GeneratorChoice, ObjectiveChoice, OptimizerChoice
from protocols.vocabulary import Block, BlockResponses, Timing


class EvolveSettings(Frozen):
    """Settings of an evolution.

    `unmeasured` says what becomes of an image that got no counts (every attempt was aborted):
    `carry_over` leaves it to the optimizer, which keeps its code for the next generation (XDREAM);
    `reshow` shows the generation's missing images again, in blocks of their own, before the
    optimizer moves on (XDREAM's `require_response`).
    """

    n_generations: int = Field(default=40, ge=1, le=100_000)
    generator: GeneratorChoice = GeneratorChoice(name="deep")
    optimizer: OptimizerChoice = OptimizerChoice(name="sphere_ascent")
    objective: ObjectiveChoice = ObjectiveChoice(name="mean_of_sites")
    references: str = Field(default="embedded", description="natural images shown in every block")
    n_references: int = Field(default=20, ge=0, le=1000)
    repetitions: int = Field(default=1, ge=1, le=100)
    unmeasured: Literal["carry_over", "reshow"] = "carry_over"
    max_reshows: int = Field(default=3, ge=0, le=100, description="blocks of missing images")
    start: StartSettings | None = Field(
        default=None, description="natural images to start from; without, the generator's prior"
    )
    guide: GuideSettings | None = Field(
        default=None, description="an encoder proposes part of each generation; without, none does"
    )
    normalisation: NormalisationSettings = NormalisationSettings()
    test_repetitions: int = Field(
        default=10,
        ge=0,
        le=1000,
        description="showings of an image in the test at the end; 0: none",
    )
    n_test_images: int = Field(default=10, ge=1, le=1000, description="evolved images tested")
    n_test_natural: int = Field(
        default=5, ge=1, le=1000, description="best natural images tested, and as many others"
    )
    timing: Timing = Timing()

    @model_validator(mode="before")
    @classmethod
    def _no_test_without_natural_images(cls, values: Any) -> Any:
        """Whoever takes the natural images away, and says nothing of a test, has none."""
        if not isinstance(values, dict) or "test_repetitions" in values:
            return values
        if values.get("n_references") == 0 and values.get("start") is None:
            return {**values, "test_repetitions": 0}
        return values

    @model_validator(mode="after")
    def _references_are_there(self) -> Self:
        least = self.normalisation.least_references
        if self.n_references < least:
            raise ValueError(f"this normalisation needs n_references of at least {least}")
        if self.test_repetitions and not self.n_references and self.start is None:
            raise ValueError("a test needs natural images: n_references above 0, or a start")
        return self


@experiment(EvolveSettings)
def evolve(settings: EvolveSettings, apparatus: Apparatus) -> Plan:
    """Each block: the generation's images and the natural references, in seeded random order.

    Before the first come natural images to start from, if asked for, and after the last a test.
    """
    generator = apparatus.generator(settings.generator)
    objective = apparatus.objective(settings.objective)
    references = apparatus.photographs(
        settings.references, settings.n_references, generator.image_size_px
    )
    check_sites(settings.normalisation, apparatus)
    start = yield from _start(settings, apparatus, generator, objective)
    first_codes = start.sample_codes if start else None
    optimizer = apparatus.optimizer(_scheduled(settings), generator, first_codes)
    guide = None
    if settings.guide is not None:
        adopting(optimizer)
        guide = Guide.of(settings.guide, apparatus, generator, settings.objective)
    company = _company(settings, references, apparatus)
    on_scale = Normaliser(settings.normalisation)
    candidates = Candidates()

    for number in range(settings.n_generations):
        codes, guided = optimizer.ask(), None
        if guide:
            codes, guided = guide.proposed(optimizer, codes)
        images = generator(codes)
        counted = yield from shown(number, codes, images, company, guided)
        on_scale.learn(counted.site_ids, counted.references, counted.blank)
        evolved, natural = on_scale(counted.evolved), on_scale(counted.references)
        fitness = objective(evolved, counted.site_ids)
        optimizer.tell(codes, fitness)
        if guide and guided is not None:
            drawn = [(images, evolved), (references.images, natural)]
            guide.learn(drawn, counted.site_ids, fitness, guided)
        of_references = objective(natural, counted.site_ids)
        candidates.add(Generation(number, codes, images, fitness, of_references))

    yield from _test(settings, apparatus, candidates, references, start)


def _start(
    settings: EvolveSettings, apparatus: Apparatus, generator: ImageGenerator, objective: Objective
) -> Generator[Block, BlockResponses, Start | None]:
    """Natural images to start from, if asked for."""
    if settings.start is None:
        return None
    evolution = Evolution(generator, objective, settings.normalisation, settings.timing)
    return (yield from warm_start(settings.start, evolution, apparatus))


def _company(settings: EvolveSettings, references: PhotographSet, apparatus: Apparatus) -> Company:
    """What each generation is shown among."""
    return Company(
        references,
        settings.normalisation.blanks_a_block,
        settings.repetitions,
        settings.max_reshows if settings.unmeasured == "reshow" else 0,
        settings.timing,
        apparatus.random_stream("presentation order"),
    )


def _test(
    settings: EvolveSettings,
    apparatus: Apparatus,
    candidates: Candidates,
    references: PhotographSet,
    start: Start | None,
) -> Plan:
    """Evolved against natural images, if any of them was ever measured."""
    if not settings.test_repetitions:
        return
    random = apparatus.random_stream("test")
    evolved = candidates.evolved(settings.n_test_images)
    scored = ScoredPhotographs(references, candidates.reference_scores())
    started = ScoredPhotographs(start.natural, start.scores) if start else None
    stimuli = compared(evolved, scored, started, settings.n_test_natural, random)
    if stimuli:
        yield final_block(
            stimuli.all(), evolved.codes, settings.test_repetitions, random, settings.timing
        )


def _scheduled(settings: EvolveSettings) -> OptimizerChoice:
    """An optimizer with a schedule, if not told otherwise, has it over the evolution's generations."""
    choice = settings.optimizer
    if choice.options.get("n_generations", settings.n_generations) is not None:
        return choice
    options = {**choice.options, "n_generations": settings.n_generations}
    return choice.model_copy(update={"options": options})
