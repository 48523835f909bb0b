"""Gain of an evolution over natural images, without selection bias (the winner's curse).

The best of many noisy counts is high by luck alone. So the best natural image is chosen on counts
that it is not scored on, and no evolved image is scored on counts that it was selected by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.vocabulary import Role
from synth_server.readers.evolution.against_natural import Candidate, Comparing
from synth_server.readers.evolution.comparison_documents import Comparison
from synth_server.readers.log.evolved_thread import NATURAL_ROLES, EvolvedThread, Showing
from synth_server.readers.statistics.bootstrap import Floats

FINAL_GENERATIONS = 5
"""How many of the last generations stand for an evolution's end."""


def compare_in_test(thread: EvolvedThread, seed: int) -> Comparison | None:
    """The test at the end: all its images were shown together, evolved and natural.

    The best natural image is chosen by its showings among the generations and half of those in the
    test, and scored on the other half; and the other way round. Showings before the generations choose
    nothing: they have put images into the test, by luck as well. None without a test.
    """
    evolved = [counts for _, counts in _by_image(thread.tested, (Role.EVOLVED,))]
    natural = _by_image(thread.tested, NATURAL_ROLES)
    if not evolved or not natural:
        return None
    among = [each for each in thread.natural if isinstance(each.phase, int)]
    before = {first.id: counts for first, counts in _by_image(among, NATURAL_ROLES)}
    comparing = Comparing(thread, seed, "test")
    nothing = np.empty((0, len(thread.site_ids)))
    if min(len(counts) for _, counts in natural) < 2:
        fold = [_candidate(one, before.get(one.id, nothing), counts) for one, counts in natural]
        return comparing.compared(evolved, [fold], "showings among the generations")
    folds = [
        [
            _candidate(
                one,
                np.concatenate([before.get(one.id, nothing), counts[1 - half :: 2]]),
                counts[half::2],
            )
            for one, counts in natural
        ]
        for half in (0, 1)
    ]
    return comparing.compared(
        evolved, folds, "showings among the generations and the other half here"
    )


def compare_in_generations(thread: EvolvedThread, seed: int) -> Comparison | None:
    """All images of the last generations against the references shown in the same blocks as all.

    The best reference is chosen in the first half of the generations and scored in the second. None
    for fewer than two generations, or without references.
    """
    numbers = thread.measured
    if len(numbers) < 2 or thread.objective is None:
        return None
    last = [thread.generations[n] for n in numbers[-FINAL_GENERATIONS:]]
    evolved = [counts for each in last for counts in each.evolved_counts]
    middle = numbers[len(numbers) // 2]
    references = [
        each for each in thread.natural if each.role is Role.REFERENCE and each.phase in numbers
    ]
    early = [each for each in references if int(each.phase) < middle]
    late = [each for each in references if int(each.phase) >= middle]
    before = {first.id: counts for first, counts in _by_image(early, NATURAL_ROLES)}
    fold = [
        _candidate(first, before[first.id], counts)
        for first, counts in _by_image(late, NATURAL_ROLES)
        if first.id in before
    ]
    if not fold:
        return None
    comparing = Comparing(thread, seed, "generations")
    return comparing.compared(evolved, [fold], "first half of the generations")


def _by_image(showings: Sequence[Showing], roles: Sequence[Role]) -> list[tuple[Showing, Floats]]:
    """Each image once: its first showing, and its counts `(n_repetitions, n_sites)` in all."""
    found: dict[str, list[Showing]] = {}
    for each in showings:
        if each.role in roles:
            found.setdefault(each.id, []).append(each)
    return [(all_[0], np.concatenate([each.counts for each in all_])) for all_ in found.values()]


def _candidate(first: Showing, choosing: Floats, scoring: Floats) -> Candidate:
    return Candidate(first.id, first.role, choosing, scoring)
