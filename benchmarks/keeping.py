"""Results by name in a file of JSON lines, so that a long run can go on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path


class Kept:
    """Results of a run, kept as they come.

    Args:
        path: Where; None keeps them for this run only. A file of other settings is not noticed: its names
            must say what they depend on.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path and path.is_file() else []
        self._known: dict[str, list[float]] = dict(json.loads(line) for line in lines)

    def has(self, names: Sequence[str]) -> bool:
        """Whether all of these are there."""
        return all(name in self._known for name in names)

    def or_made(self, name: str, make: Callable[[], Sequence[float]]) -> list[float]:
        """What is known by this name, or what `make` finds, which is kept."""
        if name not in self._known:
            self._known[name] = list(make())
            if self._path:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps([name, self._known[name]]) + "\n")
        return self._known[name]
