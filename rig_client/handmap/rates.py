"""Rates of all sites as they come: the last half second, a slower average, and the baseline.

A number stands there only if all of the time that it is of was heard. After anything else (a gap, a
restart, silence) rates are unknown until there is a whole window again.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.live_interfaces import Fresh

Floats = NDArray[np.float64]
WINDOW_S = 0.5
AVERAGE_S = 2.0
"""Time constant of the slower average."""
STALE_S = 1.0
"""If nothing has become complete for so long, rates are unknown."""
SETTLE_S = 0.5
"""After the stimulus was hidden, answers to it go on for so long at most."""
BASELINE_S = 1.0
"""A baseline is of so long at least."""


class Reading(NamedTuple):
    """What is known now.

    Attributes:
        trouble: Why rates are unknown; empty if they are known.
        rates: `(n_sites,)` spikes/s in the last window; None: unknown.
        smooth: `(n_sites,)` spikes/s, exponential average; None: unknown.
        baseline: `(n_sites,)` spikes/s while nothing was shown, when that was last so; None: never yet.
        baseline_s: How long the baseline is of.
        window_s: What `rates` are of: the shortest whole spans that are at least `WINDOW_S`.
        age_s: Since anything came from the recorder.
        lag_s: How long ago the window ended.
        has_fired: `(n_sites,)` whether a site has had a spike since the hand map began; a site that never
            had one may be misnamed.
    """

    trouble: str
    rates: Floats | None
    smooth: Floats | None
    baseline: Floats | None
    baseline_s: float
    window_s: float
    age_s: float
    lag_s: float
    has_fired: NDArray[np.bool_]


class LiveRates:
    """Takes what a recorder gives, and says what it comes to. Knows no recorder and no clock."""

    def __init__(self) -> None:
        self._spans: deque[Fresh] = deque()
        self._smooth: Floats | None = None
        self._weight = 0.0
        self._last = Fresh(0.0, np.zeros(0), float("inf"), float("inf"), "nothing was heard yet")
        self._moved_s: float | None = None
        self._now_s = 0.0
        self._hidden_s: float | None = None
        self._resting: tuple[float, Floats] | None = None
        self._has_fired: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._baseline: tuple[float, Floats] | None = None

    def take(self, fresh: Fresh, now_s: float, *, hidden: bool) -> None:
        """One reading of the recorder, at `now_s`.

        Args:
            fresh: What it gave.
            now_s: On any clock that only rises.
            hidden: Whether nothing is shown.
        """
        self._last, self._now_s = fresh, now_s
        self._moved_s = now_s if self._moved_s is None else self._moved_s
        if not hidden:
            self._hidden_s = self._resting = None
        elif self._hidden_s is None:
            self._hidden_s = now_s
        if fresh.fault:
            self._forget()
        elif fresh.duration_s > 0:
            self._moved_s = now_s
            self._add(fresh)

    def reading(self) -> Reading:
        """By now."""
        fresh, trouble = self._last, self._trouble()
        duration_s = sum(span.duration_s for span in self._spans)
        rates = None
        if not trouble:
            rates = np.sum([span.counts for span in self._spans], axis=0) / duration_s
        smooth = None if self._smooth is None or trouble else self._smooth / self._weight
        baseline_s, baseline = self._baseline or (0.0, None)
        return Reading(
            trouble,
            rates,
            smooth,
            baseline,
            baseline_s,
            duration_s,
            fresh.age_s,
            fresh.lag_s,
            self._has_fired,
        )

    def _trouble(self) -> str:
        if self._last.fault:
            return self._last.fault
        stale_s = self._now_s - (self._moved_s or 0.0)
        if stale_s > STALE_S:
            return f"nothing new for {stale_s:.1f} s"
        if sum(span.duration_s for span in self._spans) < WINDOW_S:
            return f"less than {WINDOW_S:g} s heard so far"
        return ""

    def _forget(self) -> None:
        """What comes does not follow what came."""
        self._spans.clear()
        self._smooth, self._weight = None, 0.0
        self._resting = None

    def _add(self, fresh: Fresh) -> None:
        self._spans.append(fresh)
        fired = fresh.counts > 0
        self._has_fired = fired | self._has_fired if len(self._has_fired) else fired
        total_s = sum(span.duration_s for span in self._spans)
        while total_s - self._spans[0].duration_s >= WINDOW_S:
            total_s -= self._spans.popleft().duration_s
        part = 1 - float(np.exp(-fresh.duration_s / AVERAGE_S))
        before = np.zeros(len(fresh.counts)) if self._smooth is None else self._smooth
        self._smooth = before + part * (fresh.counts / fresh.duration_s - before)
        self._weight += part * (1 - self._weight)
        self._rest(fresh)

    def _rest(self, fresh: Fresh) -> None:
        """A span of which all was heard while nothing was shown, answers included, is baseline."""
        if self._hidden_s is None:
            return
        began_s = self._now_s - fresh.lag_s - fresh.duration_s
        if not began_s >= self._hidden_s + SETTLE_S:
            return
        had_s, had = self._resting or (0.0, np.zeros(len(fresh.counts)))
        self._resting = had_s + fresh.duration_s, had + fresh.counts
        if self._resting[0] >= BASELINE_S:
            self._baseline = self._resting[0], self._resting[1] / self._resting[0]
