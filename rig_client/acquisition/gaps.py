"""Parts of a recorder's stream that have not arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(eq=False)
class Gap:
    """Something between samples `first` and `last` was lost, unless it still arrives."""

    fault: str
    first: int
    last: int
    noticed_s: float
    is_told: bool = False


class Gaps:
    """The gaps that may concern a window still."""

    def __init__(self) -> None:
        self._gaps: list[Gap] = []

    def __iter__(self) -> Iterator[Gap]:
        return iter(self._gaps)

    def add(self, gap: Gap) -> Gap:
        """Remember it."""
        self._gaps.append(gap)
        return gap

    def fill(self, gap: Gap) -> None:
        """What was missing has arrived after all."""
        if gap in self._gaps:
            self._gaps.remove(gap)

    def between(self, first: int, last: int) -> Gap | None:
        """One that touches these samples."""
        return next((gap for gap in self._gaps if gap.first <= last and gap.last >= first), None)

    def since(self, noticed_s: float) -> Gap | None:
        """One that was noticed at this time or later."""
        return next((gap for gap in self._gaps if gap.noticed_s >= noticed_s), None)

    def final(self, is_settled: Callable[[Gap], bool]) -> Iterator[Gap]:
        """Those that will not fill any more; each once."""
        for gap in self._gaps:
            if not gap.is_told and is_settled(gap):
                gap.is_told = True
                yield gap

    def prune(self, oldest: float) -> None:
        """Forget what ended before sample `oldest`."""
        self._gaps = [gap for gap in self._gaps if gap.last >= oldest]

    def clear(self) -> None:
        """Forget all."""
        self._gaps.clear()
