"""The campaign's table: a row a cell, its settings and its results as columns; Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synth_server.campaign.cell_run import Row
from synth_server.campaign.cells import Cell
from synth_server.campaign.document import label
from synth_server.campaign.measures import MEANINGS, NUMBERS
from synth_server.readers.export.libraries import pyarrow
from synth_server.readers.export.new_file import new_file

TABLE = "table.parquet"
STATE: Mapping[str, str] = {
    "cell": "hash of all that the cell is made from; its result lies in cells/CELL.json",
    "state": "done, failed, or missing: not computed yet",
    "error": "what failed",
}


class Table:
    """All cells of a campaign in their order, with what is known of each.

    Args:
        cells: The campaign's.
        rows: Cell's name → its result; cells without one are `missing`.

    Attributes:
        settings: Names of the columns that are settings.
        columns: Name → values, one for each cell; None where there is none.
    """

    def __init__(self, cells: Sequence[Cell], rows: Mapping[str, Row]) -> None:
        by_cell = [cell.columns for cell in cells]
        self.settings = list(dict.fromkeys(name for each in by_cell for name in each))
        found = [rows.get(cell.name) for cell in cells]
        self.columns: dict[str, list[Any]] = {
            "cell": [cell.name for cell in cells],
            "state": [row.state if row else "missing" for row in found],
            "error": [row.error or None if row else None for row in found],
        }
        for name in self.settings:
            self.columns[name] = _of_one_type([each.get(name) for each in by_cell])
        for name in MEANINGS:
            self.columns[name] = [row.measures.get(name) if row else None for row in found]

    def __len__(self) -> int:
        return len(self.columns["cell"])

    def varied(self) -> list[str]:
        """Settings that differ between cells."""
        return [n for n in self.settings if len({repr(v) for v in self.columns[n]}) > 1]

    def write(self, folder: Path) -> Path:
        """Write `table.parquet`; the same cells with the same results are the same bytes.

        Raises:
            DataError: If it cannot be written.
            InstallationError: If pyarrow is not installed.
        """
        arrow, parquet = pyarrow("pyarrow"), pyarrow("pyarrow.parquet")
        columns = {name: arrow.array(values) for name, values in self.columns.items()}
        for name, values in self.columns.items():
            if all(value is None for value in values):
                kind = arrow.float64() if name in NUMBERS else arrow.string()
                columns[name] = arrow.array(values, type=kind)
        meanings = {
            f"meaning of {name}".encode(): text.encode()
            for name, text in {**STATE, **MEANINGS}.items()
        }
        path = folder / TABLE
        with new_file(path, ".parquet", force=True) as unfinished:
            parquet.write_table(arrow.table(columns).replace_schema_metadata(meanings), unfinished)
        return path


def _of_one_type(values: list[Any]) -> list[Any]:
    """A column that holds numbers in some cells and words in others becomes words."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} and float in kinds:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        return [None if value is None else label(value) for value in values]
    return values
