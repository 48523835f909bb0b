"""The presenter: shows a block trial by trial and counts. No network here, and no waiting for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from protocols.errors import RecorderGap
from protocols.interfaces import Acquisition, Display, Fixation, Flip
from protocols.vocabulary import Block, Cue, Outcome, Presentation, Timing
from rig_client.spool import Journal


class Presenter:
    """Presents blocks on one display, to one subject, in front of one recorder."""

    def __init__(self, display: Display, acquisition: Acquisition, fixation: Fixation) -> None:
        self._display = display
        self._acquisition = acquisition
        self._fixation = fixation

    def present(
        self, block: Block, journal: Journal, stop: Callable[[], bool]
    ) -> tuple[Presentation, ...]:
        """Show `block`, from where its journal ends; what failed is shown again at the end.

        Args:
            stop: Asked between trials; True leaves the rest of the block unshown.

        Returns:
            Everything that happened, in order: the journal's trials and the new ones.
        """
        self._display.stage(block.images)
        self._acquisition.stage(block)
        known = deque(journal.trials)
        pending = deque(block.cues())
        presentations: list[Presentation] = []
        trial_number = 0
        while pending and (known or not stop()):
            size = min(block.timing.presentations_per_trial, len(pending))
            cues = [
                pending.popleft().model_copy(update={"trial": trial_number}) for _ in range(size)
            ]
            if known:
                trial = known.popleft()
            else:
                trial = self._trial(cues, block.timing)
                journal.add(trial)
            presentations += trial
            pending.extend(_to_show_again(cues, trial, block.timing.max_attempts))
            trial_number += 1
        return tuple(presentations)

    def _trial(self, cues: Sequence[Cue], timing: Timing) -> tuple[Presentation, ...]:
        """One fixation: each image on, then off; counts are read when the last window is over."""
        shown: list[tuple[Cue, Flip, bool]] = []
        held = self._fixation.acquire(cues[0])
        for cue in cues if held else ():
            mark = partial(self._acquisition.mark, cue)
            flip = self._display.show(cue, timing.on_ms / 1000, mark)
            held = self._fixation.held(cue)
            shown.append((cue, flip, held))
            if not held:
                break
            self._display.blank(timing.off_ms / 1000)
        self._display.blank(max(0.0, timing.count_stop_ms - timing.on_ms - timing.off_ms) / 1000)
        trial = [self._counted(cue, flip, held, timing) for cue, flip, held in shown]
        trial += [self._unshown(cue, first=cue is cues[0]) for cue in cues[len(shown) :]]
        self._display.blank(timing.inter_trial_ms / 1000)
        return tuple(trial)

    def _counted(self, cue: Cue, flip: Flip, held: bool, timing: Timing) -> Presentation:
        outcome, counts = Outcome.COMPLETED, None
        onset_s, clock = flip.onset_s, str(self._display.clock)
        if not held:
            outcome = Outcome.FIXATION_BREAK
        elif flip.dropped_frames:
            outcome = Outcome.DROPPED_FRAME
        else:
            try:
                measured = self._acquisition.spike_counts(cue, timing.count_window_s)
                counts = tuple(float(count) for count in measured.counts)
                if measured.onset_s is not None:
                    onset_s, clock = measured.onset_s, "recorder"
            except RecorderGap:
                outcome = Outcome.ABORTED
        return cue.presentation(
            onset_s=onset_s,
            onset_clock=clock,
            outcome=outcome,
            spike_counts=counts,
            dropped_frames=flip.dropped_frames,
        )

    def _unshown(self, cue: Cue, *, first: bool) -> Presentation:
        """An image whose trial ended before its turn; the first of a trial was never fixated."""
        return cue.presentation(
            onset_s=self._display.now_s(),
            onset_clock=self._display.clock,
            outcome=Outcome.FIXATION_BREAK if first else Outcome.ABORTED,
        )


def _to_show_again(
    cues: Sequence[Cue], trial: Sequence[Presentation], max_attempts: int
) -> list[Cue]:
    failed = (
        cue for cue, shown in zip(cues, trial, strict=True) if shown.outcome != Outcome.COMPLETED
    )
    return [
        cue.model_copy(update={"attempt": cue.attempt + 1})
        for cue in failed
        if cue.attempt + 1 < max_attempts
    ]
