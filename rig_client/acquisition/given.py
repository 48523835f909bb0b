"""Windows whose counts were given already: what comes for them later was missed."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import NamedTuple

from protocols.vocabulary import Cue


class Window(NamedTuple):
    """Samples `[start, stop)`; `number` only keeps order among equals."""

    start: int
    stop: int
    number: int
    cue: Cue


class Given:
    """Remembers the windows of the current block and of the one before.

    Those of the block before are kept because its last windows are counted just before the next
    block begins. Asking a second time about a showing replaces its window.
    """

    def __init__(self) -> None:
        self._windows: list[Window] = []
        self._longest = 0
        self._n = 0
        self._late: dict[Cue, None] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def add(self, cue: Cue, start: int, stop: int) -> None:
        """The counts of `cue` in `[start, stop)` are given out now."""
        if self._windows and self._windows[-1].cue.block_index != cue.block_index:
            kept = cue.block_index - 1
            self._windows = [one for one in self._windows if one.cue.block_index >= kept]
        self._late.pop(cue, None)
        self._windows = (
            [w for w in self._windows if w.cue != cue] if self._has(cue) else self._windows
        )
        self._n += 1
        self._longest = max(self._longest, stop - start)
        insort(self._windows, Window(start, stop, self._n, cue))

    def missed(self, first: int, last: int) -> int:
        """Something of samples `first` to `last` was not counted.

        Returns:
            In how many windows it lies that were not known to have missed anything.
        """
        place = bisect_right(self._windows, last, key=lambda window: window.start)
        n_new = 0
        while place and self._windows[place - 1].start > first - self._longest:
            place -= 1
            window = self._windows[place]
            if window.stop > first and window.cue not in self._late:
                self._late[window.cue] = None
                n_new += 1
        return n_new

    def late(self) -> tuple[Cue, ...]:
        """Whose windows missed something, since this was last asked; they are forgotten."""
        late, self._late = tuple(self._late), {}
        self._windows = [one for one in self._windows if one.cue not in late]
        return late

    def begin(self) -> None:
        """The recorder has a new clock: what was missed stays known, windows are over."""
        self._windows.clear()

    def _has(self, cue: Cue) -> bool:
        return any(window.cue == cue for window in reversed(self._windows[-64:]))
