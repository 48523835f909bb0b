"""What came from a recorder, and what it says about the presentations; knows no sockets.

One thread, the reader, tells a `Recording` what arrives: `word`, `spike`, `heard`, `drained`, `gap`,
`restarted`. The rig's main thread tells it what was shown (`mark`) and asks for counts
(`measurement`, which waits; `judged`, which does not).

Recorder times are whole samples of the recorder's clock, so that a window's edges are exact. A
recorder that gives seconds is one with a `rate_hz` of 1e9: round once, on arrival.

All of a window has arrived when

- something later was heard, by `settle_s` at least, which is the disorder that a stream may have; or
- nothing was, but the reader had read all there was (`drained`) at `quiet_s` after the window's end.
  Without `quiet_s` this does not count: a stream that always says something has no right to be quiet.

Faults, the names of what `RecorderGap` says is missing:

| fault | what is missing |
|---|---|
| `missing_word` | the trial word |
| `unexpected_word` | the trial word; another one came in its place |
| `word_off_clock` | trust in the word: it is off the clock line by more than the tolerance |
| `message_gap` | messages: their numbers have a gap |
| `silent_stream` | everything since the onset |
| `recorder_restarted` | what came before the recorder's clock began anew |
| `disconnected` | what came while there was no connection |
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from protocols.errors import RigError
from protocols.rig_interfaces import Measurement
from protocols.spike_times import Ticks, counts_in, ticks_after
from protocols.vocabulary import Cue, RecorderClock
from rig_client.acquisition.words import EARLY_S, Limits, Mark, Word, Words, lacking, showing

__all__ = ["Gap", "Limits", "Recording"]

logger = logging.getLogger(__name__)

BACKWARDS_S = 1.0
"""A recorder whose clock goes back by more was restarted."""
HORIZON_S = 2.0
"""Spikes are kept for so long, and for as long as a trial may still ask for them."""
N_GIVEN = 64
"""Windows that are remembered, to notice spikes that come too late."""
GLANCE_S = 0.05


@dataclass(eq=False)
class Gap:
    """Something between samples `first` and `last` was lost, unless it still arrives (`filled`)."""

    fault: str
    first: int
    last: int
    noticed_s: float


class Recording:
    """Thread-safe; keeps what the current trial needs, and forgets the rest.

    Args:
        site_ids: What to count, in the order of the counts.
        rate_hz: Samples in a second of the recorder's clock.
        limits: When to believe, and when to give up; defaults if not given.
        now_s: The computer's clock.
    """

    def __init__(
        self,
        site_ids: Sequence[str],
        rate_hz: float,
        limits: Limits | None = None,
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._places = {site: place for place, site in enumerate(site_ids)}
        self._rate_hz = rate_hz
        self._limits = limits = limits or Limits()
        self._now_s = now_s
        self._changed = threading.Condition()
        self._settle = ticks_after(limits.settle_s, rate_hz)
        self._words = Words(rate_hz, limits)
        self._before_s = HORIZON_S
        self._epoch = 0
        self._ended: dict[int, str] = {}
        self._latest: int | None = None
        self._n_heard = 0
        self._drained_s = float("-inf")
        self._spikes: deque[tuple[int, int]] = deque()
        self._gaps: list[Gap] = []
        self._given: deque[tuple[int, int]] = deque(maxlen=N_GIVEN)
        self._n_late = 0

    # --- what the reader says ------------------------------------------------------------------

    def word(self, word: int, sample: int, heard_s: float | None = None) -> None:
        """A trial word appeared on the lines at `sample`; `heard_s`: when this was read, if not now."""
        with self._changed:
            self._hear(sample)
            arrived_s = self._now_s() if heard_s is None else heard_s
            self._words.read(Word(word, sample, arrived_s))
            self._changed.notify_all()

    def spike(self, sample: int, *sites: str, says_time: bool = True) -> None:
        """A spike at `sample`, which counts for these `sites`; others than the recorded are ignored.

        `says_time` is False if spikes come another way than words, and may be ahead of them.
        """
        with self._changed:
            if says_time or self._latest is None:
                self._hear(sample)
            for site in sites:
                if (place := self._places.get(site)) is not None:
                    self._spikes.append((sample, place))
                    self._notice_late(sample)
            self._changed.notify_all()

    def heard(self, sample: int) -> None:
        """The stream has come to `sample`: data, a heartbeat, whatever has a time."""
        with self._changed:
            self._hear(sample)
            self._changed.notify_all()

    def drained(self) -> None:
        """Connected, and all that had arrived by now is read."""
        with self._changed:
            self._drained_s = self._now_s()
            self._changed.notify_all()

    def gap(self, fault: str, first: int, last: int) -> Gap:
        """Something between two samples has not arrived; if it does, say `filled`."""
        with self._changed:
            gap = Gap(fault, first, last, self._now_s())
            self._gaps.append(gap)
            self._changed.notify_all()
            return gap

    def filled(self, gap: Gap) -> None:
        """What was missing has arrived after all."""
        with self._changed:
            if gap in self._gaps:
                self._gaps.remove(gap)
            self._changed.notify_all()

    def restarted(self, fault: str = "recorder_restarted") -> None:
        """What comes now has nothing to do with what came before: no window spans this moment."""
        with self._changed:
            self._begin_epoch(fault)
            self._changed.notify_all()

    @property
    def epoch(self) -> int:
        """How often the recorder began anew, so far."""
        with self._changed:
            return self._epoch

    @property
    def latest(self) -> int | None:
        """The latest sample heard of; None before the first, and after a restart."""
        with self._changed:
            return self._latest

    @property
    def n_late(self) -> int:
        """Spikes that came after the window in which they were had been counted."""
        with self._changed:
            return self._n_late

    # --- what the rig says and asks ------------------------------------------------------------

    def expect(self, window_s: tuple[float, float], kept_s: tuple[float, float]) -> None:
        """Such windows and spans will be asked for: spikes before an onset are kept accordingly."""
        with self._changed:
            self._before_s = HORIZON_S + max(0.0, -window_s[0], -kept_s[0])

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """The image of `cue` appeared at `onset_s` (rig's clock), and `word` was sent."""
        with self._changed:
            now_s = self._now_s()
            self._words.mark(Mark(cue, onset_s, word, now_s, self._epoch, self._n_heard))

    def rest(self) -> None:
        """The trial is over, all counts are given: forget what it needed."""
        with self._changed:
            self._words.marks.clear()
            self._prune()

    def clock(self) -> RecorderClock | None:
        """The clock line by now; None before the first word."""
        with self._changed:
            return self._words.line.clock()

    def measurement(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,
    ) -> Measurement:
        """Counts in `[start, stop)` after the word of `cue`, once all of it has arrived.

        With `kept_s`, also each site's spike times in that span, once all of that has arrived.

        Raises:
            RecorderGap: With the fault's name.
            RigError: If `cue` was not marked in the current trial.
        """
        with self._changed:
            while (measured := self._judged(cue, window_s, kept_s)) is None:
                self._changed.wait(GLANCE_S)
            return measured

    def judged(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,
    ) -> Measurement | None:
        """As `measurement`, but None while it can't be known yet."""
        with self._changed:
            return self._judged(cue, window_s, kept_s)

    # --- judging -------------------------------------------------------------------------------

    def _judged(
        self, cue: Cue, window_s: tuple[float, float], kept_s: tuple[float, float] | None
    ) -> Measurement | None:
        mark = self._mark_of(cue)
        if mark.epoch != self._epoch:
            raise lacking(mark, self._ended.get(mark.epoch, "recorder_restarted"))
        if mark.sample is None:
            if not self._words.is_overdue(mark, self._now_s(), self._latest):
                return None
            raise lacking(mark, self._why_no_word(mark))
        span_s = window_s if kept_s is None else _union(window_s, kept_s)
        start, stop = (mark.sample + ticks_after(edge, self._rate_hz) for edge in span_s)
        if gap := self._gap_between(min(start, mark.sample), stop):
            if not self._is_settled(gap):
                return None
            raise lacking(mark, gap.fault)
        if not self._has_all_until(stop, span_s[1], mark):
            return None
        self._given.append((start, stop))
        ticks = self._ticks(start, stop, mark.sample)
        counts = counts_in(ticks, window_s, self._rate_hz)
        onset_s = mark.sample / self._rate_hz
        return Measurement(counts, onset_s, None if kept_s is None else ticks)

    def _why_no_word(self, mark: Mark) -> str:
        if self._n_heard == mark.n_heard and not self._words.is_past(mark, self._latest):
            return "silent_stream"
        since_s = mark.marked_s - EARLY_S
        gap = next((gap for gap in self._gaps if gap.noticed_s >= since_s), None)
        why = self._words.why_none(mark)
        return gap.fault if gap and why != "word_off_clock" else why or "missing_word"

    def _has_all_until(self, stop: int, stop_s: float, mark: Mark) -> bool:
        if self._latest is not None and self._latest >= stop + self._settle:
            return True
        over_s = mark.marked_s + max(0.0, stop_s) + mark.late_s
        quiet_s = self._limits.quiet_s
        if quiet_s is not None and self._drained_s >= over_s + quiet_s:
            return True
        if self._now_s() >= over_s + (quiet_s or 0.0) + self._limits.word_wait_s:
            raise lacking(mark, "silent_stream")
        return False

    def _gap_between(self, first: int, last: int) -> Gap | None:
        return next((g for g in self._gaps if g.first <= last and g.last >= first), None)

    def _is_settled(self, gap: Gap) -> bool:
        if self._latest is not None and self._latest >= gap.last + self._settle:
            return True
        return self._now_s() >= gap.noticed_s + self._limits.word_wait_s

    def _ticks(self, start: int, stop: int, onset: int) -> tuple[Ticks, ...]:
        """Each site's spikes in `[start, stop)`, relative to `onset`, rising."""
        each: list[list[int]] = [[] for _ in self._places]
        for sample, place in self._spikes:
            if start <= sample < stop:
                each[place].append(sample - onset)
        return tuple(np.sort(np.array(one, np.int64)) for one in each)

    def _mark_of(self, cue: Cue) -> Mark:
        found = next((mark for mark in self._words.marks if mark.cue == cue), None)
        if found is None:
            raise RigError(
                "counts were asked of a presentation that never began, or is long over",
                where=showing(cue),
                expected="mark(cue, onset_s, word) in the same trial",
                got=f"{len(self._words.marks)} presentations marked in this trial",
            )
        return found

    # --- the stream ----------------------------------------------------------------------------

    def _hear(self, sample: int) -> None:
        self._n_heard += 1
        if self._latest is not None and sample < self._latest - BACKWARDS_S * self._rate_hz:
            self._begin_epoch("recorder_restarted")
        self._latest = sample if self._latest is None else max(self._latest, sample)
        if not self._words.marks and len(self._spikes) > 1:
            self._prune()

    def _begin_epoch(self, fault: str) -> None:
        self._ended = {self._epoch: fault}
        self._epoch += 1
        self._latest = None
        self._drained_s = float("-inf")
        self._words.forget()
        for memory in (self._spikes, self._gaps, self._given):
            memory.clear()

    def _prune(self) -> None:
        """Spikes come in order but for `settle_s`, so the oldest stand at the left."""
        if self._latest is None:
            return
        oldest = self._latest - self._before_s * self._rate_hz
        while self._spikes and self._spikes[0][0] < oldest:
            self._spikes.popleft()
        self._gaps = [gap for gap in self._gaps if gap.last >= oldest]

    def _notice_late(self, sample: int) -> None:
        if any(start <= sample < stop for start, stop in self._given):
            if not self._n_late:
                logger.warning(
                    "a spike came after its window had been counted: raise settle_ms or quiet_ms"
                )
            self._n_late += 1


def _union(one_s: tuple[float, float], other_s: tuple[float, float]) -> tuple[float, float]:
    return min(one_s[0], other_s[0]), max(one_s[1], other_s[1])
