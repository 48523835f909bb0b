"""How a recorder's clock runs against the rig's: a line through the words that both have seen."""

from __future__ import annotations

from collections import deque

import numpy as np

from protocols.vocabulary import RecorderClock

N_WORDS = 256
"""Words in the fit: some minutes, over which the drift of a quartz is constant."""
MIN_WORDS, MIN_SPAN_S = 8, 2.0
"""Before that, clocks are taken to run alike: jitter would pass for drift."""
MAX_DRIFT = 1e-3
"""No two recorders' clocks differ by more than 1000 ppm."""


class ClockLine:
    """`recorder_s = rig_s + offset + drift · (rig_s − reference)`, fitted robustly.

    Least squares; then points off by more than three (scaled) median absolute deviations are left
    out, and the rest is fitted again.

    Args:
        tolerance_s: By how much a word may be off the line.
    """

    def __init__(self, tolerance_s: float) -> None:
        self._tolerance_s = tolerance_s
        self._points: deque[tuple[float, float]] = deque(maxlen=N_WORDS)
        self._n_words = 0
        self._stale = False
        self._reference_s = self._offset_s = self._drift = 0.0
        self._residual_s = self._slack = 0.0

    def __bool__(self) -> bool:
        """Whether there is a line: one word is enough."""
        return bool(self._points)

    def clear(self) -> None:
        """The recorder has a new clock."""
        self._points.clear()
        self._n_words = 0

    def add(self, rig_s: float, recorder_s: float) -> None:
        """A word, as it was seen by both."""
        self._points.append((rig_s, recorder_s))
        self._n_words += 1
        self._stale = True

    def recorder_s(self, rig_s: float) -> float:
        """The recorder's time at `rig_s`; there must be a line."""
        self._fit()
        return rig_s + self._offset_s + self._drift * (rig_s - self._reference_s)

    def rig_s(self, recorder_s: float) -> float:
        """The rig's time at `recorder_s`; there must be a line."""
        self._fit()
        since_s = recorder_s - self._offset_s - self._reference_s
        return self._reference_s + since_s / (1 + self._drift)

    def allowed_s(self, rig_s: float) -> float:
        """By how much a word at `rig_s` may be off: more, the longer there was none."""
        self._fit()
        gap_s = max(0.0, rig_s - self._points[-1][0])
        return self._tolerance_s + self._slack * gap_s

    def clock(self) -> RecorderClock | None:
        """The line, for the log; None without a word."""
        if not self._points:
            return None
        last_s = self._points[-1][0]
        return RecorderClock(
            offset_s=self.recorder_s(last_s) - last_s,
            drift_ppm=self._drift * 1e6,
            residual_s=self._residual_s,
            n_words=self._n_words,
        )

    def _fit(self) -> None:
        if not self._stale:
            return
        self._stale = False
        rig_s, recorder_s = np.array(self._points).T
        self._reference_s = float(rig_s.mean())
        x, y = rig_s - self._reference_s, recorder_s - rig_s
        offset, drift = _line(x, y)
        residuals = y - offset - drift * x
        spread = 1.4826 * float(np.median(np.abs(residuals - np.median(residuals))))
        kept = np.abs(residuals - np.median(residuals)) <= max(3 * spread, 1e-6)
        offset, drift = _line(x[kept], y[kept])
        self._offset_s, self._drift = offset, drift
        self._residual_s = float(np.sqrt(np.mean((y - offset - drift * x)[kept] ** 2)))
        self._slack = MAX_DRIFT
        if len(x) >= MIN_WORDS and np.ptp(x) >= MIN_SPAN_S:
            error = 3 * max(self._residual_s, 1e-4) / float(np.sqrt(np.sum(x[kept] ** 2)))
            self._slack = min(MAX_DRIFT, error)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Offset at x = 0 and slope; the slope is 0 while there is too little to tell."""
    if len(x) < MIN_WORDS or np.ptp(x) < MIN_SPAN_S:
        return float(np.median(y)), 0.0
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    return float(y.mean() - slope * x.mean()), slope
