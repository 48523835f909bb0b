"""How far a recorder's messages are out of order, measured; and how long to wait for the last.

Two things are measured on every spike and every change of a word's lines:

- its *lag*: by how much it is of an earlier sample than the latest that was heard of;
- its *delay*: when it was read, against when it happened. A recorder that sends a buffer at a time has
  delays from nothing to a buffer's length, even where a single electrode fires. What the middle 95 %
  of delays span, divided by 0.95, is that length if spikes fall anywhere in the buffer.

The wait is the larger of the longest lag and that length, times `MARGIN`, and `EXTRA_S`. Until enough
was measured, it is `FIRST_S`, which is longer than any buffer that a known recorder can be set to.
Later it is never lowered, but raised by itself as soon as a lag asks for it.
"""

from __future__ import annotations

from collections import deque

import numpy as np

FIRST_S = 0.25
"""Longer than the longest buffer known: Open Ephys with 6000 samples at 44.1 kHz, 136 ms."""
MARGIN, EXTRA_S = 1.25, 0.002
N_ENOUGH, ENOUGH_S = 200, 2.0
"""Spikes and words, and the time they are spread over, before the wait is chosen."""
N_DELAYS, DELAYS_S = 2000, 20.0
"""Delays that are remembered; over longer, the drift of two clocks would pass for a delay."""
MIDDLE = 0.95
TOLD = 1.2
"""A wait that grows by this factor is told again."""


class Disorder:
    """Measures, and chooses the wait. Not thread-safe.

    Args:
        rate_hz: Samples in a second of the recorder's clock.
        first_s: The wait until enough was measured.
        least_s: The wait is never shorter.
        may_fall: Whether the first wait may be shortened to what was measured.
    """

    def __init__(
        self,
        rate_hz: float,
        first_s: float = FIRST_S,
        *,
        least_s: float = 0.0,
        may_fall: bool = True,
    ) -> None:
        self._rate_hz = rate_hz
        self._first_s, self._least_s, self._may_fall = max(first_s, least_s), least_s, may_fall
        self._notes: list[str] = []
        self._longest_s = 0.0
        self._told_s = self._first_s
        self.begin()

    def begin(self) -> None:
        """The recorder began anew, perhaps with another buffer: measure again."""
        longest_s = self._asked_s(self._longest_s) if self._longest_s else 0.0
        self._set_wait(max(self._first_s, longest_s))
        self._n = 0
        self._began_s: float | None = None
        self._is_chosen = False
        self._longest_s = 0.0
        self._delays: deque[tuple[float, float]] = deque(maxlen=N_DELAYS)

    @property
    def wait_s(self) -> float:
        """The wait."""
        return self._wait_s

    @property
    def wait_ticks(self) -> int:
        """The wait in samples, rounded up."""
        return self._wait_ticks

    @property
    def is_measured(self) -> bool:
        """Whether enough was seen."""
        return self._is_chosen

    def came(self, sample: int, latest: int | None, now_s: float) -> None:
        """A spike, or a word's line, of `sample` was read at `now_s`; `latest` was heard of before."""
        self._n += 1
        self._began_s = now_s if self._began_s is None else self._began_s
        self._delays.append((now_s, now_s - sample / self._rate_hz))
        if latest is not None and latest > sample:
            self.lagged((latest - sample) / self._rate_hz)
        step = N_DELAYS if self._is_chosen else N_ENOUGH
        if self._n % step == 0 and now_s - self._began_s >= ENOUGH_S:
            self._choose(now_s)

    def lagged(self, lag_s: float) -> None:
        """Something came so long after what was heard of already; raises the wait if it must."""
        if lag_s <= self._longest_s:
            return
        self._longest_s = lag_s
        self._raise(self._asked_s(lag_s))

    def length_s(self, now_s: float) -> float:
        """The recorder's buffer by the delays of the last `DELAYS_S`; 0 if they are too few."""
        delays_s = [delay for at_s, delay in self._delays if at_s >= now_s - DELAYS_S]
        if len(delays_s) < N_ENOUGH // 4:
            return 0.0
        low, high = np.quantile(delays_s, [(1 - MIDDLE) / 2, (1 + MIDDLE) / 2])
        return float(high - low) / MIDDLE

    def notes(self) -> tuple[str, ...]:
        """What was decided since this was last asked."""
        said, self._notes = tuple(self._notes), []
        return said

    def text(self) -> str:
        """What was measured, and what is waited; for people."""
        found = f"stragglers come up to {1000 * self._longest_s:.0f} ms behind"
        if not self._is_chosen:
            return f"{found} so far ({self._n} spikes and words); waits {1000 * self.wait_s:.0f} ms"
        return f"{found}; waits {1000 * self.wait_s:.0f} ms for them"

    def _choose(self, now_s: float) -> None:
        length_s = min(self.length_s(now_s), self._first_s)
        asked_s = self._asked_s(max(self._longest_s, length_s))
        if self._is_chosen or not self._may_fall:
            self._is_chosen = True
            self._raise(asked_s)
            return
        self._is_chosen = True
        self._set_wait(asked_s)
        self._told_s = asked_s
        self._notes.append(
            f"the recorder's stragglers come up to {1000 * self._longest_s:.0f} ms behind, in "
            f"buffers of about {1000 * length_s:.0f} ms ({self._n} spikes and words); "
            f"counts wait {1000 * self.wait_s:.0f} ms for them"
        )

    def _set_wait(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._wait_ticks = -int(-wait_s * self._rate_hz // 1)

    def _asked_s(self, lag_s: float) -> float:
        return max(self._least_s, MARGIN * lag_s + EXTRA_S)

    def _raise(self, asked_s: float) -> None:
        if asked_s <= self.wait_s:
            return
        self._set_wait(asked_s)
        if asked_s > TOLD * self._told_s:
            self._told_s = asked_s
            self._notes.append(
                f"something came {1000 * self._longest_s:.0f} ms behind what the recorder had told "
                f"already; counts now wait {1000 * asked_s:.0f} ms for such"
            )
