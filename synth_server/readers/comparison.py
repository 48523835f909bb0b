"""Evolved against natural images: means, gains and effects with 95 % confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from protocols.seeds import random_stream
from protocols.settings import Frozen
from synth_server.readers.bootstrap import (
    Estimate,
    Floats,
    ImageSample,
    Sampled,
    estimate,
    mean_over,
    ratio,
)
from synth_server.readers.evolved_thread import EvolvedThread
from synth_server.readers.significance import cohens_d, difference_p

MeasuredIn = Literal["test", "generations"]


class SiteComparison(Frozen):
    """One driven site: mean spikes, and `gain = evolved / best_natural`."""

    site: str
    evolved: Estimate
    best_natural: Estimate
    gain: Estimate


class Comparison(Frozen):
    """Evolved against natural images; counts are mean spikes over the sites that are driven.

    Attributes:
        measured_in: The test at the end, or the generations themselves.
        n_evolved: Images; of `generations`, those of the last ones, counted in each anew.
        evolved: Mean over the evolved images.
        natural: Mean over the natural images.
        best_natural: Mean count of the best natural image, on counts that it was not chosen by.
        gain: `evolved / best_natural`.
        gain_over_highest: Evolved ÷ the natural image that came out highest: errs low.
        score_difference: Objective score of the evolved images minus the best natural image's.
        effect_size: Cohen's d of single showings, evolved against the best natural image.
        p_best_natural: Permutation test over showings, evolved against the best natural image.
        p_natural: Permutation test over images, evolved against all natural ones.
    """

    measured_in: MeasuredIn
    n_evolved: int
    n_evolved_showings: int
    n_natural: int
    n_best_natural_showings: int
    evolved: Estimate
    natural: Estimate
    best_natural: Estimate
    best_natural_id: str
    best_natural_name: str
    chosen_by: str
    gain: Estimate
    gain_over_highest: float | None
    score_difference: Estimate
    effect_size: Estimate
    p_best_natural: float | None
    p_natural: float | None
    sites: tuple[SiteComparison, ...]


class Candidate(NamedTuple):
    """A natural image: the counts that may choose it, and those that then score it."""

    id: str
    label: str
    choosing: Floats
    scoring: Floats


class Comparing:
    """Compares images of one thread, with random streams of its own."""

    def __init__(self, thread: EvolvedThread, seed: int, measured_in: MeasuredIn) -> None:
        self._thread, self._seed, self._in = thread, seed, measured_in
        self._columns = [thread.site_ids.index(site) for site in thread.sites]

    def compared(
        self, evolved: Sequence[Floats], candidates: Sequence[Candidate], how: str
    ) -> Comparison:
        """Evolved images, `(n_repetitions, n_sites)` counts each, against natural ones.

        `how` says by what the best candidate is chosen.
        """
        made = [
            ImageSample(counts, self._random("evolved", str(i))) for i, counts in enumerate(evolved)
        ]
        natural = {
            each.id: ImageSample(each.scoring, self._random("natural", each.id))
            for each in candidates
            if len(each.scoring)
        }
        best = self._best(candidates)
        best_sample = natural[best.id] if best else None
        ours, theirs = self._mean_count(made), self._count(best_sample)
        showings = self._showings(evolved)
        best_showings = self._showings([best.scoring] if best else [])
        highest = max((sample.mean[self._columns].mean() for sample in natural.values()), default=0)
        return Comparison(
            measured_in=self._in,
            n_evolved=len(evolved),
            n_evolved_showings=len(showings),
            n_natural=len(natural),
            n_best_natural_showings=len(best_showings),
            evolved=estimate(ours),
            natural=estimate(self._mean_count(list(natural.values()))),
            best_natural=estimate(theirs),
            best_natural_id=best.id if best else "",
            best_natural_name=best.label if best else "",
            chosen_by=how if best else "",
            gain=estimate(ratio(ours, theirs)),
            gain_over_highest=float(ours.value / highest) if ours and highest > 0 else None,
            score_difference=estimate(self._score_difference(made, best_sample)),
            effect_size=estimate(cohens_d(showings, best_showings, self._random("effect size"))),
            p_best_natural=difference_p(showings, best_showings, self._random("best natural")),
            p_natural=difference_p(
                np.array([sample.mean[self._columns].mean() for sample in made]),
                np.array([sample.mean[self._columns].mean() for sample in natural.values()]),
                self._random("all natural"),
            ),
            sites=tuple(
                self._site(site, column, made, best_sample)
                for site, column in zip(self._thread.sites, self._columns, strict=True)
            ),
        )

    def _best(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """By the objective's score of the counts that may choose; None if no image has any."""
        known = [each for each in candidates if len(each.choosing) and len(each.scoring)]
        if not known:
            return None
        scores = self._score(np.array([each.choosing.mean(axis=0) for each in known]))
        return known[int(np.argmax(scores))]

    def _site(
        self, site: str, column: int, made: Sequence[ImageSample], best: ImageSample | None
    ) -> SiteComparison:
        ours = mean_over([sample.at(column) for sample in made], self._random("site", site))
        theirs = None if best is None else best.at(column)
        return SiteComparison(
            site=site,
            evolved=estimate(ours),
            best_natural=estimate(theirs),
            gain=estimate(ratio(ours, theirs)),
        )

    def _score_difference(
        self, made: Sequence[ImageSample], best: ImageSample | None
    ) -> Sampled | None:
        ours = mean_over([self._sampled_score(each) for each in made], self._random("scores"))
        if best is None or ours is None:
            return None
        theirs = self._sampled_score(best)
        return Sampled(ours.value - theirs.value, ours.resamples - theirs.resamples)

    def _sampled_score(self, sample: ImageSample) -> Sampled:
        return Sampled(
            float(self._score(sample.mean[None])[0]), self._score(sample.resampled_means())
        )

    def _score(self, means: Floats) -> Floats:
        """`(n, n_sites)` mean counts → `(n,)`."""
        if self._thread.objective is None:
            return np.full(len(means), np.nan)
        return self._thread.objective(means, self._thread.site_ids)

    def _count(self, sample: ImageSample | None) -> Sampled | None:
        if sample is None:
            return None
        mean = float(sample.mean[self._columns].mean())
        return Sampled(mean, sample.resampled_means()[:, self._columns].mean(axis=1))

    def _mean_count(self, samples: Sequence[ImageSample]) -> Sampled | None:
        counted = [self._count(sample) for sample in samples]
        known = [each for each in counted if each is not None]
        return mean_over(known, self._random("mean", str(len(known))))

    def _showings(self, images: Sequence[Floats]) -> Floats:
        """Every showing's count, over the driven sites `(n,)`."""
        return np.concatenate([np.empty(0), *(n[:, self._columns].mean(axis=1) for n in images)])

    def _random(self, *path: str) -> np.random.Generator:
        return random_stream(self._seed, "report", self._thread.name, self._in, *path)
