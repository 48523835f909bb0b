"""Presentations of a session at one place: the same image elsewhere is another stimulus to a neuron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.rig_description import DisplayDescription
from protocols.vocabulary import Placement


def at_main_place(columns: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.bool_], str]:
    """Which presentations were at the place that most were at, and a word about the others.

    Args:
        columns: Of the table of presentations; those of `Placement` are looked at, `(n,)` each.
    """
    names = [name for name in Placement.model_fields if name in columns]
    n = len(next(iter(columns.values())))
    if not names or not n:
        return np.ones(n, dtype=bool), ""
    places = np.nan_to_num(
        np.stack([np.asarray(columns[name], dtype=np.float64) for name in names], axis=1), nan=1e9
    )
    _, group, sizes = np.unique(places, axis=0, return_inverse=True, return_counts=True)
    most = int(np.argmax(sizes))
    kept = group.reshape(-1) == most
    n_left = int((~kept).sum())
    return kept, f"{n_left} presentations left out: shown at {len(sizes) - 1} other places" * (
        n_left > 0
    )


def place_in_words(columns: Mapping[str, NDArray[Any]], display: DisplayDescription | None) -> str:
    """Where presentations that are all at one place were; empty if nothing says so."""
    found = [np.asarray(columns[n], np.float64) for n in Placement.model_fields if n in columns]
    if len(found) == len(Placement.model_fields) and np.isfinite(found[-1]).all():
        x_deg, y_deg, size_deg = (float(values[0]) for values in found)
        return str(Placement(x_deg=x_deg, y_deg=y_deg, size_deg=size_deg))
    return str(display.place) if display else ""
