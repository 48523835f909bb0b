"""Control neurons by an encoder's images, in one session (Bashivan, Kar & DiCarlo 2019).

Map responses to natural images, fit an encoder to them, synthesise images, show these among their
controls. What an image is made for is the *aim*; `stretch` and `one_hot_population` have one each.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache
from typing import Annotated, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from protocols.errors import DataError, SettingsError
from protocols.experiments.comparison import best_natural, compared, distinct
from protocols.experiments.mapping import MappingSettings, mapped, require_sites
from protocols.experiments.passes import Measured, passes
from protocols.experiments.rounds import (
    SEED_RANGE,
    Equipment,
    Goal,
    Known,
    LearningSettings,
    for_test,
    learn,
)
from protocols.experiments.site_choice import BestTargets, chosen_targets
from protocols.interfaces import (
    Apparatus,
    Encoder,
    EncoderFit,
    PhotographSet,
    Plan,
    SyntheticImages,
)
from protocols.settings import Frozen, ObjectiveChoice, PluginChoice
from protocols.vocabulary import Block, BlockResponses, Images, Role, SiteId, Timing

FLAT = 1e-6
"""Spikes/s: the least standard deviation by which responses are divided."""


class ComparisonSettings(Frozen):
    """How synthesised images and their controls are shown."""

    best_natural: int = Field(default=3, ge=1, le=100, description="natural images for each target")
    contrast_gain: float = Field(
        default=1.5, ge=1, le=10, description="RMS contrast of their enhanced versions; 1: none"
    )
    noise: bool = Field(default=True, description="show where the synthesis of each seed began")
    repetitions: int = Field(default=20, ge=1, le=1000)
    images_per_block: int = Field(default=50, ge=1, le=1000)


class ControlSettings(Frozen):
    """Settings of an experiment that maps, fits, synthesises and tests."""

    images: str = Field(default="embedded", description="natural: 'embedded', a folder or a zip")
    n_images: int = Field(default=640, ge=2, le=100_000, description="the first n")
    image_size_px: int = Field(default=112, ge=16, le=2048, description="of all images")
    targets: Annotated[tuple[SiteId, ...], Field(min_length=1)] | BestTargets | None = Field(
        default=None, description="sites to make images for, or { best = … }; all if not given"
    )
    n_seeds: int = Field(default=5, ge=1, le=1000, description="images for each target")
    encoder: str | None = Field(default=None, description="a file; fitted here if not given")
    candidates: dict[SiteId, tuple[str, ...]] | None = Field(
        default=None, description="target → its best images, by name: with `encoder`, no mapping"
    )
    mapping: MappingSettings = MappingSettings()
    fit: PluginChoice = PluginChoice(name="two_stage")
    synthesis: PluginChoice = PluginChoice(name="stimloop")
    learning: LearningSettings = LearningSettings()
    comparison: ComparisonSettings = ComparisonSettings()
    timing: Timing = Timing()

    @model_validator(mode="after")
    def _candidates_go_with_an_encoder(self) -> Self:
        if self.candidates is not None and self.encoder is None:
            raise ValueError("candidates need an encoder: without a mapping none can be fitted")
        if self.candidates is not None and not all(self.candidates.values()):
            raise ValueError("every target of candidates needs at least one image")
        if len(set(self.named_targets)) < len(self.named_targets):
            raise ValueError("a target is named twice")
        if isinstance(self.targets, BestTargets) and self.candidates is not None:
            raise ValueError("the best targets are chosen by a mapping: candidates leave it out")
        return self

    @property
    def named_targets(self) -> tuple[SiteId, ...]:
        """Targets that are known beforehand; none where all are, or the best are to be found."""
        return self.targets if isinstance(self.targets, tuple) else ()


class Scale(NamedTuple):
    """Mean and standard deviation over natural images, by site, spikes/s."""

    mean: Mapping[str, float]
    sd: Mapping[str, float]

    @classmethod
    def of(cls, rates: NDArray[np.float64], site_ids: Sequence[str]) -> Self:
        """Of `rates` `(n_images, n_sites)`, NaN where not measured."""
        mean, sd = np.nanmean(rates, axis=0), np.maximum(np.nanstd(rates, axis=0), FLAT)
        return cls(
            dict(zip(site_ids, mean.tolist(), strict=True)),
            dict(zip(site_ids, sd.tolist(), strict=True)),
        )


class Aim(NamedTuple):
    """What images are made for."""

    role: Role
    objective: Callable[[str, Callable[[], Scale]], ObjectiveChoice]
    """Given a target, and how natural images drive the population, what its images maximise."""
    least_sites: int = 1
    """In the population."""


Best: TypeAlias = Mapping[str, Sequence[int]]
"""Target → which natural images drove it best."""


class Mapped(NamedTuple):
    """What a mapping found."""

    encoder: Encoder
    best: Best
    known: Known


def control(settings: ControlSettings, apparatus: Apparatus, aim: Aim) -> Plan:
    """Map, fit, synthesise, learn; then show all images in random order, again and again."""
    photographs = distinct(
        apparatus.photographs(settings.images, settings.n_images, settings.image_size_px)
    )
    synthesis = apparatus.synthesis(settings.synthesis, photographs.images)
    learned: tuple[Known, Equipment] | None = None
    if settings.encoder is not None and settings.candidates is not None:
        encoder, best = _given(settings, apparatus, photographs, aim)
    else:
        fit = _fit(settings, apparatus)
        equipment = _equipment(settings, apparatus, fit, photographs.images)
        mapped = yield from _mapped(settings, apparatus, photographs, aim, fit)
        encoder, best = mapped.encoder, mapped.best
        learned = (mapped.known, equipment) if equipment else None

    stream = apparatus.random_stream("synthesis seeds")
    seeds = stream.choice(SEED_RANGE, size=settings.n_seeds, replace=False).tolist()
    scale = cache(lambda: Scale.of(encoder.predict(photographs.images), encoder.site_ids))
    objectives = {site: aim.objective(site, scale) for site in best}
    if learned:
        goals = {
            site: Goal(choice, apparatus.objective(choice)) for site, choice in objectives.items()
        }
        encoder, made = yield from _learned(settings, encoder, *learned, goals, aim.role, seeds)
    else:
        made = synthesis(encoder, objectives, seeds)
    comparison = settings.comparison
    noise = synthesis.starting_images(seeds)
    stimuli = compared(
        made,
        encoder.site_ids,
        aim.role,
        photographs,
        best,
        comparison.contrast_gain,
        noise if comparison.noise else noise[:0],
    )
    yield from passes(
        stimuli,
        comparison.repetitions,
        comparison.images_per_block,
        apparatus.random_stream("presentation order"),
        settings.timing,
        label="test, repetition",
    )


def _mapped(
    settings: ControlSettings,
    apparatus: Apparatus,
    photographs: PhotographSet,
    aim: Aim,
    fit: EncoderFit,
) -> Generator[Block, BlockResponses, Mapped]:
    """Responses to natural images; an encoder fitted to them, or the given one."""
    require_sites(settings.named_targets, apparatus)
    measured = yield from mapped(photographs, settings.mapping, settings.timing, apparatus)
    start_s, stop_s = settings.timing.count_window_s
    rates = measured.counts / (stop_s - start_s)
    encoder = fit(photographs.images, rates, measured.site_ids)
    targets = _targets(settings, encoder, aim)
    if isinstance(settings.targets, BestTargets):
        halves = apparatus.random_stream("targets")
        wanted = settings.targets
        targets = chosen_targets(
            wanted, measured.counts, measured.site_ids, encoder.site_ids, halves
        )
    columns = [measured.site_ids.index(site) for site in encoder.site_ids]
    means = Measured(measured.site_ids, rates).means[:, columns]
    scale = Scale.of(means, encoder.site_ids)
    scores = {}
    for site in targets:
        objective = apparatus.objective(aim.objective(site, lambda: scale))
        scores[site] = objective(means, encoder.site_ids)
    best = best_natural(scores, settings.comparison.best_natural)
    return Mapped(encoder, best, Known(photographs.images, measured, stop_s - start_s))


def _equipment(
    settings: ControlSettings, apparatus: Apparatus, fit: EncoderFit, natural: Images
) -> Equipment | None:
    """For rounds, if there are to be any: an encoder that was given learns nothing."""
    if settings.encoder is not None or not settings.learning.rounds:
        return None
    return Equipment.of(settings.learning, apparatus, fit, natural)


def _learned(
    settings: ControlSettings,
    encoder: Encoder,
    known: Known,
    equipment: Equipment,
    goals: Mapping[str, Goal],
    role: Role,
    seeds: Sequence[int],
) -> Generator[Block, BlockResponses, tuple[Encoder, SyntheticImages]]:
    """The rounds, and images for the test."""
    learning = settings.learning
    encoder = yield from learn(known, encoder, goals, learning, equipment, role, settings.timing)
    made = for_test(known, encoder, goals, learning, equipment.from_best, seeds)
    return encoder, made


def _fit(settings: ControlSettings, apparatus: Apparatus) -> EncoderFit:
    """What makes an encoder of the responses; or has one already, and looks at none."""
    if settings.encoder is None:
        return apparatus.encoder_fit(settings.fit)
    known = apparatus.encoder(settings.encoder)
    require_sites(known.site_ids, apparatus)
    return lambda *_: known


def _given(
    settings: ControlSettings, apparatus: Apparatus, photographs: PhotographSet, aim: Aim
) -> tuple[Encoder, Best]:
    """An encoder from a file, and natural images that are known to be the best."""
    encoder = apparatus.encoder(settings.encoder or "")
    rows = {name: row for row, name in enumerate(photographs.names)}
    require_sites(encoder.site_ids, apparatus)
    best = {}
    for site in _targets(settings, encoder, aim):
        names = (settings.candidates or {}).get(site, ())
        unknown = [name for name in names if name not in rows]
        if unknown or not names:
            raise SettingsError(
                f"candidates lack natural images for {site}",
                where="candidates",
                expected=f"names among the {len(rows)} first images of {settings.images}",
                got=", ".join(unknown) or "none",
            )
        best[site] = tuple(rows[name] for name in names[: settings.comparison.best_natural])
    return encoder, best


def _targets(settings: ControlSettings, encoder: Encoder, aim: Aim) -> tuple[str, ...]:
    """The targets that the encoder predicts; sites that never varied were left out of the fit."""
    found = tuple(
        site for site in settings.named_targets or encoder.site_ids if site in encoder.site_ids
    )
    if not found or len(encoder.site_ids) < aim.least_sites:
        raise DataError(
            "there is no site that images can be made for",
            where="targets",
            expected=f"one of {', '.join(settings.named_targets or ('all sites',))}, "
            f"among at least {aim.least_sites} that the encoder predicts",
            got=f"predicted: {', '.join(encoder.site_ids)}",
            remedy="choose other targets, or record more sites",
        )
    return found
