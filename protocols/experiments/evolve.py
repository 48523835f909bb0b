"""Evolve images that drive neurons, from their counts alone (Ponce et al. 2019; XDREAM)."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from protocols.experiments.continued import ContinuedSettings, continued
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
from protocols.interfaces import Apparatus, ImageGenerator, Optimizer, PhotographSet, Plan
from protocols.settings import Frozen, GeneratorChoice, ObjectiveChoice, OptimizerChoice
from protocols.vocabulary import Timing


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
    continued: ContinuedSettings | None = Field(
        default=None,
        description="an earlier session's population to go on from, instead of a start",
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
        if self.start is not None and self.continued is not None:
            raise ValueError("start and continued are two ways to begin: choose one")
        return self


@experiment(EvolveSettings, steers=("finish", "drop_site", "retarget", "place"))
def evolve(settings: EvolveSettings, apparatus: Apparatus) -> Plan:
    """Each block: the generation's images and the natural references, in seeded random order.

    Before the first come natural images to start from, if asked for, and after the last a test. Told
    to finish, the generation that was shown is the last; told of other targets, the optimizer goes on
    from where it is, and what is tested is chosen by what it drew at the new ones.
    """
    steering = apparatus.steering
    generator = apparatus.generator(settings.generator)
    objective = apparatus.objective(settings.objective)
    references = apparatus.photographs(
        settings.references, settings.n_references, generator.image_size_px
    )
    check_sites(settings.normalisation, apparatus)
    start, first_codes = None, None
    if settings.continued is not None:
        first_codes = continued(settings.continued, generator, apparatus)
    elif settings.start is not None:
        evolution = Evolution(generator, objective, settings.normalisation, settings.timing)
        start = yield from warm_start(settings.start, evolution, apparatus)
        first_codes = start.sample_codes
    optimizer = apparatus.optimizer(_scheduled(settings), generator, first_codes)
    guide = _guide(settings, apparatus, generator, optimizer)
    company = _company(settings, references, apparatus)
    on_scale = Normaliser(settings.normalisation)
    candidates = Candidates()

    n_aims = steering.n_aims
    if steering.objective is not None:
        objective = apparatus.objective(steering.objective)
        if guide:
            guide.aim(steering.objective, objective)
    for number in range(settings.n_generations):
        if steering.finishing:
            break
        codes, guided = optimizer.ask(), None
        if guide:
            codes, guided = guide.proposed(optimizer, codes)
        images = generator(codes)
        counted = yield from shown(number, codes, images, company, guided)
        on_scale.learn(counted.site_ids, counted.references, counted.blank)
        if steering.n_aims != n_aims and steering.objective is not None:
            n_aims, objective = steering.n_aims, apparatus.objective(steering.objective)
            candidates.score_again(objective, counted.site_ids)
            start = start.scored_again(objective, counted.site_ids) if start else None
            if guide:
                guide.aim(steering.objective, objective)
        evolved, of_references = on_scale(counted.evolved), on_scale(counted.references)
        fitness = objective(evolved, counted.site_ids)
        optimizer.tell(codes, fitness)
        if guide and guided is not None:
            drawn = [(images, evolved), (references.images, of_references)]
            guide.learn(drawn, counted.site_ids, fitness, guided)
        reference_scores = objective(of_references, counted.site_ids)
        candidates.add(
            Generation(number, codes, images, fitness, reference_scores, evolved, of_references)
        )

    if candidates:
        yield from _test(settings, apparatus, candidates, references, start)


def _guide(
    settings: EvolveSettings,
    apparatus: Apparatus,
    generator: ImageGenerator,
    optimizer: Optimizer,
) -> Guide | None:
    """An encoder that proposes codes, if asked for."""
    if settings.guide is None:
        return None
    adopting(optimizer)
    return Guide.of(settings.guide, apparatus, generator, settings.objective)


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
