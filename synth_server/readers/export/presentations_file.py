"""The table of presentations as CSV or Parquet: one row a showing, one column a site's counts."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np

from synth_server.readers.export.libraries import pyarrow
from synth_server.readers.export.new_file import new_file
from synth_server.readers.log.presentations import COLUMNS, PresentationTable

COUNT = "count_"
"""What a column of counts is called before its site's name."""
WORDS = ("fault", "simulated")
"""Columns in which "none" is an empty cell,"""
MEASURED = ("x_deg", "y_deg", "size_deg", "shown_ms")
"""and those in which NaN is."""
PARQUET, CSV = (".parquet", ".pq"), (".csv",)


def write_presentations(table: PresentationTable, out: Path, *, force: bool = False) -> None:
    """Write `table` to `out`, as the name's ending says.

    Raises:
        InstallationError: If it is to be Parquet, and pyarrow is not installed.
        SettingsError: If `out` is there already, or ends otherwise.
    """
    is_parquet = out.suffix.lower() in PARQUET
    if is_parquet:
        pyarrow("pyarrow.parquet")
    with new_file(out, *CSV, *PARQUET, force=force) as unfinished:
        if is_parquet:
            _write_parquet(table, unfinished)
        else:
            _write_csv(table, unfinished)


def _write_csv(table: PresentationTable, path: Path) -> None:
    """UTF-8, comma, point; an empty cell is what there is none of. Floats are told exactly."""
    columns = [table.columns[name].tolist() for name in COLUMNS]
    counts = table.counts.tolist()
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *(COUNT + site for site in table.site_ids)])
        for row, its_counts in zip(zip(*columns, strict=True), counts, strict=True):
            cells = (_cell(name, value) for name, value in zip(COLUMNS, row, strict=True))
            writer.writerow([*cells, *(_count(value) for value in its_counts)])


def _cell(name: str, value: Any) -> Any:
    nothing = (
        (name == "generation" and value == -1)
        or (name in WORDS and value == "none")
        or (name in MEASURED and math.isnan(value))
    )
    return "" if nothing else value


def _count(value: float) -> str:
    if math.isnan(value):
        return ""
    return str(int(value)) if value == int(value) else repr(value)


def _write_parquet(table: PresentationTable, path: Path) -> None:
    """Null is what there is none of."""
    arrow, parquet = pyarrow("pyarrow"), pyarrow("pyarrow.parquet")
    columns: dict[str, Any] = {}
    for name in COLUMNS:
        values = table.columns[name]
        kind = arrow.string() if values.dtype == object else arrow.from_numpy_dtype(values.dtype)
        nothing = np.array([_cell(name, each) == "" for each in values.tolist()], dtype=bool)
        mask = nothing if nothing.any() else None
        columns[name] = arrow.array(values, type=kind, mask=mask)
    for place, site in enumerate(table.site_ids):
        counts = table.counts[:, place]
        columns[COUNT + site] = arrow.array(counts, mask=np.isnan(counts))
    meanings = {
        f"meaning of {name}".encode(): meaning.encode() for name, meaning in COLUMNS.items()
    }
    parquet.write_table(arrow.table(columns).replace_schema_metadata(meanings), path)
