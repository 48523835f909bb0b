"""The presenter: shows a block trial by trial and counts. No network here, and no waiting for it."""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from protocols.errors import RecorderGap
from protocols.rig_interfaces import Flip, always
from protocols.vocabulary import Block, Cue, Outcome, Presentation, Timing
from rig_client.apparatus import Apparatus
from rig_client.spool import Journal

logger = logging.getLogger(__name__)


class Shown(NamedTuple):
    """What was shown, and under which trial word."""

    cue: Cue
    flip: Flip
    word: int


class Marked:
    """Shows images, each under the next trial word.

    Args:
        apparatus: Its display shows, its trigger sends, its recorder is told.
        word_bits: Lines that carry the word: words run from 1 to 2^word_bits − 1.
    """

    def __init__(self, apparatus: Apparatus, word_bits: int = 8) -> None:
        self._apparatus = apparatus
        self._words = itertools.cycle(range(1, 2**word_bits))

    def stage(self, block: Block) -> None:
        """A block is about to be shown."""
        self._apparatus.display.stage(block.images)
        self._apparatus.acquisition.stage(block)
        self._apparatus.trigger.stage(block)

    def show(self, cue: Cue, on_s: float, held: Callable[[], bool] = always) -> Shown:
        """At its first flip the word goes out, and the recorder's reader is told."""
        parts, word = self._apparatus, next(self._words)

        def at_onset(onset_s: float) -> None:
            parts.trigger.send(word, cue)
            parts.acquisition.mark(cue, onset_s, word)

        flip = parts.display.show(cue, on_s, at_onset, held)
        parts.trigger.clear()
        return Shown(cue, flip, word)


class Presenter:
    """Presents blocks on one display, to one subject, in front of one recorder.

    Args:
        apparatus: All of that.
        word_bits: Lines that carry the trial word: words run from 1 to 2^word_bits − 1.
    """

    def __init__(self, apparatus: Apparatus, word_bits: int = 8) -> None:
        self._display = apparatus.display
        self._acquisition = apparatus.acquisition
        self._fixation = apparatus.fixation
        self._reward = apparatus.reward
        self._marked = Marked(apparatus, word_bits)

    def present(
        self, block: Block, journal: Journal, stop: Callable[[], bool]
    ) -> tuple[Presentation, ...]:
        """Show `block`, from where its journal ends; what failed is shown again at the end.

        Args:
            stop: Asked between trials, may wait; True leaves the rest of the block unshown.

        Returns:
            Everything that happened, in order: the journal's trials and the new ones.
        """
        self._marked.stage(block)
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
        """One fixation: each image on, then off; counts are read when the last window is over.

        The gap after a broken image stays: what it drew must not be counted for the next trial's.
        """
        shown: list[Shown] = []
        for cue in cues if self._fixation.acquire(cues[0]) else ():
            held = partial(self._fixation.held, cue)
            shown.append(self._marked.show(cue, timing.on_ms / 1000, held))
            self._display.blank(timing.off_ms / 1000)
            if not shown[-1].flip.held:
                break
        if len(shown) == len(cues) and shown[-1].flip.held:
            self._reward.give(cues[0].trial)
        self._display.blank(max(0.0, timing.count_stop_ms - timing.on_ms - timing.off_ms) / 1000)
        trial = [self._counted(one, timing) for one in shown]
        trial += [self._unshown(cue, first=cue is cues[0]) for cue in cues[len(shown) :]]
        self._display.blank(timing.inter_trial_ms / 1000)
        return tuple(trial)

    def _counted(self, shown: Shown, timing: Timing) -> Presentation:
        cue, flip, word = shown
        outcome, counts, fault = Outcome.COMPLETED, None, ""
        onset_s, clock = flip.onset_s, str(self._display.clock)
        if not flip.held:
            outcome = Outcome.FIXATION_BREAK
        elif flip.dropped_frames:
            outcome = Outcome.DROPPED_FRAME
        else:
            try:
                measured = self._acquisition.spike_counts(cue, timing.count_window_s)
                counts = tuple(float(count) for count in measured.counts)
                if measured.onset_s is not None:
                    onset_s, clock = measured.onset_s, "recorder"
            except RecorderGap as gap:
                outcome, fault = Outcome.ABORTED, gap.fault
                logger.warning("%s", gap)
        return cue.presentation(
            onset_s=onset_s,
            onset_clock=clock,
            outcome=outcome,
            spike_counts=counts,
            dropped_frames=flip.dropped_frames,
            word=word,
            fault=fault,
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
