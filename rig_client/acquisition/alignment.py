"""Words on one stream, spikes on another: two clocks, brought together by pulses that both see.

A pulse (rising edge) that is on a line of each stream is paired by when it was read, until there is a
line; then by the line. The line is the robust fit of `ClockLine`; lost pulses cost nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal, TypeAlias

from rig_client.acquisition.clock_line import ClockLine

logger = logging.getLogger(__name__)

Side: TypeAlias = Literal["words", "spikes"]
TOLERANCE_S = 0.005
TOGETHER_S = 0.2
"""Both edges of a pulse are read within this, or they are of different pulses."""
WORST_S = 0.001
"""No word is taken over that may be off by more, since the last pulse was too long ago."""
N_WRONG = 3
N_ENOUGH = 8


class Alignment:
    """Samples of the words' stream → samples of the spikes' stream.

    Args:
        rate_hz: Samples in a second of the spikes' stream.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._line = ClockLine(TOLERANCE_S)
        self._open: dict[Side, deque[tuple[float, float]]] = {
            "words": deque(maxlen=8),
            "spikes": deque(maxlen=8),
        }
        self._last_s: dict[Side, float] = {}
        self._n_wrong = 0
        self._notes: list[str] = []

    def clear(self) -> None:
        """A stream began anew."""
        self._line.clear()
        for edges in self._open.values():
            edges.clear()
        self._last_s.clear()
        self._n_wrong = 0

    def edge(self, side: Side, sample: int, rate_hz: float, heard_s: float) -> None:
        """A pulse began on one of the streams, and was read at `heard_s`."""
        at_s = sample / rate_hz
        if at_s < self._last_s.get(side, at_s):
            self.clear()
        self._last_s[side] = at_s
        other: Side = "spikes" if side == "words" else "words"
        for found in list(self._open[other]):
            pair = (at_s, found[0]) if side == "words" else (found[0], at_s)
            if self._belongs(*pair, abs(heard_s - found[1])):
                self._open[other].remove(found)
                self._add(*pair)
                return
        self._open[side].append((at_s, heard_s))

    def spikes_sample(self, sample: int, rate_hz: float) -> int | None:
        """The sample of the spikes' stream; None while the pulses cannot tell it to `WORST_S`."""
        at_s = sample / rate_hz
        if not self.is_known or self._line.allowed_s(at_s) > TOLERANCE_S + WORST_S:
            return None
        return round(self._line.recorder_s(at_s) * self._rate_hz)

    @property
    def is_known(self) -> bool:
        """Whether there were enough pulses for a line."""
        clock = self._line.clock()
        return clock is not None and clock.n_words >= N_ENOUGH

    def text(self) -> str:
        """The fit, for people."""
        clock = self._line.clock()
        if clock is None:
            n_seen = {side: len(edges) for side, edges in self._open.items()}
            return (
                "no pulse was seen on both streams yet (on the words' stream "
                f"{n_seen['words']}, on the spikes' {n_seen['spikes']})"
            )
        residual_ms = 1000 * clock.residual_s
        return (
            f"aligned by {clock.n_words} pulses, {clock.drift_ppm:.1f} ppm, "
            f"{residual_ms:.3f} ms about the line"
        )

    def notes(self) -> list[str]:
        """What was found since this was last asked."""
        said, self._notes = self._notes, []
        return said

    def _belongs(self, words_s: float, spikes_s: float, apart_s: float) -> bool:
        if apart_s > TOGETHER_S:
            return False
        if not self._line:
            return True
        off_s = spikes_s - self._line.recorder_s(words_s)
        if abs(off_s) <= self._line.allowed_s(words_s):
            return True
        self._n_wrong += 1
        if self._n_wrong >= N_WRONG:
            logger.warning("the streams' clocks have jumped against each other; aligning anew")
            self._line.clear()
            self._n_wrong = 0
            return True
        return False

    def _add(self, words_s: float, spikes_s: float) -> None:
        self._line.add(words_s, spikes_s)
        self._n_wrong = 0
        clock = self._line.clock()
        if clock is not None and clock.n_words == N_ENOUGH:
            self._notes.append(f"the stream of words is {self.text()}")
