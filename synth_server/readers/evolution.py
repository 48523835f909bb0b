"""From events to curves: how evolved and reference images did, generation by generation.

Fed with a live session's events or with a finished log's; the result is the same.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import plugins
from protocols.documents import Event, EventKind, RigAttached, SessionEnded, SessionStarted
from protocols.interfaces import Objective
from protocols.settings import PluginChoice
from protocols.vocabulary import BlockResponses, Outcome, Role, document_digest
from synth_server.readers.control import ControlRecord

Scores = NDArray[np.float64]


@dataclass
class Generation:
    """Scores of one generation's images; `(n,)` each, without the unmeasured ones."""

    evolved: Scores = field(default_factory=lambda: np.empty(0))
    evolved_ids: list[str] = field(default_factory=list)
    reference: Scores = field(default_factory=lambda: np.empty(0))

    @property
    def best_id(self) -> str | None:
        """The evolved image with the highest score."""
        return self.evolved_ids[int(self.evolved.argmax())] if len(self.evolved) else None


class EvolvedThread:
    """What is known of one thread: scores by generation, and counts by image and site.

    Args:
        name: The thread's.
        objective: Scores counts; the same that the optimizer was told.
    """

    def __init__(self, name: str, protocol: str, objective: Objective | None) -> None:
        self.name = name
        self.protocol = protocol
        self.objective = objective
        self.generations: dict[int, Generation] = defaultdict(Generation)
        self.counts: dict[Role, dict[str, list[Scores]]] = defaultdict(lambda: defaultdict(list))
        self.evolved_counts: dict[int, list[Scores]] = defaultdict(list)
        self.labels: dict[str, str] = {}

    def add(self, block: Mapping[str, Any], responses: BlockResponses) -> None:
        """Take in one block and its responses."""
        stimuli = block["stimuli"]
        counts = responses.counts_by_stimulus([stimulus["id"] for stimulus in stimuli])
        by_role: dict[Role, list[tuple[str, Scores]]] = defaultdict(list)
        for stimulus, repeats in zip(stimuli, counts, strict=True):
            self.labels[stimulus["id"]] = stimulus["label"]
            if len(repeats):
                by_role[Role(stimulus["role"])].append((stimulus["id"], repeats))
        for role in (Role.REFERENCE, Role.NATURAL):
            for stimulus_id, repeats in by_role[role]:
                self.counts[role][stimulus_id].append(repeats)
        if block["generation"] is not None and self.objective is not None:
            self._add_generation(block["generation"], by_role, responses.site_ids)

    def mean_counts(self, role: Role) -> tuple[list[str], Scores]:
        """Ids of all images shown in `role`, and their mean counts `(n, n_sites)` over showings."""
        shown = self.counts[role]
        means = [np.concatenate(repeats).mean(axis=0) for repeats in shown.values()]
        return list(shown), np.array(means)

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
        generation.reference = np.append(generation.reference, self._scores(reference, site_ids))
        self.evolved_counts[number] += [repeats for _, repeats in evolved]

    def _scores(self, measured: list[tuple[str, Scores]], site_ids: Sequence[str]) -> Scores:
        if not measured or self.objective is None:
            return np.empty(0)
        means = np.array([repeats.mean(axis=0) for _, repeats in measured])
        return self.objective(means, site_ids)


class EvolutionRecord:
    """Everything that the events so far say about a session's evolutions, and its `control`."""

    def __init__(self) -> None:
        self.start: SessionStarted | None = None
        self.rig: RigAttached | None = None
        self.end: SessionEnded | None = None
        self.threads: dict[str, EvolvedThread] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.reshown = self.unmeasured = 0
        self.digests: list[tuple[Mapping[str, Any], str, str]] = []
        self.started_ns = self.last_ns = 0
        self._blocks: dict[int, Mapping[str, Any]] = {}
        self.control = ControlRecord()

    @property
    def n_answered(self) -> int:
        """Blocks with responses."""
        return len(self.digests)

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        self.last_ns = event.t_wall_ns
        self.control.feed(event)
        match event.kind:
            case EventKind.SESSION_STARTED:
                self.started_ns = event.t_wall_ns
                self.start = SessionStarted.model_validate(event.document)
                for thread in self.start.settings.threads:
                    objective = _objective(thread.settings)
                    self.threads[thread.name] = EvolvedThread(
                        thread.name, thread.protocol, objective
                    )
            case EventKind.RIG_ATTACHED:
                self.rig = RigAttached.model_validate(event.document)
            case EventKind.BLOCK_PROPOSED:
                self._blocks[event.document["index"]] = event.document
            case EventKind.RESPONSES_RECEIVED:
                self._take(BlockResponses.model_validate(event.document))
            case EventKind.SESSION_ENDED:
                self.end = SessionEnded.model_validate(event.document)

    def _take(self, responses: BlockResponses) -> None:
        block = self._blocks.pop(responses.block_index)
        self.digests.append((block, document_digest(dict(block)), responses.digest))
        self.outcomes.update(shown.outcome for shown in responses.presentations)
        self.reshown += sum(shown.attempt > 0 for shown in responses.presentations)
        measured = {(shown.stimulus_id, shown.repetition) for shown in responses.completed()}
        self.unmeasured += len(block["order"]) - len(measured)
        self.threads[block["thread"]].add(block, responses)


def _objective(settings: Mapping[str, Any]) -> Objective | None:
    if "objective" not in settings:
        return None
    choice = PluginChoice.model_validate(settings["objective"])
    objective: Objective = plugins.create("stimloop.objectives", choice)
    return objective
