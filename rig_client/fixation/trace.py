"""Keeps where the subject looked, at a chosen rate, on the display's clock."""

from __future__ import annotations

import numpy as np

from protocols.vocabulary import Gaze as GazeArray
from rig_client.fixation.tracker import Gaze

EARLY = 0.25
"""A sample that comes by this fraction of a step before its turn is kept: trackers jitter."""


class GazeKeeper:
    """Keeps one sample a step, the first that comes in it.

    Args:
        rate_hz: Samples to keep in a second; a slower tracker's are all kept.
        start_s: When it begins.

    Attributes:
        start_s: Times of what `take` gave last count from here: 32 bits hold microseconds near 0, and
            only milliseconds after hours.
    """

    def __init__(self, rate_hz: float, start_s: float) -> None:
        self._step_s = 1 / rate_hz
        self.start_s = start_s
        self._next_s = -np.inf
        self._rows: list[tuple[float, float, float, float]] = []

    def add(self, gaze: Gaze) -> None:
        """A sample whose time is on the display's clock; they come in order."""
        if gaze.time_s < self._next_s - EARLY * self._step_s:
            return
        due_s = self._next_s + self._step_s
        self._next_s = due_s if due_s > gaze.time_s else gaze.time_s + self._step_s
        valid = float(gaze.is_valid)
        x_deg, y_deg = (gaze.x_deg, gaze.y_deg) if gaze.is_valid else (np.nan, np.nan)
        self._rows.append((gaze.time_s, x_deg, y_deg, valid))

    def take(self) -> GazeArray:
        """`(n, 4) float32` since this was last asked; places of invalid samples are NaN."""
        rows = np.array(self._rows, dtype=np.float64).reshape(-1, 4)
        self._rows = []
        if len(rows):
            self.start_s = float(rows[0, 0])
            rows[:, 0] -= self.start_s
        return rows.astype(np.float32)
