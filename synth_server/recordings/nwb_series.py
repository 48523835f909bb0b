"""When images were shown, where an NWB file says it in its own way: other onsets, series of indices."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from protocols.errors import DataError
from synth_server.recordings.csv_files import pandas
from synth_server.recordings.words import plain

START = "start_time"
ONSET = re.compile(
    r"(stim|stimulus|image|img|picture|photo|flash|sample)_?(on|onset|start)(_?time)?(_?s)?"
)
"""A column with the moment of the image, where `start_time` is that of the trial."""


def onset_column(table: Any, where: str) -> str:
    """The column with the onset of each image: `start_time`, or one called `stim_on_time` or alike.

    Raises:
        DataError: If several columns may be it, and differ.
    """
    named = [str(c) for c in table.columns if ONSET.fullmatch(plain(str(c)))]
    numbers = {name: table[name].to_numpy(dtype=np.float64) for name in named}
    start = table[START].to_numpy(dtype=np.float64)
    others = {
        n: v for n, v in numbers.items() if not np.allclose(v, start, equal_nan=True, atol=1e-6)
    }
    if not others:
        return START
    first = next(iter(others.values()))
    if len(named) > len(others) or not all(
        np.allclose(v, first, equal_nan=True) for v in others.values()
    ):
        raise DataError(
            "several columns may be the onset of the image",
            where=where,
            expected="one column such as stim_on_time, or start_time alone",
            got=", ".join(named),
            remedy="remove the others from the table",
        )
    return next(iter(others))


def series_table(file: Any) -> Iterator[tuple[str, Any]]:
    """Every series of indices into images as a table of presentations."""
    for name, series in dict(file.stimulus or {}).items():
        if type(series).__name__ != "IndexSeries":
            continue
        indices = np.asarray(series.data[:]).astype(np.int64).ravel()
        if series.timestamps is not None:
            onset = np.asarray(series.timestamps[:], dtype=np.float64)
        else:
            onset = series.starting_time + np.arange(len(indices)) / series.rate
        yield name, pandas().DataFrame({START: onset, "image": _names(series, indices)})


def _names(series: Any, indices: Any) -> list[str]:
    """Names of the images that are meant, or their places if they have none."""
    images = getattr(series, "indexed_images", None)
    if images is None:
        return [str(index) for index in indices]
    order = images.order_of_images
    names = [each.name for each in order.data[:]] if order is not None else list(images.images)
    return [names[index] if 0 <= index < len(names) else "-1" for index in indices]
