"""Which trial word on the recorder's lines belongs to which image on the rig's screen."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from protocols.errors import RecorderGap, RigError
from protocols.vocabulary import Cue
from rig_client.acquisition.clock_line import ClockLine

logger = logging.getLogger(__name__)

EARLY_S = 0.25
"""A word may be read before the mark that it belongs to is made."""
N_STRAYS = 64
N_OFF_CLOCK = 3
"""So many words in a row off the clock line, and it is the line that is wrong."""


class Limits(NamedTuple):
    """When to believe, and when to give up; all in seconds.

    Attributes:
        settle_s: Disorder that the stream may have: how long is waited until it was measured.
        quiet_s: How long after a window's end a quiet stream means no spikes; None: never.
        word_wait_s: How long after the onset its word may arrive.
        tolerance_s: By how much a word may be off the clock line.
        least_s: The wait is never shorter.
        is_measured: Whether a shorter wait may be chosen than `settle_s`; it is raised in any case.
    """

    settle_s: float = 0.02
    quiet_s: float | None = None
    word_wait_s: float = 1.0
    tolerance_s: float = 0.02
    least_s: float = 0.0
    is_measured: bool = False


class Word(NamedTuple):
    """A word on the recorder's lines at `sample`, read at `heard_s` on the computer's clock."""

    word: int
    sample: int
    heard_s: float


@dataclass(eq=False)
class Mark:
    """An image that appeared, the word that was sent, and (once known) the sample of that word."""

    cue: Cue
    onset_s: float
    word: int
    marked_s: float
    epoch: int
    n_heard: int
    sample: int | None = None
    late_s: float = 0.0


class Words:
    """Matches words to marks by their number, and by the clock line once there is one."""

    def __init__(self, rate_hz: float, limits: Limits) -> None:
        self._rate_hz = rate_hz
        self._limits = limits
        self.line = ClockLine(limits.tolerance_s)
        self.marks: list[Mark] = []
        self._epoch = 0
        self._strays: deque[Word] = deque(maxlen=N_STRAYS)
        self._sent: deque[tuple[float, int]] = deque(maxlen=N_STRAYS)
        self._off_clock: list[tuple[float, float]] = []

    def read(self, word: Word) -> None:
        """A word has come from the recorder."""
        self._strays.append(word)
        self._match()

    def mark(self, mark: Mark) -> None:
        """An image has appeared; marks of earlier trials are forgotten."""
        self.marks = [one for one in self.marks if trial(one.cue) == trial(mark.cue)]
        self.marks.append(mark)
        self._sent.append((mark.marked_s, mark.word))
        self._match()

    def mark_of(self, cue: Cue) -> Mark:
        """The mark of a presentation of the current trial; `RigError` if there is none."""
        for mark in self.marks:
            if mark.cue == cue:
                return mark
        raise RigError(
            "counts were asked of a presentation that never began, or is long over",
            where=cue.in_words,
            expected="mark(cue, onset_s, word) in the same trial",
            got=f"{len(self.marks)} presentations marked in this trial",
        )

    def was_sent(self, word: int, now_s: float, wait_s: float) -> bool:
        """Whether `word` was sent so shortly ago that it may come now."""
        since_s = now_s - self._limits.word_wait_s - self._extra_s(wait_s)
        return any(sent_s >= since_s and sent == word for sent_s, sent in self._sent)

    def forget(self) -> None:
        """The recorder has a new clock: its words so far mean nothing any more."""
        self._epoch += 1
        self.line.clear()
        self._strays.clear()
        self._off_clock.clear()

    def is_overdue(self, mark: Mark, now_s: float, latest: int | None, wait_s: float) -> bool:
        """Whether the word of `mark` will not come any more.

        The stream has come to `latest`, and may be in disorder by `wait_s`.
        """
        if now_s >= mark.marked_s + self._limits.word_wait_s + self._extra_s(wait_s):
            return True
        if not self.line or latest is None:
            return False
        due_s = self.line.recorder_s(mark.onset_s) + self.line.allowed_s(mark.onset_s)
        return latest / self._rate_hz > due_s + wait_s

    def _extra_s(self, wait_s: float) -> float:
        """A stream whose disorder has grown brings its words later, too."""
        return max(0.0, wait_s - self._limits.settle_s)

    def is_past(self, mark: Mark, latest: int | None, wait_s: float) -> bool:
        """Whether the stream, which has come to `latest`, is well past the onset of `mark`."""
        if not self.line or latest is None:
            return False
        over_s = latest / self._rate_hz - self.line.recorder_s(mark.onset_s)
        return over_s > wait_s

    def why_none(self, mark: Mark) -> str:
        """The fault, if there was a word of some kind; else empty."""
        near = [word for word in self._strays if word.heard_s >= mark.marked_s - EARLY_S]
        same = next((word for word in near if word.word == mark.word), None)
        if same is not None:
            self._doubt_line(mark, same)
            return "word_off_clock"
        since_s = mark.marked_s - EARLY_S - self._limits.word_wait_s
        sent = {word for sent_s, word in self._sent if sent_s >= since_s}
        strange = {word.word for word in near} - sent
        return "unexpected_word" if strange else ""

    def _match(self) -> None:
        for mark in self.marks:
            if mark.sample is not None or mark.epoch != self._epoch:
                continue
            found = next((word for word in self._strays if self._fits(word, mark)), None)
            if found is None:
                continue
            self._strays.remove(found)
            mark.sample, mark.late_s = found.sample, max(0.0, found.heard_s - mark.marked_s)
            self.line.add(mark.onset_s, found.sample / self._rate_hz)
            self._off_clock.clear()

    def _fits(self, word: Word, mark: Mark) -> bool:
        if word.word != mark.word or word.heard_s < mark.marked_s - EARLY_S:
            return False
        if not self.line:
            return True
        off_s = word.sample / self._rate_hz - self.line.recorder_s(mark.onset_s)
        return abs(off_s) <= self.line.allowed_s(mark.onset_s)

    def _doubt_line(self, mark: Mark, word: Word) -> None:
        """A few words in a row that are off: their clock is the true one."""
        self._strays.remove(word)
        self._off_clock.append((mark.onset_s, word.sample / self._rate_hz))
        if len(self._off_clock) >= N_OFF_CLOCK:
            logger.warning("the recorder's clock has jumped: %d words in a row say so", N_OFF_CLOCK)
            self.line.clear()
            for point in self._off_clock:
                self.line.add(*point)
            self._off_clock.clear()


def trial(cue: Cue) -> tuple[int, int]:
    """What tells trials apart."""
    return cue.block_index, cue.trial


def lacking(mark: Mark, fault: str) -> RecorderGap:
    """The error that says what the recorder lacks of a presentation."""
    return RecorderGap(
        "the recorder cannot account for a presentation",
        fault=fault,
        where=mark.cue.in_words,
        expected=f"trial word {mark.word}, and everything until the count window's end",
        got=fault.replace("_", " "),
        remedy="it is shown again",
    )
