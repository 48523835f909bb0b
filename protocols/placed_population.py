"""Simulated neurons that see the screen, and not just the image on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from protocols.interfaces import SimulatedPopulation
from protocols.vocabulary import Images, Placement, Rates


@runtime_checkable
class PlacedPopulation(SimulatedPopulation, Protocol):
    """Ground truth that sees the screen, and not just the image on it."""

    def rates_on_screen(self, images: Images, places: Sequence[Placement]) -> Rates:
        """`(n, h, w, 3) uint8`, each at its place on gray → `(n, n_sites)` spikes/s."""
        ...
