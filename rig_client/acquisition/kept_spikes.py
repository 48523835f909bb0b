"""The spikes that a trial may still ask for, by the recorder's samples. Not thread-safe."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from protocols.spike_times import Ticks


class KeptSpikes:
    """Spikes as they came: in order but for the stream's disorder.

    Args:
        n_sites: Places are from 0 on.
    """

    def __init__(self, n_sites: int) -> None:
        self._n_sites = n_sites
        self._spikes: deque[tuple[int, int]] = deque()

    def __len__(self) -> int:
        return len(self._spikes)

    def add(self, sample: int, places: Iterable[int]) -> None:
        """One spike, which counts for these sites."""
        self._spikes.extend((sample, place) for place in places)

    def ticks(self, start: int, stop: int, onset: int) -> tuple[Ticks, ...]:
        """Each site's spikes in `[start, stop)`, relative to `onset`, rising."""
        each: list[list[int]] = [[] for _ in range(self._n_sites)]
        for sample, place in self._spikes:
            if start <= sample < stop:
                each[place].append(sample - onset)
        return tuple(np.sort(np.array(one, np.int64)) for one in each)

    def prune(self, oldest: float) -> None:
        """Forget those before `oldest`; the oldest stand at the left."""
        while self._spikes and self._spikes[0][0] < oldest:
            self._spikes.popleft()

    def clear(self) -> None:
        """Forget all."""
        self._spikes.clear()
