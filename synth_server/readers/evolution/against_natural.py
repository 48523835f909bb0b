"""Evolved against natural images: means, gains and effects with 95 % confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from protocols.seeds import random_stream
from protocols.vocabulary import Role
from synth_server.readers.evolution.comparison_documents import (
    Comparison,
    MeasuredIn,
    SiteComparison,
)
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.statistics.bootstrap import (
    Floats,
    ImageSample,
    Sampled,
    average_of,
    estimate,
    mean_over,
    ratio,
)
from synth_server.readers.statistics.significance import cohens_d, difference_p


class Candidate(NamedTuple):
    """A natural image: the counts that may choose it, and those that then score it."""

    id: str
    role: Role
    choosing: Floats
    scoring: Floats


class Comparing:
    """Compares images of one thread, with random streams of its own."""

    def __init__(self, thread: EvolvedThread, seed: int, measured_in: MeasuredIn) -> None:
        self._thread, self._seed, self._in = thread, seed, measured_in
        self._columns = [thread.site_ids.index(site) for site in thread.sites]

    def compared(
        self, evolved: Sequence[Floats], folds: Sequence[Sequence[Candidate]], how: str
    ) -> Comparison:
        """Evolved images, `(n_repetitions, n_sites)` counts each, against natural ones.

        In each fold the best natural image is chosen anew; what is reported is the folds' mean. `how`
        says by what it is chosen.
        """
        made = [
            ImageSample(counts, self._random("evolved", str(i))) for i, counts in enumerate(evolved)
        ]
        natural = self._natural(folds)
        best = [chosen for fold in folds if (chosen := self._best(fold)) is not None]
        rivals = [
            ImageSample(each.scoring, self._random("best natural", str(i)))
            for i, each in enumerate(best)
        ]
        others = self._others(folds, natural)
        ours = self._mean_count(made, "evolved images")
        showings = self._showings(evolved)
        best_showings = self._showings([each.scoring for each in best])
        means = [self._mean(sample) for sample in natural.values()]
        return Comparison(
            measured_in=self._in,
            n_evolved=len(evolved),
            n_evolved_showings=len(showings),
            n_natural=len(natural),
            n_other_natural=len(others),
            n_best_natural_showings=len(best_showings),
            evolved=estimate(ours),
            other_natural=estimate(self._mean_count(others, "natural images")),
            best_natural=estimate(average_of([self._count(each) for each in rivals])),
            best_of=len({each.id for each in self._thread.natural} | natural.keys()),
            best_natural_ids=tuple(dict.fromkeys(each.id for each in best)),
            best_natural_names=tuple(dict.fromkeys(self._thread.labels[each.id] for each in best)),
            chosen_by=how if best else "",
            gain=estimate(ratio(ours, average_of([self._count(each) for each in rivals]))),
            gain_over_highest=_quotient(ours, max(means, default=0.0)),
            score_difference=estimate(self._score_difference(made, rivals)),
            effect_size=estimate(cohens_d(showings, best_showings, self._random("effect size"))),
            p_best_natural=difference_p(showings, best_showings, self._random("showings")),
            p_natural=difference_p(
                np.array([self._mean(sample) for sample in made]),
                np.array(means),
                self._random("images"),
            ),
            sites=tuple(
                self._site(site, column, made, rivals)
                for site, column in zip(self._thread.sites, self._columns, strict=True)
            ),
        )

    def _natural(self, folds: Sequence[Sequence[Candidate]]) -> dict[str, ImageSample]:
        """Every natural image with all the counts that score it in one fold or another."""
        scoring: dict[str, list[Floats]] = {}
        for each in (candidate for fold in folds for candidate in fold):
            scoring.setdefault(each.id, []).append(each.scoring)
        return {
            stimulus_id: ImageSample(np.concatenate(counts), self._random("natural", stimulus_id))
            for stimulus_id, counts in scoring.items()
        }

    def _others(
        self, folds: Sequence[Sequence[Candidate]], natural: dict[str, ImageSample]
    ) -> list[ImageSample]:
        """Those that are not there for being best; all, if that is why all are there."""
        others = {each.id for each in folds[0] if each.role is not Role.BEST_NATURAL}
        return [
            natural[stimulus_id] for stimulus_id in natural if stimulus_id in others or not others
        ]

    def _best(self, fold: Sequence[Candidate]) -> Candidate | None:
        """By the objective's score of the counts that may choose; None if one image has none."""
        if not fold or not all(len(each.choosing) and len(each.scoring) for each in fold):
            return None
        scores = self._score(np.array([each.choosing.mean(axis=0) for each in fold]))
        return fold[int(np.argmax(scores))]

    def _site(
        self, site: str, column: int, made: Sequence[ImageSample], rivals: Sequence[ImageSample]
    ) -> SiteComparison:
        ours = mean_over([sample.at(column) for sample in made], self._random("evolved images"))
        theirs = average_of([sample.at(column) for sample in rivals])
        return SiteComparison(
            site=site,
            evolved=estimate(ours),
            best_natural=estimate(theirs),
            gain=estimate(ratio(ours, theirs)),
        )

    def _score_difference(
        self, made: Sequence[ImageSample], rivals: Sequence[ImageSample]
    ) -> Sampled | None:
        ours = mean_over(
            [self._sampled_score(each) for each in made], self._random("evolved images")
        )
        theirs = average_of([self._sampled_score(each) for each in rivals])
        if ours is None or theirs is None:
            return None
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

    def _mean(self, sample: ImageSample) -> float:
        return float(sample.mean[self._columns].mean())

    def _count(self, sample: ImageSample) -> Sampled:
        return Sampled(self._mean(sample), sample.resampled_means()[:, self._columns].mean(axis=1))

    def _mean_count(self, samples: Sequence[ImageSample], name: str) -> Sampled | None:
        return mean_over([self._count(sample) for sample in samples], self._random(name))

    def _showings(self, images: Sequence[Floats]) -> Floats:
        """Every showing's count, over the driven sites `(n,)`."""
        return np.concatenate([np.empty(0), *(n[:, self._columns].mean(axis=1) for n in images)])

    def _random(self, *path: str) -> np.random.Generator:
        return random_stream(self._seed, "report", self._thread.name, self._in, *path)


def _quotient(above: Sampled | None, below: float) -> float | None:
    return above.value / below if above is not None and below > 0 else None
