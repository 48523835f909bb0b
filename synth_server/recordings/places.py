"""Presentations of a session at one place: the same image elsewhere is another stimulus to a neuron."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
