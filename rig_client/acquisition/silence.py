"""How long a recorder's stream is silent where all is well, and when silence means that something is lost.

A stream of events says nothing when nothing happens; it says nothing as well when acquisition was
stopped, or when a buffer has overflowed. What tells them apart is how much the stream says: 32
electrodes at 10 spikes/s are not silent for half a second. So silence is doubted if the stream would
have had `N_EXPECTED` messages in it, at the least that it has had in any of the last `N_BINS` half
seconds, and if it is longer than the third longest of such silences so far: neurons that fall silent
together do so again and again. Not thread-safe.
"""

from __future__ import annotations

from collections import deque

N_EXPECTED = 40.0
SHORTEST_S = 0.1
"""Nothing shorter is doubted."""
BIN_S, N_BINS = 0.5, 4
FEWEST_BINS = 2
"""Before so many are known, silence is believed."""
N_USUAL = 3
"""So many silences that were doubted, and the stream is one that is silent at times."""
MARGIN = 1.25


class Silence:
    """Follows the stream, by the recorder's samples.

    Args:
        rate_hz: Samples in a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._doubted_s: list[float] = []
        self._notes: list[str] = []
        self.begin()

    def begin(self) -> None:
        """The recorder began anew."""
        self._bins: deque[int] = deque(maxlen=N_BINS)
        self._bin: int | None = None
        self._n, self._is_whole = 0, False

    def heard(self, sample: int) -> None:
        """A message of `sample`."""
        here = int(sample / (BIN_S * self._rate_hz))
        if self._bin is None:
            self._bin, self._n, self._is_whole = here, 0, False
        while here > self._bin:
            if self._is_whole:
                self._bins.append(self._n)
            self._n, self._is_whole = 0, True
            self._bin = here if here > self._bin + N_BINS else self._bin + 1
        self._n += 1

    def is_doubtful(self, silent_s: float) -> bool:
        """Whether the stream cannot have been silent for so long."""
        if silent_s < SHORTEST_S or len(self._bins) < FEWEST_BINS:
            return False
        if silent_s * min(self._bins) / BIN_S < N_EXPECTED:
            return False
        usual = sorted(self._doubted_s)[-N_USUAL:]
        return len(usual) < N_USUAL or silent_s > MARGIN * usual[0]

    def ended(self, silent_s: float) -> None:
        """A silence that was doubted is over, and the stream went on."""
        n_expected = silent_s * min(self._bins) / BIN_S
        text = (
            f"nothing came for {silent_s:.2f} s, in which {n_expected:.0f} messages were to be "
            "expected: what was shown then is shown again (silent_stream)"
        )
        if len(self._doubted_s) == N_USUAL - 1:
            text += "; it was not the first time, so that such silences are believed from now on"
        self._notes.append(text)
        self._doubted_s = sorted([*self._doubted_s, silent_s])[-N_USUAL:]
        self._bin = None

    def notes(self) -> tuple[str, ...]:
        """What was doubted since this was last asked."""
        said, self._notes = tuple(self._notes), []
        return said
