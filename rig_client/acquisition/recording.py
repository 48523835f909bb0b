"""What came from a recorder, and what it says about the presentations; knows no sockets.

One thread, the reader, tells a `Recording` what arrives: `word`, `spike`, `came`, `heard`, `complete`,
`drained`, `gap`, `restarted`. The rig's main thread tells it what was shown (`mark`) and asks for counts
(`measurement`, which waits; `judged`, which does not).

Recorder times are whole samples of the recorder's clock, so that a window's edges are exact. A
recorder that gives seconds is one with a `rate_hz` of 1e9: round once, on arrival. When a window is
complete is decided by `progress`. What comes for one later makes it late.

Faults, the names of what `RecorderGap` says is missing:

| fault | what is missing |
|---|---|
| `missing_word` | the trial word |
| `unexpected_word` | the trial word; another one came in its place |
| `word_off_clock` | trust in the word: it is off the clock line by more than the tolerance |
| `message_gap` | messages: their numbers have a gap |
| `late_spikes` | spikes that came after the window was counted: see `late` |
| `silent_stream` | everything for longer than this stream is ever silent, or since the onset |
| `recorder_restarted` | what came before the recorder's clock began anew |
| `disconnected` | what came while there was no connection |
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from protocols.live_interfaces import Fresh
from protocols.rig_interfaces import Measurement
from protocols.spike_times import counts_in, ticks_after, union_s
from protocols.vocabulary import Cue, RecorderClock
from rig_client.acquisition.beginning import FAR, Beginning
from rig_client.acquisition.gaps import Gap, Gaps
from rig_client.acquisition.given import Given
from rig_client.acquisition.kept_spikes import KeptSpikes
from rig_client.acquisition.live import Live
from rig_client.acquisition.progress import Progress
from rig_client.acquisition.words import EARLY_S, Limits, Mark, Word, Words, lacking

__all__ = ["Gap", "Limits", "Recording"]

logger = logging.getLogger(__name__)

HORIZON_S = 2.0
"""Spikes are kept for so long, and for as long as a trial may still ask for them."""
GLANCE_S = 0.05


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
        self._progress = Progress(rate_hz, limits)
        self._words = Words(rate_hz, limits)
        self._before_s = HORIZON_S
        self._epoch = 0
        self._ended: dict[int, str] = {}
        self._spikes = KeptSpikes(len(site_ids))
        self._beginning = Beginning(rate_hz)
        self._gaps = Gaps()
        self._given = Given()
        self._live = Live(rate_hz, len(site_ids), HORIZON_S, now_s)
        self._n_late = 0
        self._notes: list[str] = []

    # --- what the reader says ------------------------------------------------------------------

    def word(self, word: int, sample: int, heard_s: float | None = None) -> None:
        """A trial word appeared on the lines at `sample`; `heard_s`: when this was read, if not now."""
        with self._changed:
            self._hear(sample, is_measured=heard_s is None)
            arrived_s = self._now_s() if heard_s is None else heard_s
            self._words.read(Word(word, sample, arrived_s))
            self._changed.notify_all()

    def spike(self, sample: int, *sites: str, says_time: bool = True) -> None:
        """A spike at `sample`, which counts for these `sites`; others than the recorded are ignored.

        `says_time` is False if spikes come another way than words, and may be ahead of them.
        """
        with self._changed:
            places = [self._places[site] for site in sites if site in self._places]
            if places:
                self._notice_late(sample)
            self._hear(sample, is_measured=True, says_time=says_time)
            self._spikes.add(sample, places)
            self._changed.notify_all()

    def came(self, sample: int) -> None:
        """Something that is part of a word, such as a line that changed, came of `sample`."""
        with self._changed:
            self._hear(sample, is_measured=True)
            self._changed.notify_all()

    def heard(self, sample: int) -> None:
        """The stream has come to `sample`: data, a heartbeat, whatever has a time."""
        with self._changed:
            self._hear(sample)
            self._changed.notify_all()

    def complete(self, sample: int) -> None:
        """The format says that everything before `sample` has been told: nothing can come of it."""
        with self._changed:
            self._hear(sample)
            self._progress.complete(sample)
            self._changed.notify_all()

    def drained(self) -> None:
        """Connected, and all that had arrived by now is read."""
        with self._changed:
            self._progress.drained(self._now_s())
            self._changed.notify_all()

    def gap(self, fault: str, first: int, last: int) -> Gap:
        """Something between two samples has not arrived; if it does, say `filled`."""
        with self._changed:
            self._changed.notify_all()
            return self._gaps.add(Gap(fault, first, last, self._now_s()))

    def filled(self, gap: Gap) -> None:
        """What was missing has arrived after all."""
        with self._changed:
            self._gaps.fill(gap)
            self._changed.notify_all()

    def opened(self) -> None:
        """Connected just now: what was sent before has not come."""
        with self._changed:
            self._beginning.opened(self._now_s())

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
            return self._progress.latest

    @property
    def completed(self) -> int | None:
        """Everything before this sample was told, by what the format says; None: it does not say."""
        with self._changed:
            return self._progress.completed

    @property
    def n_late(self) -> int:
        """Presentations that were counted too early, so far."""
        return self._n_late

    @property
    def wait_ticks(self) -> int:
        """How far behind the latest sample something may still come, by what was measured."""
        return self._progress.disorder.wait_ticks

    @property
    def wait_s(self) -> float:
        """The same in seconds."""
        return self._progress.disorder.wait_s

    # --- what the rig says and asks ------------------------------------------------------------

    def expect(
        self, window_s: tuple[float, float], kept_s: tuple[float, float] | None = None
    ) -> None:
        """Such windows and spans will be asked for: spikes before an onset are kept accordingly."""
        with self._changed:
            self._before_s = HORIZON_S + max(0.0, -window_s[0], -(kept_s or window_s)[0])

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """The image of `cue` appeared at `onset_s` (rig's clock), and `word` was sent."""
        with self._changed:
            now_s = self._now_s()
            self._words.mark(Mark(cue, onset_s, word, now_s, self._epoch, self._progress.n_heard))

    def rest(self) -> None:
        """The trial is over, all counts are given: forget what it needed."""
        with self._changed:
            self._words.marks.clear()
            self._prune()

    def was_sent(self, word: int) -> bool:
        """Whether this word was sent with an image within the time that a word may take."""
        with self._changed:
            return self._words.was_sent(word, self._now_s(), self._progress.disorder.wait_s)

    def late(self) -> tuple[Cue, ...]:
        """Showings that were counted too early, since this was last asked."""
        with self._changed:
            self._notice_gaps()
            return self._given.late()

    def fresh(self) -> Fresh:
        """Spikes of what is complete since this was last asked; needs no words."""
        with self._changed:
            return self._live.fresh(self._epoch, self._progress, self._spikes, self._gaps)

    def notes(self) -> tuple[str, ...]:
        """What was measured and decided since this was last asked; one sentence each."""
        with self._changed:
            said, self._notes = (*self._progress.notes(), *self._notes), []
            return said

    def disorder(self) -> str:
        """What was measured of the stream's disorder, and what the wait costs; for people."""
        with self._changed:
            return self._progress.text()

    @property
    def is_measured(self) -> bool:
        """Whether the wait was chosen by measurement yet."""
        return self._progress.disorder.is_measured

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
            began_s = self._now_s()
            while (measured := self._judged(cue, window_s, kept_s)) is None:
                self._changed.wait(GLANCE_S)
            over_s = self._over_s(
                self._words.mark_of(cue), union_s(window_s, kept_s or window_s)[1]
            )
            self._progress.waited(self._now_s() - max(began_s, over_s))
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
        mark = self._words.mark_of(cue)
        if mark.epoch != self._epoch:
            raise lacking(mark, self._ended.get(mark.epoch, "recorder_restarted"))
        if mark.sample is None:
            wait_s = self._progress.disorder.wait_s
            latest = self._progress.latest
            if not self._words.is_overdue(mark, self._now_s(), latest, wait_s):
                return None
            raise lacking(mark, self._why_no_word(mark))
        span_s = window_s if kept_s is None else union_s(window_s, kept_s)
        start, stop = (mark.sample + ticks_after(edge, self._rate_hz) for edge in span_s)
        if gap := self._gaps.between(min(start, mark.sample), stop):
            if not self._is_settled(gap):
                return None
            raise lacking(mark, gap.fault)
        if not self._has_all_until(stop, span_s[1], mark):
            return None
        self._given.add(cue, start, stop)
        ticks = self._spikes.ticks(start, stop, mark.sample)
        counts = counts_in(ticks, window_s, self._rate_hz)
        onset_s = mark.sample / self._rate_hz
        return Measurement(counts, onset_s, None if kept_s is None else ticks)

    def _why_no_word(self, mark: Mark) -> str:
        if self._progress.n_heard == mark.n_heard and not self._words.is_past(
            mark, self._progress.latest, self._progress.disorder.wait_s
        ):
            self._doubt_silence()
            return "silent_stream"
        gap = self._gaps.since(mark.marked_s - EARLY_S)
        why = self._words.why_none(mark)
        return gap.fault if gap and why != "word_off_clock" else why or "missing_word"

    def _has_all_until(self, stop: int, stop_s: float, mark: Mark) -> bool:
        over_s = self._over_s(mark, stop_s)
        if self._progress.has_all(stop, over_s):
            return True
        if self._progress.is_given_up(over_s, self._now_s()):
            raise lacking(mark, "silent_stream")
        return False

    def _over_s(self, mark: Mark, stop_s: float) -> float:
        """When the window was over, on the rig's clock, for somebody who hears of it by the recorder."""
        return mark.marked_s + max(0.0, stop_s) + mark.late_s

    def _is_settled(self, gap: Gap) -> bool:
        if self._progress.is_past(gap.last):
            return True
        return self._now_s() >= gap.noticed_s + self._limits.word_wait_s

    # --- the stream ----------------------------------------------------------------------------

    def _hear(self, sample: int, *, is_measured: bool = False, says_time: bool = True) -> None:
        if self._progress.is_before(sample):
            if says_time:
                self._begin_epoch("recorder_restarted")
        elif is_measured:
            self._progress.came(sample, self._now_s())
        if gap := self._beginning.heard(sample, self._now_s(), self.wait_ticks):
            self._gaps.add(gap)
        is_time = says_time or self._progress.latest is None
        if is_time and (hole := self._progress.hear(sample, self._now_s())):
            self._gaps.add(Gap("silent_stream", *hole, self._now_s()))
        if not self._words.marks and len(self._spikes) > 1:
            self._prune()

    def _begin_epoch(self, fault: str) -> None:
        self._ended = {self._epoch: fault}
        self._doubt_silence()
        self._epoch += 1
        self._beginning.restarted(fault)
        self._notice_gaps()
        self._given.begin()
        self._progress.begin()
        self._words.forget()
        self._spikes.clear()
        self._gaps.clear()

    def _prune(self) -> None:
        if self._progress.latest is None:
            return
        self._notice_gaps()
        oldest = self._progress.latest - self._before_s * self._rate_hz
        self._spikes.prune(oldest)
        self._gaps.prune(oldest)

    def _doubt_silence(self) -> None:
        """Windows that were counted because nothing came, and nothing has come since."""
        latest = self._progress.latest
        if latest is not None and self._given.missed(latest + 1, FAR):
            self._withdraw("nothing has come since the begin")

    def _notice_late(self, sample: int) -> None:
        """A spike that counts: is it of a window that was counted without it?"""
        if self._given.missed(sample, sample):
            if self._words.line:
                rig_s = self._words.line.rig_s(sample / self._rate_hz)
                self._progress.silence_was_short(self._now_s() - rig_s)
            self._withdraw("a spike has come")

    def _notice_gaps(self) -> None:
        """Gaps that have not filled, in windows that were counted before they were found."""
        for gap in self._gaps.final(self._is_settled):
            if self._given.missed(gap.first, gap.last):
                self._withdraw("messages were found to be missing")

    def _withdraw(self, what: str) -> None:
        self._n_late += 1
        note = f"{what} of a presentation that was counted already: it is withdrawn (late_spikes)"
        self._notes += [note] * (note not in self._notes)
        logger.warning("%s", note)
