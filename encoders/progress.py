"""How long work says how far it is; who draws a bar knows no more than this."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with steps done, steps in all, and what is being done."""


def silent(done: int, total: int, what: str) -> None:
    """Tells nobody."""


class Steps:
    """Counts steps of work of a known length, which several threads may do.

    Args:
        total: Steps in all.
        progress: Told of the beginning and of each step.
    """

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()
        progress(0, total, "")

    def step(self, what: str) -> None:
        """One more step, `what`, is done."""
        with self._lock:
            self._done += 1
            self._progress(self._done, self._total, what)
