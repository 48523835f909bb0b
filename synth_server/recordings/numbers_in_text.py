"""Numbers as spreadsheets of different countries write them: 1,234.5 or 1.234,5 or 1 234,5.

How a file writes them is decided from all of its cells, and refused where it stays open: 1.234 among
whole numbers is a thousand in one country and one in another.
"""

from __future__ import annotations

import re

from protocols.errors import DataError

MISSING = frozenset({"", "nan", "na", "n/a", "#n/a", "null", "none", "<na>", "-nan"})
"""How a cell without a number is written, in small letters."""
PLAIN = re.compile(r"[+-]?\d+(e[+-]?\d+)?", re.IGNORECASE)
POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
COMMA = re.compile(r"[+-]?(\d+,\d*|,\d+)(e[+-]?\d+)?", re.IGNORECASE)
POINT_OR_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}")
COMMA_OR_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
THOUSAND_COMMAS = re.compile(
    r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?|[+-]?\d{1,3}([ \u00a0\u202f']\d{3})+(\.\d*)?"
)
THOUSAND_POINTS = re.compile(
    r"[+-]?\d{1,3}(\.\d{3})+(,\d*)?|[+-]?\d{1,3}([ \u00a0\u202f']\d{3})+,\d*"
)
SPACES = re.compile("[ \u00a0\u202f']")


def is_number(cell: str) -> bool:
    """Whether Python reads `cell` as a number."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def plain_numbers(columns: list[list[str]], delimiter: str, where: str) -> list[list[str]]:
    """The cells of columns of numbers as Python writes numbers; all other cells as they are.

    Args:
        columns: Cells, without spaces around them.
        delimiter: Between cells in the file.
        where: The file, for messages.

    Raises:
        DataError: If numbers are written in two ways, or could mean two things.
    """
    numeric = [i for i, column in enumerate(columns) if _is_of_numbers(column)]
    cells = {cell for i in numeric for cell in columns[i]}
    odd = {cell for cell in cells if not PLAIN.fullmatch(cell) and cell.casefold() not in MISSING}
    if not any("," in cell or SPACES.search(cell) or _in(POINT_OR_THOUSANDS, cell) for cell in odd):
        return columns
    points, commas = _evidence(odd)
    if points and commas:
        raise _refused("numbers are written in two ways", [points[0], commas[0]], where)
    if not points and not commas:
        commas = _open(odd, cells, delimiter, where)
    drop, decimal = (".", ",") if commas else (",", ".")
    changed = set(numeric)
    return [
        [_plain(cell, drop, decimal) for cell in column] if i in changed else column
        for i, column in enumerate(columns)
    ]


def _evidence(odd: set[str]) -> tuple[list[str], list[str]]:
    """Cells that can only be read with a decimal point, and only with a decimal comma."""
    points = sorted(
        c
        for c in odd
        if (_in(POINT, c) and not _in(POINT_OR_THOUSANDS, c))
        or (_in(THOUSAND_COMMAS, c) and not _in(COMMA_OR_THOUSANDS, c))
    )
    commas = sorted(
        c
        for c in odd
        if (_in(COMMA, c) and not _in(COMMA_OR_THOUSANDS, c))
        or (_in(THOUSAND_POINTS, c) and not _in(POINT_OR_THOUSANDS, c) and "," in c)
        or len(re.findall(r"\.\d{3}", c)) > 1
    )
    return points, commas


def _open(odd: set[str], cells: set[str], delimiter: str, where: str) -> list[str]:
    """Cells with a decimal comma, where each separator has three digits behind it."""
    points = sorted(c for c in odd if _in(POINT_OR_THOUSANDS, c))
    commas = sorted(c for c in odd if _in(COMMA_OR_THOUSANDS, c))
    whole = sorted(c for c in cells if PLAIN.fullmatch(c) and c.lstrip("+-") != "0")
    has_thousands = any(len(c.lstrip("+-")) > 3 for c in whole)
    if points and commas:
        raise _refused("numbers are written in two ways", [points[0], commas[0]], where)
    is_usual = delimiter != ";" if points else delimiter == ";" and not whole
    if (points or commas) and not (has_thousands or is_usual):
        seen = [(points or commas)[0], *whole[:1]]
        raise _refused("it stays open whether these are thousands", seen, where)
    return commas


def _refused(what: str, cells: list[str], where: str) -> DataError:
    return DataError(
        what,
        where=where,
        expected="numbers with a decimal point and nothing between thousands: 1234.5",
        got=", ".join(map(repr, cells)),
        remedy="write the table again, without separators of thousands",
    )


def _is_of_numbers(column: list[str]) -> bool:
    """Most different cells that are not empty look like numbers."""
    told = [cell for cell in set(column) if cell.casefold() not in MISSING]
    shapes = (PLAIN, POINT, COMMA, THOUSAND_COMMAS, THOUSAND_POINTS)
    return 2 * sum(any(_in(shape, cell) for shape in shapes) for cell in told) > len(told)


def _plain(cell: str, drop: str, decimal: str) -> str:
    shapes = (PLAIN, POINT, COMMA, THOUSAND_COMMAS, THOUSAND_POINTS)
    if not any(_in(shape, cell) for shape in shapes):
        return cell
    return SPACES.sub("", cell).replace(drop, "").replace(decimal, ".")


def _in(shape: re.Pattern[str], cell: str) -> bool:
    return shape.fullmatch(cell) is not None
