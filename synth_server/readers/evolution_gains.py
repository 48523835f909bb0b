"""What an evolution gained over natural images, without the winner's curse.

The best of many noisy counts is high by luck alone. So the best natural image is chosen on counts
that it is not scored on, and no evolved image is scored on counts that it was selected by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.vocabulary import Role
from synth_server.readers.bootstrap import Floats
from synth_server.readers.comparison import Candidate, Comparing, Comparison
from synth_server.readers.evolved_thread import NATURAL_ROLES, TEST, EvolvedThread, Showing

FINAL_GENERATIONS = 5
"""How many of the last generations stand for an evolution's end."""


def compare_in_test(thread: EvolvedThread, seed: int) -> Comparison | None:
    """The test at the end: all its images were shown together, evolved and natural.

    The best natural image is chosen by its showings before the test; if one of them had none, by the
    first half of its repetitions in the test, and scored on the others. None without a test.
    """
    evolved = [counts for _, counts in _by_image(thread.tested, (Role.EVOLVED,))]
    natural = _by_image(thread.tested, NATURAL_ROLES)
    if not evolved or not natural:
        return None
    shown_before = [each for each in thread.natural if each.phase != TEST]
    before = {first.id: counts for first, counts in _by_image(shown_before, NATURAL_ROLES)}
    if all(first.id in before for first, _ in natural):
        how = "earlier showings"
        candidates = [Candidate(one.id, one.label, before[one.id], n) for one, n in natural]
    else:
        how = "first half of the repetitions"
        candidates = [_halved(first, counts) for first, counts in natural]
    return Comparing(thread, seed, "test").compared(evolved, candidates, how)


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
    candidates = [
        Candidate(first.id, first.label, before[first.id], counts)
        for first, counts in _by_image(late, NATURAL_ROLES)
        if first.id in before
    ]
    if not candidates:
        return None
    how = "first half of the generations"
    return Comparing(thread, seed, "generations").compared(evolved, candidates, how)


def _by_image(showings: Sequence[Showing], roles: Sequence[Role]) -> list[tuple[Showing, Floats]]:
    """Each image once: its first showing, and its counts `(n_repetitions, n_sites)` in all."""
    found: dict[str, list[Showing]] = {}
    for each in showings:
        if each.role in roles:
            found.setdefault(each.id, []).append(each)
    return [(all_[0], np.concatenate([each.counts for each in all_])) for all_ in found.values()]


def _halved(first: Showing, counts: Floats) -> Candidate:
    middle = len(counts) // 2
    return Candidate(first.id, first.label, counts[:middle], counts[middle:])
