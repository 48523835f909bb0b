"""CSV, Parquet and Feather files as tables: any delimiter, decimal commas, marks, with or without a header.

Cells of a text file stay text, as they stand: `001` is no 1, and a site may be called NA. What is a
number is decided by `numbers_in_text`, once for the whole file, and by whoever uses a column.
"""

from __future__ import annotations

import csv
import io
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from protocols.errors import DataError, InstallationError
from protocols.text_files import read_text
from synth_server.recordings.numbers_in_text import MISSING, is_number, plain_numbers

DELIMITERS = (";", "\t", "|", ",")
SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""What Excel puts before a table, to say how its cells are separated."""
UNNAMED = "Unnamed: "
"""Begins the name of a column that has none; its number follows, from 0."""


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
    """The table in a text file: cells of text, those that are numbers with a decimal point.

    Raises:
        DataError: If it is no table, two columns have one name, or numbers are written in two ways.
    """
    try:
        delimiter, lines = _without_comments(read_text(path))
        if delimiter == " ":
            rows = [line.split() for line in lines]
        else:
            text = io.StringIO("\n".join(lines), newline="")
            cells = csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)
            rows = [[cell.strip() for cell in row] for row in cells]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(
            "the table cannot be read",
            where=str(path),
            expected="rows of cells, separated by commas, semicolons or tabs",
            got=error,
        ) from None
    rows = list(filter(any, rows))
    if not rows:
        raise DataError("the table has no rows", where=str(path))
    names = [] if all(map(_is_value, rows[0])) else rows.pop(0)
    width = _width(rows, names, str(path))
    columns = [[row[i] if i < len(row) else "" for row in rows] for i in range(width)]
    columns = plain_numbers(columns, delimiter, str(path))
    if not names:
        return pandas().DataFrame(dict(enumerate(columns)))
    named = zip(_column_names(names, width, str(path)), columns, strict=True)
    found = {n: c for n, c in named if not n.startswith(UNNAMED) or any(c)}
    return pandas().DataFrame(found, dtype=object)


def read_parquet(path: Path) -> Any:
    """The table in a Parquet or Feather file; an index that says something becomes columns.

    Raises:
        DataError: If it is none.
        InstallationError: If pyarrow is not installed.
    """
    try:
        with path.open("rb") as file:
            is_feather = file.read(6) == b"ARROW1"
        table = (pandas().read_feather if is_feather else pandas().read_parquet)(path)
    except ImportError as error:
        raise InstallationError(
            "Parquet files need pyarrow", got=error, remedy="pip install 'stimloop[nwb]'"
        ) from None
    except (OSError, ValueError) as error:
        raise DataError("the table cannot be read", where=str(path), got=error) from None
    if isinstance(table.index, pandas().RangeIndex) and table.index.name is None:
        return table
    named = [name or f"{UNNAMED}{i}" for i, name in enumerate(table.index.names)]
    return table.rename_axis(index=named).reset_index()


def _without_comments(text: str) -> tuple[str, list[str]]:
    """The delimiter, and the lines of the table.

    Lines that begin with # are comments before the table only (later on, `#1.png` is a name). The last
    of them is the row of names if it has as many cells as the next line: NumPy writes such headers.
    """
    lines = [line for line in text.split("\n") if line.strip(" ")]
    told = SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    lines = lines[1:] if told else lines
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    here, below = (*lines[first : first + 2], "", "")[:2]
    delimiter = told.group(1) if told else _delimiter(here, below)
    separator = None if delimiter == " " else delimiter
    above = lines[first - 1].lstrip("# ").split(separator) if first else []
    is_names = len(above) == len(here.split(separator)) > 1 and not all(map(_is_value, above))
    return delimiter, [lines[first - 1].lstrip("# ")] * is_names + lines[first:]


def _delimiter(line: str, below: str) -> str:
    """What separates the cells of `line`: spaces only where the line below it is nothing but numbers."""
    bare = re.sub(r'"[^"]*"', "", line)
    counts = {delimiter: bare.count(delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda each: counts[each])
    if counts[best]:
        return best
    spaced = below.split() or line.split()
    is_spaced = len(spaced) == len(line.split()) > 1 and all(map(is_number, spaced))
    return " " if is_spaced else ","


def _is_value(cell: str) -> bool:
    return is_number(cell.replace(",", ".")) or cell.casefold() in MISSING


def _width(rows: list[list[str]], names: list[str], where: str) -> int:
    """Columns of the table; a row with more cells than there are names is refused by its number."""
    if names and all(len(row) <= len(names) for row in rows):
        return len(names)
    used = [max((i + 1 for i, cell in enumerate(row) if cell), default=0) for row in rows]
    if names and max(used, default=0) > len(names):
        row = next(i for i, n in enumerate(used) if n > len(names))
        raise DataError(
            "a row has more cells than there are names of columns",
            where=f"{where}, row {row + 1} below the names",
            expected=f"{len(names)} cells",
            got=f"{used[row]}: {', '.join(rows[row])}"[:200],
            remedy="put numbers with a decimal comma, and names with commas, in quotation marks, or "
            "separate cells by semicolons; give every column a name",
        )
    return len(names) or max(used, default=0)


def _column_names(names: list[str], width: int, where: str) -> list[str]:
    found = [name or f"{UNNAMED}{i}" for i, name in enumerate(names)][:width]
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise DataError(
            "two columns have the same name",
            where=where,
            expected="a name of its own for each column",
            got=", ".join(twice)[:200],
            remedy="rename them; repetitions of one site are rows, or columns such as "
            f"{twice[0]}_rep1, {twice[0]}_rep2",
        )
    return found
