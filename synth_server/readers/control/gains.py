"""Gains of synthesised images over natural images and other controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Role
from synth_server.readers.log.synthesised_images import ControlRecord, ControlThread, ShownImage
from synth_server.readers.statistics.bootstrap import (
    Estimate,
    Floats,
    ImageSample,
    Sampled,
    average_of,
    estimate,
    highest_of,
    mean_over,
    median_over,
    ratio,
)

FLAT = 1e-9


class PopulationResponse(Frozen):
    """A site's mean response, in standard deviations over the natural images."""

    site: str
    synthesised: float
    best_natural: float | None


class SiteControl(Frozen):
    """What synthesis gained at a site; counts are mean spikes in the count window.

    Attributes:
        synthesised: Mean over the images made for it.
        best_natural: The best of its best natural images: chosen by one half of its showings in the
            test, measured by the other, and the other way round.
        contrast_enhanced: The best of these with their contrast raised, in the same way.
        noise: Mean over the images that the synthesis of each seed began from.
        others: Mean over the images that were made for other targets.
        gain: `synthesised / best_natural`.
        uniqueness: `synthesised / others`.
        score: Mean over the images made for it of the softmax of z-scored responses, at the site.
        natural_score: Such a score of the best of its best natural images, in the same way.
        score_ratio: `score / natural_score`.
        population: Mean z-scored response of every site to the images made for this one.
    """

    site: str
    n_images: int
    synthesised: Estimate
    best_natural: Estimate
    best_natural_name: str
    contrast_enhanced: Estimate
    noise: Estimate
    others: Estimate
    gain: Estimate
    uniqueness: Estimate
    score: Estimate
    natural_score: Estimate
    score_ratio: Estimate
    population: tuple[PopulationResponse, ...]


class ControlSummary(Frozen):
    """What synthesis gained in a thread.

    Attributes:
        best_of: Natural images from which the best of each site were chosen; of the mapping, or all
            that were shown.
        share_above_1: Of the sites with a gain.
    """

    thread: str
    aim: str
    best_of: int
    median_gain: Estimate
    share_above_1: float | None
    median_score_ratio: Estimate
    median_uniqueness: Estimate
    sites: tuple[SiteControl, ...]


def summaries(record: ControlRecord) -> tuple[ControlSummary, ...]:
    """One for each thread that has shown synthesised images."""
    seed = record.settings.seed if record.settings else 0
    return tuple(
        summary_of(thread, thread.aim, seed)
        for thread in record.threads.values()
        if thread.aim is not None
    )


def summary_of(thread: ControlThread, aim: Role, seed: int) -> ControlSummary:
    """Of one thread; `aim`: the role of the images that it made."""
    return _Gains(thread, aim, seed).summary()


class _Scale(NamedTuple):
    """Mean and sd over natural images, of the sites that vary, `(n,)`; and their columns."""

    mean: Floats
    sd: Floats
    columns: list[int]


class _Site(NamedTuple):
    """A site's figures, and what the medians over sites need."""

    control: SiteControl
    gain: Sampled | None
    score_ratio: Sampled | None
    uniqueness: Sampled | None


class _Gains:
    """Computes a thread's summary."""

    def __init__(self, thread: ControlThread, aim: Role, seed: int) -> None:
        self._thread, self._aim, self._seed = thread, aim, seed
        self._scale = _scale(thread)
        self._samples: dict[tuple[str, Role], ImageSample] = {}

    def summary(self) -> ControlSummary:
        """Of all its targets."""
        sites = [self._site(site) for site in self._thread.targets]
        gains = [site.gain for site in sites if site.gain is not None]
        random = self._random("sites")
        return ControlSummary(
            thread=self._thread.name,
            aim=self._aim.value,
            best_of=len(
                self._thread.images(Role.NATURAL) or self._thread.images(Role.BEST_NATURAL)
            ),
            median_gain=estimate(median_over(gains, random)),
            share_above_1=float(np.mean([g.value > 1 for g in gains])) if gains else None,
            median_score_ratio=estimate(_median([s.score_ratio for s in sites], random)),
            median_uniqueness=estimate(_median([s.uniqueness for s in sites], random)),
            sites=tuple(site.control for site in sites),
        )

    def _site(self, site: str) -> _Site:
        thread, column, random = self._thread, self._thread.site_ids.index(site), self._random(site)
        made = thread.images(self._aim, site)
        others = [image for image in thread.images(self._aim) if site not in image.targets]
        natural = thread.images(Role.BEST_NATURAL, site)
        enhanced = thread.images(Role.CONTRAST_ENHANCED, site)

        synthesised = mean_over(self._at(made, column), random)
        best = self._best(natural, lambda sample: sample.at(column))
        noise = mean_over(self._at(thread.images(Role.NOISE, site), column), random)
        elsewhere = mean_over(self._at(others, column), random)
        score = mean_over(self._scores(made, column), random)
        natural_scores = self._scores(natural, column)
        score_at = partial(self._score, column=column)
        natural_score = self._best(natural, score_at) if natural_scores else None
        gain, score_ratio = ratio(synthesised, best), ratio(score, natural_score)
        uniqueness = ratio(synthesised, elsewhere)
        control = SiteControl(
            site=site,
            n_images=len(made),
            synthesised=estimate(synthesised),
            best_natural=estimate(best),
            best_natural_name=self._best_name(natural, column),
            contrast_enhanced=estimate(self._best(enhanced, lambda sample: sample.at(column))),
            noise=estimate(noise),
            others=estimate(elsewhere),
            gain=estimate(gain),
            uniqueness=estimate(uniqueness),
            score=estimate(score),
            natural_score=estimate(natural_score),
            score_ratio=estimate(score_ratio),
            population=self._population(made, natural, natural_scores),
        )
        return _Site(control, gain, score_ratio, uniqueness)

    def _sample(self, image: ShownImage) -> ImageSample:
        key = (image.id, image.role)
        if key not in self._samples:
            random = self._random(image.id, image.role.value)
            self._samples[key] = ImageSample(np.concatenate(image.counts), random)
        return self._samples[key]

    def _best(
        self, images: Sequence[ShownImage], value: Callable[[ImageSample], Sampled]
    ) -> Sampled | None:
        """The best of several images, without the luck of being the highest of several means.

        One half of the showings chooses it, the other half measures it; and the other way round. Images
        that were shown once give the highest of all, which errs high.
        """
        counts = [np.concatenate(image.counts) for image in images]
        if min(map(len, counts), default=0) < 2:
            return highest_of([value(self._sample(image)) for image in images])
        halves = [
            [
                value(
                    ImageSample(each[half::2], self._random(image.id, image.role, f"half {half}"))
                )
                for image, each in zip(images, counts, strict=True)
            ]
            for half in (0, 1)
        ]
        chosen = [int(np.argmax([each.value for each in half])) for half in reversed(halves)]
        return average_of([half[best] for half, best in zip(halves, chosen, strict=True)])

    def _at(self, images: Sequence[ShownImage], column: int) -> list[Sampled]:
        return [self._sample(image).at(column) for image in images]

    def _scores(self, images: Sequence[ShownImage], column: int) -> list[Sampled]:
        """Softmax at the site; none if the natural images were not measured, or it never varied."""
        if self._scale is None or column not in self._scale.columns:
            return []
        return [self._score(self._sample(image), column) for image in images]

    def _score(self, sample: ImageSample, column: int) -> Sampled:
        place = self._scale.columns.index(column) if self._scale else 0
        value = self._softmax(sample.mean[None])[0, place]
        return Sampled(value, self._softmax(sample.resampled_means())[:, place])

    def _softmax(self, means: Floats) -> Floats:
        """`(n, n_sites)` mean counts → `(n, n_varying)` shares that sum to 1."""
        logits = self._z(means) / self._thread.temperature
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares: Floats = powers / powers.sum(axis=1, keepdims=True)
        return shares

    def _z(self, means: Floats) -> Floats:
        if self._scale is None:
            return np.empty((len(means), 0))
        z: Floats = (means[:, self._scale.columns] - self._scale.mean) / self._scale.sd
        return z

    def _best_name(self, natural: Sequence[ShownImage], column: int) -> str:
        ranked = sorted(natural, key=lambda image: -self._sample(image).mean[column])
        return self._thread.names[ranked[0].id] if ranked else ""

    def _population(
        self,
        made: Sequence[ShownImage],
        natural: Sequence[ShownImage],
        scores: Sequence[Sampled],
    ) -> tuple[PopulationResponse, ...]:
        if self._scale is None or not made:
            return ()
        ours = self._z(np.array([self._sample(image).mean for image in made])).mean(axis=0)
        ranked = sorted(zip(scores, natural, strict=False), key=lambda pair: -pair[0].value)
        theirs = self._z(self._sample(ranked[0][1]).mean[None])[0] if ranked else None
        return tuple(
            PopulationResponse(
                site=self._thread.site_ids[index],
                synthesised=float(ours[place]),
                best_natural=None if theirs is None else float(theirs[place]),
            )
            for place, index in enumerate(self._scale.columns)
        )

    def _random(self, *path: str) -> np.random.Generator:
        return random_stream(self._seed, "report", self._thread.name, *path)


def _scale(thread: ControlThread) -> _Scale | None:
    """From the mapping; None if there was none."""
    natural = thread.images(Role.NATURAL)
    if len(natural) < 2:
        return None
    means = np.array([np.concatenate(image.counts).mean(axis=0) for image in natural])
    mean, sd = means.mean(axis=0), means.std(axis=0)
    columns = [int(i) for i in np.flatnonzero(sd > FLAT)]
    return _Scale(mean[columns], sd[columns], columns) if len(columns) > 1 else None


def _median(each: Sequence[Sampled | None], random: np.random.Generator) -> Sampled | None:
    return median_over([one for one in each if one is not None], random)
