"""Rounds: an encoder makes images, sites answer to them, and the encoder learns from its errors.

An image that an encoder makes is one about which it is most likely wrong: it was climbed to where the
predictions are highest, and errors are among the reasons why they are high (the optimiser's curse).
Shown once, and fitted with all others, it corrects them there. Part of a round's images climb from
scratch and explore; the others climb a little from those that did best so far.

Which did best is not told by noisy counts alone: the best of many is good by luck. See `shrunk`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.digests import image_id
from protocols.experiments.comparison import Stimuli
from protocols.experiments.passes import Measured, StimulusSet, passes
from protocols.interfaces import (
    Apparatus,
    Encoder,
    EncoderFit,
    Objective,
    Synthesis,
    SyntheticImages,
)
from protocols.settings import Frozen, ObjectiveChoice, PluginChoice
from protocols.steering import Steering
from protocols.vocabulary import Block, BlockResponses, Images, Role, Timing

LABEL = "round"
SEED_RANGE = 2**31
LEAST_MADE = 8
"""Images made for a target, from which how wrong an encoder is about such images is told."""
LEAST_ERROR = 0.1
"""Of the mean prediction: the least standard deviation that an encoder's errors are taken to have."""


class LearningSettings(Frozen):
    """Rounds between mapping and test."""

    rounds: int = Field(default=7, ge=0, le=1000, description="0: none")
    n_images: int = Field(
        default=8, ge=1, le=1000, description="new images of a target, each round"
    )
    repetitions: int = Field(default=2, ge=1, le=1000, description="showings of each")
    explore: float = Field(
        default=0.4, ge=0, le=1, description="part of a round's images that climb from scratch"
    )
    n_best: int = Field(
        default=3, ge=1, le=1000, description="of a target's best images, from which others climb"
    )
    emphasis: float = Field(
        default=1.0, gt=0, le=1000, description="weight of a target's own images in the fit"
    )
    images_per_block: int = Field(default=50, ge=1, le=1000)
    test: Literal["measured", "new"] = Field(
        default="measured",
        description="the test's images: a target's best of all rounds, or new ones that climb from them",
    )
    from_scratch: PluginChoice = Field(
        default=PluginChoice(name="quick"), description="synthesis of images that explore"
    )
    from_best: PluginChoice = Field(
        default=PluginChoice(name="short"), description="and of those that climb from the best"
    )


class Goal(NamedTuple):
    """What a target's images are made for: as an encoder is asked, and as counts are scored."""

    choice: ObjectiveChoice
    score: Objective


class Equipment(NamedTuple):
    """What rounds need of an apparatus; made before the first block, so that errors are told then."""

    fit: EncoderFit
    from_scratch: Synthesis
    from_best: Synthesis
    seeds: np.random.Generator
    order: np.random.Generator
    steering: Steering

    @classmethod
    def of(
        cls, settings: LearningSettings, apparatus: Apparatus, fit: EncoderFit, natural: Images
    ) -> Self:
        """From `apparatus`; made images have the mean and contrast of `natural`."""
        return cls(
            fit,
            apparatus.synthesis(settings.from_scratch, natural),
            apparatus.synthesis(settings.from_best, natural),
            apparatus.random_stream("round seeds"),
            apparatus.random_stream("round order"),
            apparatus.steering,
        )


class Known:
    """All images shown so far, for whom they were made, and what they drew.

    Attributes:
        site_ids: The rows of what was counted.
        window_s: In which spikes are counted, s.
    """

    def __init__(self, images: Images, measured: Measured, window_s: float) -> None:
        self.site_ids, self.window_s = measured.site_ids, window_s
        self._images = list(images)
        self._counts: list[NDArray[np.float64]] = list(measured.counts.transpose(1, 0, 2))
        self._made_for: list[tuple[str, ...]] = [()] * len(images)
        self._rows = {image_id(image): row for row, image in enumerate(images)}

    @property
    def images(self) -> Images:
        """`(n, h, w, 3) uint8`, all different."""
        return np.stack(self._images)

    @property
    def rates(self) -> NDArray[np.float64]:
        """`(n_sites, n, n_passes)` spikes/s, NaN where not measured: what an encoder is fitted to."""
        longest = max(counts.shape[1] for counts in self._counts)
        shape = (len(self.site_ids), len(self._counts), longest)
        padded = np.full(shape, np.nan)
        for row, counts in enumerate(self._counts):
            padded[:, row, : counts.shape[1]] = counts
        return padded / self.window_s

    def add(self, stimuli: StimulusSet, measured: Measured) -> None:
        """Take in a round; an image that was shown before only gains counts."""
        for place, image in enumerate(stimuli.images):
            row = self._rows.setdefault(image_id(image), len(self._images))
            counts = measured.counts[:, place]
            if row < len(self._images):
                self._counts[row] = np.concatenate([self._counts[row], counts], axis=1)
                continue
            self._images.append(image)
            self._counts.append(counts)
            self._made_for.append(stimuli.targets[place])

    def emphasis(self, factor: float) -> NDArray[np.float64]:
        """`(n_sites, n)`: `factor` at the site that an image was made for, 1 elsewhere."""
        return np.where(self.made_for(self.site_ids), factor, 1.0)

    def made_for(self, sites: Sequence[str]) -> NDArray[np.bool_]:
        """`(len(sites), n)`: whether an image was made for a site."""
        return np.array([[site in targets for targets in self._made_for] for site in sites])

    def best(self, encoder: Encoder, goals: Mapping[str, Goal], *, made: bool) -> dict[str, Images]:
        """Target → all images, best first by its goal's score of `shrunk`; `made`: those made for it."""
        guesses, images, own = self.shrunk(encoder), self.images, self.made_for(list(goals))
        found = {}
        for row, (target, goal) in enumerate(goals.items()):
            order = np.argsort(-goal.score(guesses, encoder.site_ids), kind="stable")
            found[target] = images[order[own[row, order]] if made else order]
        return found

    def shrunk(self, encoder: Encoder) -> NDArray[np.float64]:
        """`(n, n_predicted)` spikes/s at the encoder's sites: the best guess from both; see `shrunk`."""
        predicted = np.asarray(encoder.predict(self.images), np.float64) * self.window_s
        rows = [self.site_ids.index(site) for site in encoder.site_ids]
        own, counts = self.made_for(encoder.site_ids), self.rates[rows] * self.window_s
        found = [
            shrunk(counts[column], predicted[:, column], own[column]) for column in range(len(rows))
        ]
        return np.stack(found, axis=1) / self.window_s


def shrunk(
    counts: NDArray[np.float64], predicted: NDArray[np.float64], own: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean counts of a site's images, shrunk to what was predicted for them (empirical Bayes).

    A mean of n Poisson counts has a variance of λ / n about its expectation; the expectation itself
    lies about the prediction with a variance τ² of its own, which is what is left of the squared
    errors: τ² = mean((mean − predicted)² − λ / n). The best guess weighs both accordingly (Efron &
    Morris 1975, J. Am. Stat. Assoc. 70: 311).

    Args:
        counts: `(n, n_passes)`, NaN where not measured.
        predicted: `(n,)` counts; also the λ of the noise.
        own: `(n,)`: images made for the site. τ² is told from these if there are enough.

    Returns:
        `(n,)` counts; the prediction where nothing was measured.
    """
    n = np.isfinite(counts).sum(axis=1)
    mean = np.where(n > 0, np.nansum(counts, axis=1) / np.maximum(n, 1), predicted)
    noise = np.maximum(predicted, 1.0) / np.maximum(n, 1)
    told = (n > 0) & own
    told = told if told.sum() >= LEAST_MADE else n > 0
    level = float(np.abs(predicted[told]).mean()) if told.any() else 1.0
    excess = float(np.mean(((mean - predicted) ** 2 - noise)[told])) if told.any() else 0.0
    spread = max(excess, (LEAST_ERROR * level) ** 2)
    weight = np.where(n > 0, spread / (spread + noise), 0.0)
    guess: NDArray[np.float64] = predicted + weight * (mean - predicted)
    return guess


def learn(
    known: Known,
    encoder: Encoder,
    goals_now: Callable[[], Mapping[str, Goal]],
    settings: LearningSettings,
    equipment: Equipment,
    role: Role,
    timing: Timing,
) -> Generator[Block, BlockResponses, Encoder]:
    """All rounds; what they showed is put into `known`, what they learned is returned.

    They end early when the thread is told to finish, or when nobody is left to make images for.
    """
    steering = equipment.steering
    for number in range(1, settings.rounds + 1):
        goals = goals_now()
        if steering.finishing or not goals:
            break
        stimuli = _made(known, encoder, goals, settings, equipment, role, number)
        measured = yield from passes(
            stimuli,
            settings.repetitions,
            settings.images_per_block,
            equipment.order,
            timing,
            label=f"{LABEL} {number}, repetition",
            enough=lambda _: steering.finishing,
            wanted=steering.is_wanted,
        )
        known.add(stimuli, measured)
        kept = [n for n, site in enumerate(known.site_ids) if site not in steering.dropped]
        emphasis = known.emphasis(settings.emphasis)[kept]
        names = tuple(known.site_ids[n] for n in kept)
        encoder = equipment.fit(known.images, known.rates[kept], names, emphasis)
    return encoder


def round_of(label: str) -> int | None:
    """The round that a block with this label is of; None if it is of none."""
    first, _, rest = label.partition(" ")
    number = rest.partition(",")[0]
    return int(number) if first == LABEL and number.isdecimal() else None


def from_best(
    known: Known,
    encoder: Encoder,
    goals: Mapping[str, Goal],
    synthesis: Synthesis,
    seeds: Sequence[int],
    n_best: int,
) -> SyntheticImages:
    """An image for each target and seed, from the target's `n_best` best images in turn."""
    starts = {}
    for target, images in known.best(encoder, goals, made=False).items():
        best = images[:n_best]
        starts[target] = best[np.arange(len(seeds)) % len(best)]
    choices = {target: goal.choice for target, goal in goals.items()}
    return synthesis.improved(encoder, choices, starts, seeds)


def for_test(
    known: Known,
    encoder: Encoder,
    goals: Mapping[str, Goal],
    settings: LearningSettings,
    synthesis: Synthesis,
    seeds: Sequence[int],
) -> SyntheticImages:
    """An image for each target and seed: the best that were made in the rounds, or new ones.

    Counts chose them; the test's own will judge them. For a target that too few were made for, all
    are new.
    """
    chosen, n = known.best(encoder, goals, made=True), len(seeds)
    lacking = [name for name in goals if settings.test == "new" or len(chosen[name]) < n]
    if lacking:
        some = {name: goals[name] for name in lacking}
        new = from_best(known, encoder, some, synthesis, seeds, settings.n_best)
        chosen |= zip(lacking, np.split(new.images, len(lacking)), strict=True)
    images = np.concatenate([chosen[name][:n] for name in goals])
    targets = tuple(target for target in goals for _ in seeds)
    return SyntheticImages(images, targets, tuple(seeds) * len(goals), encoder.predict(images))


def _made(
    known: Known,
    encoder: Encoder,
    goals: Mapping[str, Goal],
    settings: LearningSettings,
    equipment: Equipment,
    role: Role,
    number: int,
) -> StimulusSet:
    """A round's images, those from the best first."""
    drawn = equipment.seeds.choice(SEED_RANGE, size=settings.n_images, replace=False).tolist()
    n_scratch = round(settings.explore * settings.n_images)
    parts: list[tuple[str, SyntheticImages]] = []
    if near := drawn[n_scratch:]:
        made = from_best(known, encoder, goals, equipment.from_best, near, settings.n_best)
        parts.append(("from the best", made))
    if far := drawn[:n_scratch]:
        choices = {target: goal.choice for target, goal in goals.items()}
        parts.append(("from scratch", equipment.from_scratch(encoder, choices, far)))
    stimuli = Stimuli()
    for how, made in parts:
        columns = [encoder.site_ids.index(target) for target in made.targets]
        rates = np.asarray(made.predicted)[np.arange(len(columns)), columns]
        for image, target, rate in zip(made.images, made.targets, rates, strict=True):
            label = f"{LABEL} {number}, {target}, {how}, predicted {rate:.1f} spikes/s"
            stimuli.add(image, role, label, (target,))
    return stimuli.all()
