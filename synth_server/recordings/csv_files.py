"""CSV and Parquet files as tables: any delimiter, decimal commas, marks, with or without a header."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from typing import Any

from protocols.errors import DataError, InstallationError
from protocols.text_files import read_text

DELIMITERS = (";", "\t", ",")


def pandas() -> Any:
    """pandas, loaded when a table is read.

    Raises:
        InstallationError: If it is not installed.
    """
    try:
        return import_module("pandas")
    except ImportError as error:
        raise InstallationError(
            "tables of responses need pandas", got=error, remedy="pip install 'stimloop[server]'"
        ) from None


def read_csv(path: Path) -> Any:
    """The table in a text file, every cell as it stands if it is no number.

    Raises:
        DataError: If it is no table.
    """
    try:
        text = read_text(path)
        lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
        delimiter = _delimiter(lines[0] if lines else "")
        decimal = "," if delimiter != "," and _has_decimal_commas(lines, delimiter) else "."
        first = [cell.strip().strip('"') for cell in lines[0].split(delimiter)] if lines else []
        return pandas().read_csv(
            io.StringIO("\n".join(lines)),
            sep=r"\s+" if delimiter == " " else delimiter,
            decimal=decimal,
            header=None if all(_is_number(cell, decimal) for cell in first) else 0,
            skipinitialspace=True,
        )
    except (OSError, ValueError) as error:
        raise DataError(
            "the table cannot be read",
            where=str(path),
            expected="rows of cells, separated by commas, semicolons or tabs",
            got=error,
        ) from None


def read_parquet(path: Path) -> Any:
    """The table in a Parquet file.

    Raises:
        DataError: If it is none.
        InstallationError: If pyarrow is not installed.
    """
    try:
        return pandas().read_parquet(path)
    except ImportError as error:
        raise InstallationError(
            "Parquet files need pyarrow", got=error, remedy="pip install 'stimloop[nwb]'"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError("the table cannot be read", where=str(path), got=error) from None


def _delimiter(line: str) -> str:
    counts = {delimiter: line.count(delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda each: counts[each])
    if counts[best]:
        return best
    return " " if len(line.split()) > 1 and all(_is_number(c, ".") for c in line.split()) else ","


def _has_decimal_commas(lines: list[str], delimiter: str) -> bool:
    cells = [cell.strip() for line in lines[1:50] for cell in line.split(delimiter)]
    return any("," in cell and _is_number(cell, ",") for cell in cells)


def _is_number(cell: str, decimal: str) -> bool:
    try:
        float(cell.replace(decimal, ".") if decimal != "." else cell)
    except ValueError:
        return not cell
    return True
