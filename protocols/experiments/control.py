"""Control neurons by an encoder's images, in one session (Bashivan, Kar & DiCarlo 2019).

Map responses to natural images, fit an encoder to them, synthesise images, show these among their
controls. What an image is made for is the *aim*; `stretch` and `one_hot_population` have one each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from functools import cache
from typing import Annotated, NamedTuple, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from protocols.errors import DataError, SettingsError
from protocols.experiments.check import CheckSettings, checked
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
from protocols.experiments.site_choice import LEAST_FOR_RELIABILITY, BestTargets, chosen_targets
from protocols.interfaces import (
    Apparatus,
    Encoder,
    EncoderFit,
    PhotographSet,
    Plan,
)
from protocols.settings import Frozen, ObjectiveChoice, PluginChoice
from protocols.vocabulary import Block, BlockResponses, Images, Role, SiteId, Timing

logger = logging.getLogger(__name__)
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
    sessions: tuple[str, ...] = Field(
        default=(), description="logs of earlier days; the encoder is fitted to them"
    )
    mixed: bool = Field(
        default=False, description="with `sessions`: other count windows or places are let pass"
    )
    check: CheckSettings | None = Field(
        default=None, description="with `encoder` or `sessions`: whether it still predicts today"
    )
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
        if self.encoder is not None and self.sessions:
            raise ValueError("encoder and sessions are two ways to give an encoder: choose one")
        if self.candidates is not None and not self.has_encoder:
            raise ValueError("candidates need an encoder: without a mapping none can be fitted")
        if self.check is not None and not self.has_encoder:
            raise ValueError("a check needs an encoder or sessions: one fitted today needs none")
        if self.candidates is not None and not all(self.candidates.values()):
            raise ValueError("every target of candidates needs at least one image")
        if len(set(self.named_targets)) < len(self.named_targets):
            raise ValueError("a target is named twice")
        if isinstance(self.targets, BestTargets) and self.candidates is not None:
            raise ValueError("the best targets are chosen by a mapping: candidates leave it out")
        return self

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder is there before anything is shown."""
        return self.encoder is not None or bool(self.sessions)

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

    def without(self, sites: Collection[str]) -> Scale:
        """Of the other sites."""
        mean, sd = (
            {site: value for site, value in part.items() if site not in sites} for part in self
        )
        return Scale(mean, sd)


class Aim(NamedTuple):
    """What images are made for."""

    role: Role
    objective: Callable[[str, Callable[[], Scale]], ObjectiveChoice]
    """Given a target, and how natural images drive the population, what its images maximise."""
    least_sites: int = 1
    """In the population. Where it is more than one, a rig must record all that an encoder predicts."""


Best: TypeAlias = Mapping[str, Sequence[int]]
"""Target → which natural images drove it best."""
CONTROL_STEERS = ("finish", "drop_site", "retarget", "place")
"""What these experiments act on while they run."""


class Mapped(NamedTuple):
    """An encoder, whom images are made for, and what natural images did."""

    encoder: Encoder
    targets: tuple[str, ...]
    best: Callable[[Sequence[str]], Best]
    """Of these targets."""
    known: Known | None = None
    """Unless the encoder was given."""


def control(settings: ControlSettings, apparatus: Apparatus, aim: Aim) -> Plan:
    """Map, fit, synthesise, learn; then show all images in random order, again and again.

    Told to finish, the mapping ends with its first whole pass, and rounds with the block that was
    shown; then comes the test, which goes on whatever it is told, but for images that were made for
    sites that are dropped. A site that is dropped is fitted no more either. Other targets hold from the
    next round, or for the test. Without any target left, the thread ends.
    """
    photographs = distinct(
        apparatus.photographs(settings.images, settings.n_images, settings.image_size_px)
    )
    synthesis = apparatus.synthesis(settings.synthesis, photographs.images)
    if settings.has_encoder:
        found = yield from _given(settings, apparatus, photographs, aim)
        equipment = None
    else:
        fit = apparatus.encoder_fit(settings.fit)
        equipment = _equipment(settings, apparatus, fit, photographs.images)
        found = yield from _mapped(settings, apparatus, photographs, aim, fit)

    stream = apparatus.random_stream("synthesis seeds")
    seeds = stream.choice(SEED_RANGE, size=settings.n_seeds, replace=False).tolist()
    goals = Goals(found, apparatus, aim, photographs.images)
    encoder, known, learning = found.encoder, found.known, settings.learning
    if equipment and known:
        encoder = yield from learn(
            known, encoder, goals.now, learning, equipment, aim.role, settings.timing
        )
    wanted = goals.now()
    if not wanted:
        logger.warning("no target is left to make images for: the thread ends without a test")
        return
    if equipment and known:
        made = for_test(known, encoder, wanted, learning, equipment.from_best, seeds)
    else:
        made = synthesis(encoder, {site: goal.choice for site, goal in wanted.items()}, seeds)
    comparison = settings.comparison
    noise = synthesis.starting_images(seeds)
    stimuli = compared(
        made,
        encoder.site_ids,
        aim.role,
        photographs,
        found.best(list(wanted)),
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
        wanted=apparatus.steering.is_wanted,
    )


class Goals:
    """What images are made for now: the plan's targets, or what people made of them.

    Args:
        found: By the mapping.
        apparatus: Gives objectives, and what people said.
        aim: What images are made for.
        natural: Photographs, by which rates are brought to one scale.
    """

    def __init__(self, found: Mapped, apparatus: Apparatus, aim: Aim, natural: Images) -> None:
        self._found, self._apparatus, self._aim = found, apparatus, aim
        self._scale = cache(
            lambda: Scale.of(found.encoder.predict(natural), found.encoder.site_ids)
        )
        self._known: tuple[int, dict[str, Goal]] = (-1, {})

    def now(self) -> Mapping[str, Goal]:
        """Target → what its images are made for; none if all were dropped."""
        steering = self._apparatus.steering
        if self._known[0] != steering.n_aims:
            self._known = steering.n_aims, self._made()
        return self._known[1]

    def _made(self) -> dict[str, Goal]:
        steering, predicted = self._apparatus.steering, self._found.encoder.site_ids
        able = [site for site in predicted if site not in steering.dropped]
        targets = steering.targets(self._found.targets, able)
        if len(able) < self._aim.least_sites:
            targets = ()
        choices = {
            site: self._aim.objective(site, lambda: self._scale().without(steering.dropped))
            for site in targets
        }
        return {
            site: Goal(choice, self._apparatus.objective(choice))
            for site, choice in choices.items()
        }


def _mapped(
    settings: ControlSettings,
    apparatus: Apparatus,
    photographs: PhotographSet,
    aim: Aim,
    fit: EncoderFit,
) -> Generator[Block, BlockResponses, Mapped]:
    """Responses to natural images, and an encoder fitted to them."""
    require_sites(settings.named_targets, apparatus)
    wanted = settings.targets
    least_passes = LEAST_FOR_RELIABILITY if isinstance(wanted, BestTargets) else 1
    measured = yield from mapped(
        photographs, settings.mapping, settings.timing, apparatus, least_passes
    )
    start_s, stop_s = settings.timing.count_window_s
    rates = measured.counts / (stop_s - start_s)
    kept = [n for n, site in enumerate(measured.site_ids) if site not in apparatus.steering.dropped]
    names = tuple(measured.site_ids[n] for n in kept)
    encoder = fit(photographs.images, rates[kept], names)
    targets = _targets(settings, encoder, aim)
    if isinstance(wanted, BestTargets):
        halves = apparatus.random_stream("targets")
        targets = chosen_targets(
            wanted, measured.counts, measured.site_ids, encoder.site_ids, halves
        )
    best = _best_of(settings, apparatus, aim, encoder, Measured(measured.site_ids, rates))
    known = Known(photographs.images, measured, stop_s - start_s)
    return Mapped(encoder, targets, best, known)


def _best_of(
    settings: ControlSettings, apparatus: Apparatus, aim: Aim, encoder: Encoder, measured: Measured
) -> Callable[[Sequence[str]], Best]:
    """Which natural images did best at given targets, by `measured` spikes/s."""
    shared = [site for site in encoder.site_ids if site in measured.site_ids]
    means = measured.means[:, [measured.site_ids.index(site) for site in shared]]
    scale = Scale.of(means, shared)

    def best(targets: Sequence[str]) -> Best:
        scores = {}
        for site in targets:
            objective = apparatus.objective(aim.objective(site, lambda: scale))
            scores[site] = objective(means, shared)
        return best_natural(scores, settings.comparison.best_natural)

    return best


def _equipment(
    settings: ControlSettings, apparatus: Apparatus, fit: EncoderFit, natural: Images
) -> Equipment | None:
    """For rounds, if there are to be any."""
    if not settings.learning.rounds:
        return None
    return Equipment.of(settings.learning, apparatus, fit, natural)


def _given(
    settings: ControlSettings, apparatus: Apparatus, photographs: PhotographSet, aim: Aim
) -> Generator[Block, BlockResponses, Mapped]:
    """An encoder from a file or from earlier days, checked today if asked for; it learns nothing.

    The best natural images are named by the settings, or found by a mapping.
    """
    if settings.encoder is not None:
        encoder = apparatus.encoder(settings.encoder)
    else:
        window_s = None if settings.mixed else settings.timing.count_window_s
        encoder = apparatus.encoder_of_sessions(settings.fit, settings.sessions, window_s)
    targets = _targets(settings, encoder, aim)
    is_alone = aim.least_sites < 2
    is_open = is_alone and isinstance(settings.targets, BestTargets)
    require_sites(() if is_open else targets if is_alone else encoder.site_ids, apparatus)
    named = _named_candidates(settings, photographs, targets)
    if settings.check is not None:
        targets = yield from checked(
            settings.check, encoder, targets, photographs, settings.timing, apparatus
        )
    if named is not None:
        rows = named
        return Mapped(encoder, targets, lambda sites: {site: rows.get(site, ()) for site in sites})
    if not targets:
        return Mapped(encoder, (), lambda _: {})
    least_passes = LEAST_FOR_RELIABILITY if isinstance(settings.targets, BestTargets) else 1
    measured = yield from mapped(
        photographs, settings.mapping, settings.timing, apparatus, least_passes
    )
    if isinstance(settings.targets, BestTargets):
        halves = apparatus.random_stream("targets")
        able = [site for site in targets if site in measured.site_ids]
        targets = chosen_targets(settings.targets, measured.counts, measured.site_ids, able, halves)
    start_s, stop_s = settings.timing.count_window_s
    rates = Measured(measured.site_ids, measured.counts / (stop_s - start_s))
    return Mapped(encoder, targets, _best_of(settings, apparatus, aim, encoder, rates))


def _named_candidates(
    settings: ControlSettings, photographs: PhotographSet, targets: Sequence[str]
) -> Best | None:
    """Natural images that are known to be the best of each target; None if they are to be found."""
    if settings.candidates is None:
        return None
    rows = {name: row for row, name in enumerate(photographs.names)}
    best = {}
    for site in dict.fromkeys((*targets, *settings.candidates)):
        names = settings.candidates.get(site, ())
        unknown = [name for name in names if name not in rows]
        if unknown or not names:
            raise SettingsError(
                f"candidates lack natural images for {site}",
                where="candidates",
                expected=f"names among the {len(rows)} first images of {settings.images}",
                got=", ".join(unknown) or "none",
            )
        best[site] = tuple(rows[name] for name in names[: settings.comparison.best_natural])
    return best


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
