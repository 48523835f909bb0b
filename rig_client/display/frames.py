"""Time in frames: flips one after the other, and which of them came late."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DisplayError

logger = logging.getLogger(__name__)

LATE_FRAMES = 1.5
"""A flip later than this after the one before has missed its frame."""
TOLERANCE = 0.01
"""Relative difference between the measured and the configured refresh rate that is accepted."""
STEADY_FRACTION = 0.9
"""Of the measured intervals, how many must lie within 20 % of their median."""
SPARE_S = 0.004
"""What is left of a frame, at most a quarter of it, when a wait for its end returns."""
N_WARM_UP, N_MEASURED = 20, 120


def nearest_frames(duration_s: float, refresh_hz: float) -> int:
    """The whole number of frames nearest to a duration."""
    return round(duration_s * refresh_hz)


class FrameClock:
    """Virtual time of a screen: each flip begins a frame, at the end of the one before."""

    def __init__(self, refresh_hz: float) -> None:
        self._refresh_hz = refresh_hz
        self._n_flips = 0
        self._is_over = False

    def __call__(self) -> float:
        """Seconds; they stand still within a frame."""
        return (self._n_flips + self._is_over) / self._refresh_hz

    def flip(self) -> None:
        """The next frame begins."""
        self._n_flips += 1
        self._is_over = False

    def end(self) -> None:
        """The frame that stands is over."""
        self._is_over = True


class Frames:
    """Flips a window and keeps the time between flips.

    Args:
        flip: Returns once the frame is on the screen.
        refresh_hz: Frames a second.
        clock: Seconds; read once after every flip.
        real: The screen has frames of its own, and late ones count; else they are made up here.
        paced: Without frames of its own: wait for each one's time.
        wait: How to wait.
    """

    def __init__(
        self,
        flip: Callable[[], object],
        refresh_hz: float,
        *,
        clock: Callable[[], float] = time.perf_counter,
        real: bool = True,
        paced: bool = False,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._flip = flip
        self.refresh_hz = refresh_hz
        self.clock = clock
        self._real = real
        self._paced = paced and not real
        self._wait = wait
        self.last_s = clock()
        self._told: set[float] = set()

    def count(self, duration_s: float) -> int:
        """Frames nearest to `duration_s`; says once if they last 1 % longer or shorter."""
        n = nearest_frames(duration_s, self.refresh_hz)
        lasting_s = n / self.refresh_hz
        if abs(lasting_s - duration_s) > 0.01 * duration_s and duration_s not in self._told:
            self._told.add(duration_s)
            logger.warning(
                "%.1f ms are no whole number of frames at %g Hz: %d frames last %.1f ms",
                duration_s * 1000,
                self.refresh_hz,
                n,
                lasting_s * 1000,
            )
        return n

    def next(self) -> int:
        """One flip; returns how many frames were missed before it."""
        self._await_turn()
        before_s = self.last_s
        self._flipped()
        self.last_s = self.clock()
        return self._missed(self.last_s - before_s)

    def first(self, at_flip: Callable[[], float]) -> float:
        """One flip that begins something; `at_flip` has been called by it and knows its time."""
        self._await_turn()
        self._flipped()
        self.last_s = at_flip()
        return self.last_s

    def await_end(self) -> None:
        """Wait until the frame that stands is almost over; drawing the next one needs the rest.

        Virtual time needs no rest.
        """
        if isinstance(self.clock, FrameClock):
            self.clock.end()
        elif self._real or self._paced:
            spare_s = min(SPARE_S, 0.25 / self.refresh_hz)
            left_s = self.last_s + 1 / self.refresh_hz - spare_s - self.clock()
            if left_s > 0:
                self._wait(left_s)

    def intervals_s(self, n: int = N_MEASURED) -> NDArray[np.float64]:
        """Times between `n` flips and the flips before them, `(n,)` seconds."""
        for _ in range(N_WARM_UP):
            self.next()
        times = [self.last_s]
        for _ in range(n):
            self.next()
            times.append(self.last_s)
        return np.diff(times)

    @property
    def is_virtual(self) -> bool:
        """Whether frames pass as fast as they can be drawn, in a time of their own."""
        return isinstance(self.clock, FrameClock)

    def _flipped(self) -> None:
        if isinstance(self.clock, FrameClock):
            self.clock.flip()  # before: what is called at the flip asks for its time
        self._flip()

    def _await_turn(self) -> None:
        """Paced frames lie on a grid, as a screen's do: one that is late delays no other."""
        if self._paced:
            due_s = (round(self.last_s * self.refresh_hz) + 1) / self.refresh_hz
            left_s = due_s - self.clock()
            if left_s > 0:
                self._wait(left_s)

    def _missed(self, interval_s: float) -> int:
        frames = interval_s * self.refresh_hz
        return max(1, round(frames) - 1) if self._real and frames > LATE_FRAMES else 0


def check_refresh(intervals_s: NDArray[np.float64], refresh_hz: float) -> float:
    """The refresh rate that `intervals_s` show, in Hz.

    Raises:
        DisplayError: If it is not `refresh_hz`, or not steady.
    """
    median_s = float(np.median(intervals_s))
    measured_hz = 1 / median_s if median_s > 0 else float("inf")
    steady = float(np.mean(np.abs(intervals_s - median_s) <= 0.2 * median_s))
    if abs(measured_hz / refresh_hz - 1) > TOLERANCE or steady < STEADY_FRACTION:
        raise DisplayError(
            "the screen does not keep the configured refresh rate",
            where="display option refresh_hz",
            expected=f"{refresh_hz:g} Hz, {STEADY_FRACTION:.0%} of the frames within 20 %",
            got=f"{measured_hz:.2f} Hz, {steady:.0%} of {len(intervals_s)} frames within 20 %",
            remedy="set refresh_hz to the screen's rate, or the screen to refresh_hz; close other "
            "programs, switch the compositor off; check_refresh = false only for a screen that has "
            "no frames of its own (Xvfb, remote desktop), and never before an animal",
        )
    return measured_hz
