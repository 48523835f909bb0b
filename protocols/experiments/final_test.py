"""The test at the end: evolved against natural images, in the same minutes, each shown many times.

Curves over generations compare a few noisy showings, and whatever drifts. Here the best evolved
images of the last generations are shown among the best natural images and others drawn at random.
All were chosen by earlier counts, and are judged by new ones: luck in the choice is no gain.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from protocols.digests import image_id
from protocols.experiments.comparison import Stimuli, best_natural
from protocols.experiments.normalisation import Floats, mean_of_measured
from protocols.experiments.passes import LABEL_LENGTH, StimulusSet
from protocols.interfaces import Objective, PhotographSet
from protocols.vocabulary import Block, Codes, Images, Role, Timing

LABEL = "test"
LAST_GENERATIONS = 5
"""Whose images are candidates."""


class Generation(NamedTuple):
    """A generation, and what its images and the references scored; NaN where not measured."""

    number: int
    codes: Codes
    images: Images
    fitness: Floats
    """`(population,)`"""
    reference_scores: Floats
    """`(n_references,)`"""
    evolved: Floats
    """`(population, n_sites)`: counts on the evolution's scale."""
    references: Floats
    """`(n_references, n_sites)`: the same of the references."""


class Evolved(NamedTuple):
    """Evolved images `(n, h, w, 3)` with their codes, best first, and a label each."""

    images: Images
    codes: Codes
    labels: tuple[str, ...]


class ScoredPhotographs(NamedTuple):
    """Natural images and their scores `(n,)`, NaN where not measured."""

    photographs: PhotographSet
    scores: Floats

    def best(self, n: int) -> tuple[int, ...]:
        """Which `n` scored highest."""
        return best_natural({"": self.scores}, n)[""]


class Candidates:
    """Remembers the last generations, and what the references scored in all."""

    def __init__(self) -> None:
        self._last: deque[Generation] = deque(maxlen=LAST_GENERATIONS)
        self._reference_scores: list[Floats] = []
        self._references: list[Floats] = []

    def __bool__(self) -> bool:
        """Whether there was a generation."""
        return bool(self._last)

    def add(self, generation: Generation) -> None:
        """Take note of a generation that was measured."""
        self._last.append(generation)
        self._reference_scores.append(generation.reference_scores)
        self._references.append(generation.references)

    def score_again(self, objective: Objective, site_ids: Sequence[str]) -> None:
        """Go by another objective, as if it had been the evolution's from the beginning."""
        again = [
            each._replace(
                fitness=objective(each.evolved, site_ids),
                reference_scores=objective(each.references, site_ids),
            )
            for each in self._last
        ]
        self._last = deque(again, maxlen=LAST_GENERATIONS)
        self._reference_scores = [objective(each, site_ids) for each in self._references]

    def reference_scores(self) -> Floats:
        """`(n_references,)`: means over the generations."""
        return mean_of_measured(np.array(self._reference_scores))

    def evolved(self, n: int) -> Evolved:
        """The `n` images with the highest fitness, all different.

        The fitness of an image that came in several generations is averaged, and shrunk towards the
        mean of all as if it had been shown once more and had drawn that: one lucky count does not
        beat a good image that was seen five times.
        """
        images = np.concatenate([each.images for each in self._last])
        codes = np.concatenate([each.codes for each in self._last])
        fitness = np.concatenate([each.fitness for each in self._last])
        numbers = np.concatenate([[each.number] * len(each.codes) for each in self._last])
        showings = _rows_by_image(images, fitness)
        overall = fitness[np.isfinite(fitness)].mean() if showings else 0.0
        shrunk = [(fitness[rows].sum() + overall) / (len(rows) + 1) for rows in showings]
        best = [showings[place] for place in best_natural({"": np.array(shrunk)}, n)[""]]
        chosen = [rows[-1] for rows in best]
        labels = [
            f"generation {numbers[rows[-1]]}, fitness {fitness[rows].mean():.4g}" for rows in best
        ]
        return Evolved(images[chosen], codes[chosen], tuple(labels))


def _rows_by_image(images: Images, fitness: Floats) -> list[list[int]]:
    """For each different image that was measured, its rows."""
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(np.isfinite(fitness)).tolist():
        rows.setdefault(image_id(images[row]), []).append(row)
    return list(rows.values())


def compared(
    evolved: Evolved,
    references: ScoredPhotographs,
    start: ScoredPhotographs | None,
    n_natural: int,
    random: np.random.Generator,
) -> Stimuli:
    """The evolved images, the best natural ones, and as many others of the references.

    The best of what an evolution started from are shown as well.
    """
    stimuli = Stimuli()
    for image, label in zip(evolved.images, evolved.labels, strict=True):
        stimuli.add(image, Role.EVOLVED, label)
    for known in (references, *([start] if start else [])):
        for i in known.best(n_natural):
            natural = known.photographs
            stimuli.add(natural.images[i], Role.BEST_NATURAL, natural.names[i])
    natural, n_shown = references.photographs, len(stimuli)
    for i in random.permutation(len(natural.images)):
        if len(stimuli) < n_shown + n_natural:
            stimuli.add(natural.images[i], Role.REFERENCE, natural.names[i])
    return stimuli


def final_block(
    stimuli: StimulusSet,
    codes: Codes,
    repetitions: int,
    random: np.random.Generator,
    timing: Timing,
) -> Block:
    """Every image once before any is shown again, each pass in a new random order.

    Args:
        stimuli: What is tested.
        codes: `(n, code_dim)` of the first of them.
        repetitions: Showings of each.
        random: Draws the order.
        timing: Of the block.
    """
    n = len(stimuli.images)
    return Block.of(
        stimuli.images,
        roles=stimuli.roles,
        labels=[label[-LABEL_LENGTH:] for label in stimuli.labels],
        order=np.concatenate([random.permutation(n) for _ in range(repetitions)]),
        label=LABEL,
        codes=codes if len(codes) else None,
        timing=timing,
    )
