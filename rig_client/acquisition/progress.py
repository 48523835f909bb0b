"""How far a recorder's stream has come, and whether all of a window has arrived. Not thread-safe.

All of a window has arrived when

- the format says so: the reader knows that everything until its end was told (`complete`); or
- something later was heard, by the wait at least, which is chosen from the disorder that was measured
  on this very stream, see `disorder`; or
- nothing was, but the reader had read all there was (`drained`) at `quiet_s` after the window's end,
  and at the wait, if that is longer. Without `quiet_s` this does not count: a stream that always says
  something has no right to be quiet, nor has one that has never been so for so long: see `silence`.

A spike that comes for a window that was counted already, or a gap that is found in it, makes that
presentation `late`: its counts were too low, and are taken back.
"""

from __future__ import annotations

from rig_client.acquisition.disorder import MARGIN, Disorder
from rig_client.acquisition.silence import Silence
from rig_client.acquisition.words import Limits

LONGEST_QUIET_S = 2.0
BACKWARDS_S = 1.0
"""A recorder whose clock goes back by more was restarted."""


class Progress:
    """What the reader heard of, as samples of the recorder's clock.

    Args:
        rate_hz: Samples in a second.
        limits: When to believe the stream.
    """

    def __init__(self, rate_hz: float, limits: Limits) -> None:
        self._rate_hz = rate_hz
        self._limits = limits
        self.disorder = Disorder(
            rate_hz, limits.settle_s, least_s=limits.least_s, may_fall=limits.is_measured
        )
        self._silence = Silence(rate_hz)
        self._quiet_s = limits.quiet_s
        self._heard_s = float("-inf")
        self._n_waits, self._waited_s = 0, 0.0
        self.n_heard = 0
        self.latest: int | None = None
        self._complete: int | None = None
        self._overclaimed = 0
        self._drained_s = float("-inf")

    def begin(self) -> None:
        """The recorder has a new clock."""
        self.latest = self._complete = None
        self._overclaimed = 0
        self._drained_s = float("-inf")
        self.disorder.begin()
        self._silence.begin()

    def hear(self, sample: int, now_s: float) -> tuple[int, int] | None:
        """The stream has come to `sample`.

        Returns:
            The first and the last sample of which something must have been lost, if there are such.
        """
        self.n_heard += 1
        self._heard_s = now_s
        hole = self._hole(sample)
        self._silence.heard(sample)
        self.latest = sample if self.latest is None else max(self.latest, sample)
        return hole

    def complete(self, sample: int) -> None:
        """Everything before `sample` has been told; believed until something proves it wrong."""
        self._complete = sample if self._complete is None else max(self._complete, sample)

    @property
    def completed(self) -> int | None:
        """Everything before was told, as far as that can be believed; None: nobody says so."""
        return None if self._complete is None else self._complete - self._overclaimed

    def came(self, sample: int, now_s: float) -> None:
        """A spike, or a part of a word, of `sample` is read now: measure by it."""
        self.disorder.came(sample, self.latest, now_s)
        if self._complete is not None and sample < self._complete:
            self._overclaimed = max(self._overclaimed, int(MARGIN * (self._complete - sample)) + 1)

    def drained(self, now_s: float) -> None:
        """Everything that had arrived was read."""
        self._drained_s = now_s

    @property
    def edge(self) -> int | None:
        """Everything before this sample has arrived, by now; None: nothing was heard yet.

        While a stream that may be quiet is so, its time is taken to go on as this computer's does.
        """
        if self.latest is None:
            return None
        known = self.latest - self.disorder.wait_ticks
        if self._quiet_s is not None:
            quiet_s = self._drained_s - self._heard_s - self._silence_s
            known = max(known, self.latest + int(max(quiet_s, -self._silence_s) * self._rate_hz))
        return known if (completed := self.completed) is None else max(known, completed)

    def silent_s(self, now_s: float) -> float:
        """Since anything was heard; infinite before the first."""
        return now_s - self._heard_s

    @property
    def is_silence_doubtful(self) -> bool:
        """Whether the stream has been silent for longer than it is, where all is well."""
        silent_s = self._drained_s - self._heard_s - self.disorder.wait_s
        return self._silence.is_doubtful(silent_s)

    def is_before(self, sample: int) -> bool:
        """Whether the clock went back, by more than disorder can explain."""
        return self.latest is not None and sample < self.latest - BACKWARDS_S * self._rate_hz

    def is_past(self, sample: int) -> bool:
        """Whether the stream is past `sample` by the wait."""
        return self.latest is not None and self.latest >= sample + self.disorder.wait_ticks

    def has_all(self, stop: int, over_s: float) -> bool:
        """Whether everything before sample `stop` has arrived, which was at `over_s` for the rig."""
        if (completed := self.completed) is not None and completed >= stop:
            return True
        return self.is_past(stop) or (
            self._quiet_s is not None
            and self._drained_s >= over_s + self._silence_s
            and not self.is_silence_doubtful
        )

    def is_given_up(self, over_s: float, now_s: float) -> bool:
        """Whether too long nothing came of what was over at `over_s`."""
        return now_s >= over_s + self._silence_s + self._limits.word_wait_s

    def silence_was_short(self, late_by_s: float) -> None:
        """Silence had been believed, and something came so long after it had happened."""
        if self._quiet_s is not None:
            self._quiet_s = max(self._quiet_s, min(LONGEST_QUIET_S, MARGIN * late_by_s))

    def waited(self, duration_s: float) -> None:
        """A count was waited for so long after its window's end."""
        self._n_waits += 1
        self._waited_s += max(0.0, duration_s)

    @property
    def mean_wait_s(self) -> float:
        """What the wait costs per presentation, so far."""
        return self._waited_s / self._n_waits if self._n_waits else 0.0

    def notes(self) -> tuple[str, ...]:
        """What was measured and decided since this was last asked."""
        return (*self.disorder.notes(), *self._silence.notes())

    def text(self) -> str:
        """What was measured, and what it costs; for people."""
        text = self.disorder.text()
        return f"{text}: {1000 * self.mean_wait_s:.0f} ms a presentation" if self._n_waits else text

    def _hole(self, sample: int) -> tuple[int, int] | None:
        if self.latest is None or sample <= self.latest + self.disorder.wait_ticks:
            return None
        silent_s = (sample - self.latest - self.disorder.wait_ticks) / self._rate_hz
        if not self._silence.is_doubtful(silent_s):
            return None
        self._silence.ended(silent_s)
        return self.latest + 1, sample - 1

    @property
    def _silence_s(self) -> float:
        return max(self._quiet_s or 0.0, self.disorder.wait_s)
