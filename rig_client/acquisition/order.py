"""Electrodes and lines that speak in order: one that goes back means that the recorder began anew."""

from __future__ import annotations

from collections.abc import Hashable

BACK_S = 0.2
"""Within one electrode nothing is out of order; the rest is for networks that are not the vendor's."""


class Order:
    """Remembers where each electrode and line is.

    Args:
        rate_hz: Samples in a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._back = BACK_S * rate_hz
        self._latest: dict[Hashable, int] = {}

    def is_kept(self, source: Hashable, sample: int) -> bool:
        """Whether `source` goes on; else everything is forgotten: all of them began anew."""
        latest = self._latest.get(source, sample)
        if sample < latest - self._back:
            self._latest = {source: sample}
            return False
        self._latest[source] = max(latest, sample)
        return True

    def clear(self) -> None:
        """A new connection."""
        self._latest.clear()
