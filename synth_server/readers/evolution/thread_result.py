"""One evolution in numbers: its curve, its images, what it gained; schema in `docs/reference/results.md`."""

from __future__ import annotations

import numpy as np

from protocols.documents import ThreadSettings
from protocols.settings import Frozen
from protocols.vocabulary import Role
from synth_server.readers.evolution.comparison_documents import Comparison
from synth_server.readers.evolution.gains import compare_in_generations, compare_in_test
from synth_server.readers.evolution.similarity import (
    FeaturesOf,
    ImageOf,
    Similarity,
    last_generation_ids,
    similarity,
)
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.statistics.bootstrap import Floats
from synth_server.readers.statistics.scores import Scores, scores


class GenerationResult(Frozen):
    """One generation: objective scores, and mean counts over the driven sites, over its images."""

    generation: int
    evolved_score: Scores
    reference_score: Scores
    evolved_count: Scores
    reference_count: Scores


class RankedReference(Frozen):
    """A reference image; rank 1 drew the highest mean count over all showings in the generations."""

    rank: int
    id: str
    name: str
    n_showings: int
    mean_count: float
    sem_count: float | None


class LastImage(Frozen):
    """An image of the last generation: what its showings there were worth, which luck is part of."""

    id: str
    score: float
    mean_count: float


class TestedImage(Frozen):
    """An image of the test at the end, and what it drew there."""

    id: str
    role: Role
    name: str
    n_showings: int
    mean_count: float
    sem_count: float | None


class ThreadResult(Frozen):
    """One evolution.

    Attributes:
        sites: Those that the objective drives; counts are means over them.
        generations: Those with counts.
        in_test: Evolved against natural images in the test at the end; None if there was none.
        in_generations: The same from the generations alone.
    """

    thread: str
    sites: tuple[str, ...]
    objective: str
    generator: str
    optimizer: str
    count_start_ms: float
    count_stop_ms: float
    generations: tuple[GenerationResult, ...]
    last_generation: tuple[LastImage, ...]
    references: tuple[RankedReference, ...]
    tested: tuple[TestedImage, ...]
    in_test: Comparison | None
    in_generations: Comparison | None
    similarity: Similarity | None

    @property
    def comparison(self) -> Comparison | None:
        """The test's, if there was one."""
        return self.in_test or self.in_generations


def thread_result(
    seed: int,
    about: ThreadSettings,
    thread: EvolvedThread,
    image_of: ImageOf,
    features_of: FeaturesOf | None,
) -> ThreadResult:
    """The result of a thread that has measured generations; `about` it as the session has it."""
    start_ms, stop_ms = thread.count_window_ms
    return ThreadResult(
        thread=thread.name,
        sites=thread.sites,
        objective=_choice(about, "objective"),
        generator=_choice(about, "generator"),
        optimizer=_choice(about, "optimizer"),
        count_start_ms=start_ms,
        count_stop_ms=stop_ms,
        generations=tuple(_generation(thread, number) for number in thread.measured),
        last_generation=_last_generation(thread),
        references=_references(thread),
        tested=_tested(thread),
        in_test=compare_in_test(thread, seed),
        in_generations=compare_in_generations(thread, seed),
        similarity=similarity(thread, image_of, features_of, seed),
    )


def _choice(about: ThreadSettings, name: str) -> str:
    choice = about.settings.get(name, {})
    options = choice.get("options", {})
    preset = options.get("preset", "")
    return f"{choice.get('name', '')} {preset}".strip()


def _generation(thread: EvolvedThread, number: int) -> GenerationResult:
    generation = thread.generations[number]
    return GenerationResult(
        generation=number,
        evolved_score=scores(generation.evolved),
        reference_score=scores(generation.reference),
        evolved_count=scores(_image_counts(thread, generation.evolved_counts)),
        reference_count=scores(_image_counts(thread, generation.reference_counts)),
    )


def _last_generation(thread: EvolvedThread) -> tuple[LastImage, ...]:
    last = thread.generations[thread.measured[-1]]
    counts = _image_counts(thread, last.evolved_counts)
    found = dict(zip(last.evolved_ids, zip(last.evolved, counts, strict=True), strict=True))
    return tuple(
        LastImage(id=each, score=float(found[each][0]), mean_count=float(found[each][1]))
        for each in last_generation_ids(thread)
    )


def _references(thread: EvolvedThread) -> tuple[RankedReference, ...]:
    counts = thread.counts[Role.REFERENCE]
    shown = {each: scores(_showings(thread, blocks)) for each, blocks in counts.items()}
    ordered = sorted(shown, key=lambda each: -(shown[each].mean or 0.0))
    return tuple(
        RankedReference(
            rank=place + 1,
            id=each,
            name=thread.labels[each],
            n_showings=shown[each].n,
            mean_count=shown[each].mean or 0.0,
            sem_count=shown[each].sem,
        )
        for place, each in enumerate(ordered)
    )


def _tested(thread: EvolvedThread) -> tuple[TestedImage, ...]:
    counts: dict[tuple[str, Role], list[Floats]] = {}
    for each in thread.tested:
        counts.setdefault((each.id, each.role), []).append(each.counts)
    return tuple(
        TestedImage(
            id=stimulus_id,
            role=role,
            name=thread.labels[stimulus_id],
            n_showings=(found := scores(_showings(thread, blocks))).n,
            mean_count=found.mean or 0.0,
            sem_count=found.sem,
        )
        for (stimulus_id, role), blocks in counts.items()
    )


def _image_counts(thread: EvolvedThread, counts: list[Floats]) -> Floats:
    """Each image's mean over its repetitions and the driven sites, `(n,)`."""
    columns = [thread.site_ids.index(site) for site in thread.sites]
    return np.array([repeats[:, columns].mean() for repeats in counts])


def _showings(thread: EvolvedThread, blocks: list[Floats]) -> Floats:
    """Every showing's mean over the driven sites, `(n,)`."""
    columns = [thread.site_ids.index(site) for site in thread.sites]
    means: Floats = np.concatenate(blocks)[:, columns].mean(axis=1)
    return means
