"""Numbers of presentations by outcome and fault, and of those never measured."""

from __future__ import annotations

from collections import Counter

from protocols.vocabulary import BlockResponses, Outcome


class Tally:
    """Counts over all responses that were added.

    Attributes:
        outcomes: Presentations by how they ended.
        faults: Presentations by what the recorder could not account for.
        onset_clocks: Completed presentations by the clock that their onset was taken on.
        n_shown_again: Presentations after the first attempt.
        n_dropped_frames: Over all presentations.
        n_unmeasured: Repetitions that never got counts.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.faults: Counter[str] = Counter()
        self.onset_clocks: Counter[str] = Counter()
        self.n_shown_again = self.n_dropped_frames = self.n_unmeasured = 0

    def add(self, responses: BlockResponses, n_asked: int) -> None:
        """Count a block's responses; `n_asked` repetitions were to be measured in it."""
        for shown in responses.presentations:
            self.outcomes[shown.outcome] += 1
            self.n_shown_again += shown.attempt > 0
            self.n_dropped_frames += shown.dropped_frames
            if shown.fault:
                self.faults[shown.fault] += 1
        completed = list(responses.completed())
        self.onset_clocks.update(shown.onset_clock for shown in completed)
        measured = {(shown.stimulus_id, shown.repetition) for shown in completed}
        self.n_unmeasured += n_asked - len(measured)

    @property
    def n_presentations(self) -> int:
        """Failed ones too."""
        return self.outcomes.total()
