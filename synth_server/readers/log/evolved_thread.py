"""What one thread of an evolution showed: its generations, its natural images, its test."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.interfaces import Objective
from protocols.vocabulary import BlockResponses, Role
from synth_server.readers.log.stimulus_names import Names

Scores = NDArray[np.float64]
NATURAL_ROLES = (Role.REFERENCE, Role.NATURAL, Role.BEST_NATURAL)
TEST, START = "test", "start"
"""Labels of blocks without a generation: the comparison at the end, photographs of a warm start."""


@dataclass
class Generation:
    """One generation's images, without the unmeasured ones.

    Attributes:
        evolved: Scores `(n,)`.
        evolved_counts: Of each of them, `(n_repetitions, n_sites)`.
        reference: Scores `(n,)` of the references shown in the same blocks.
        reference_counts: As `evolved_counts`.
    """

    evolved: Scores = field(default_factory=lambda: np.empty(0))
    evolved_ids: list[str] = field(default_factory=list)
    evolved_counts: list[Scores] = field(default_factory=list)
    reference: Scores = field(default_factory=lambda: np.empty(0))
    reference_counts: list[Scores] = field(default_factory=list)

    @property
    def best_id(self) -> str | None:
        """The evolved image with the highest score."""
        return self.evolved_ids[int(self.evolved.argmax())] if len(self.evolved) else None


@dataclass
class Showing:
    """An image, and its counts in one block.

    Attributes:
        phase: The block's: `TEST`, `START`, or its generation.
        counts: `(n_repetitions, n_sites)`, at least one row.
    """

    id: str
    role: Role
    phase: int | str
    counts: Scores


class EvolvedThread:
    """What is known of one thread: scores by generation, and counts by image and site.

    Args:
        name: The thread's.
        objective: Scores counts; the same that the optimizer was told.

    Attributes:
        labels: Stimulus id → its name for people.
        natural: Every showing of a natural image, in the order of the blocks.
        tested: Every showing in the test at the end.
    """

    def __init__(self, name: str, protocol: str, objective: Objective | None) -> None:
        self.name = name
        self.protocol = protocol
        self.objective = objective
        self.generations: dict[int, Generation] = defaultdict(Generation)
        self.counts: dict[Role, dict[str, list[Scores]]] = defaultdict(lambda: defaultdict(list))
        self.labels = Names()
        self.natural: list[Showing] = []
        self.tested: list[Showing] = []
        self.site_ids: tuple[str, ...] = ()
        self.count_window_ms: tuple[float, float] = (0, 0)

    def add(self, block: Mapping[str, Any], responses: BlockResponses) -> None:
        """Take in one block and its responses."""
        self.site_ids = responses.site_ids
        timing = block["timing"]
        self.count_window_ms = (timing["count_start_ms"], timing["count_stop_ms"])
        stimuli = block["stimuli"]
        counts = responses.counts_by_stimulus([stimulus["id"] for stimulus in stimuli])
        by_role: dict[Role, list[tuple[str, Scores]]] = defaultdict(list)
        for stimulus, repeats in zip(stimuli, counts, strict=True):
            self.labels.add(stimulus)
            if len(repeats):
                by_role[Role(stimulus["role"])].append((stimulus["id"], repeats))
        self._add_showings(block, by_role)
        if phase_of(block) != TEST:
            for role in (Role.REFERENCE, Role.NATURAL):
                for stimulus_id, repeats in by_role[role]:
                    self.counts[role][stimulus_id].append(repeats)
        if block["generation"] is not None and self.objective is not None:
            self._add_generation(block["generation"], by_role, responses.site_ids)

    @property
    def sites(self) -> tuple[str, ...]:
        """Those that the objective drives; none before the first responses."""
        if self.objective is None or not self.site_ids:
            return ()
        return tuple(self.objective.sites(self.site_ids))

    @property
    def measured(self) -> list[int]:
        """Numbers of the generations with counts, in order."""
        return [n for n in sorted(self.generations) if self.generations[n].evolved_counts]

    def mean_counts(self, role: Role) -> tuple[list[str], Scores]:
        """Ids of all images shown in `role`, and their mean counts `(n, n_sites)` over showings."""
        shown = self.counts[role]
        means = [np.concatenate(repeats).mean(axis=0) for repeats in shown.values()]
        return list(shown), np.array(means)

    def _add_showings(
        self, block: Mapping[str, Any], by_role: Mapping[Role, list[tuple[str, Scores]]]
    ) -> None:
        phase = phase_of(block)
        for role, measured in by_role.items():
            shown = [
                Showing(stimulus_id, role, phase, repeats) for stimulus_id, repeats in measured
            ]
            if role in NATURAL_ROLES:
                self.natural += shown
            if phase == TEST:
                self.tested += shown

    def _add_generation(
        self,
        number: int,
        by_role: Mapping[Role, list[tuple[str, Scores]]],
        site_ids: Sequence[str],
    ) -> None:
        generation = self.generations[number]
        evolved, reference = by_role.get(Role.EVOLVED, []), by_role.get(Role.REFERENCE, [])
        generation.evolved = np.append(generation.evolved, self._scores(evolved, site_ids))
        generation.evolved_ids += [stimulus_id for stimulus_id, _ in evolved]
        generation.evolved_counts += [repeats for _, repeats in evolved]
        generation.reference = np.append(generation.reference, self._scores(reference, site_ids))
        generation.reference_counts += [repeats for _, repeats in reference]

    def _scores(self, measured: list[tuple[str, Scores]], site_ids: Sequence[str]) -> Scores:
        if not measured or self.objective is None:
            return np.empty(0)
        means = np.array([repeats.mean(axis=0) for _, repeats in measured])
        return self.objective(means, site_ids)


def phase_of(block: Mapping[str, Any]) -> int | str:
    """A block's generation, or what it is for: `TEST`, `START` or "other"."""
    if block["generation"] is not None:
        return int(block["generation"])
    return next((name for name in (TEST, START) if block["label"].startswith(name)), "other")
