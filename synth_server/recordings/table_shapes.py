"""Tables of other shapes, brought to rows of presentations: vectors in cells, a column a repetition,
a column an image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from protocols.errors import DataError
from synth_server.recordings.csv_files import pandas
from synth_server.recordings.matching import match
from synth_server.recordings.measured import Wanted
from synth_server.recordings.words import IMAGES, REPEATS, SITES, named_as, role_of

REPEATED = re.compile(
    r"(?P<site>.*?)[\W_]*(rep|reps|repeat|repetition|trial|presentation|pres)[\W_]*(?P<number>\d+)",
    re.IGNORECASE,
)
"""Name of a column that holds one repetition: `rep1`, `A1_trial_2`."""
COUNT, REPETITION = "count", "repetition"


def as_rows(table: Any, where: str, wanted: Wanted) -> tuple[Any, list[str]]:
    """The table with a row for each presentation or count, and what it took, in words.

    Raises:
        DataError: If vectors in its cells can't be told apart.
    """
    table, notes = _without_vectors(table, where, wanted)
    table, repeated = _without_repetition_columns(table)
    table, turned = _turned(table, wanted)
    return table, notes + repeated + turned


def _without_vectors(table: Any, where: str, wanted: Wanted) -> tuple[Any, list[str]]:
    """A vector in each row becomes columns of sites, or of repetitions of the row's one site."""
    vectors = [str(name) for name in table.columns if holds_vectors(table[name])]
    if not vectors:
        return table, []
    if len(vectors) > 1 and wanted.array in vectors:
        table = table.drop(columns=[name for name in vectors if name != wanted.array])
        vectors = [wanted.array]
    if len(vectors) > 1:
        raise DataError(
            "several columns hold a vector in each row",
            where=where,
            expected="one: that of the responses, chosen with --array NAME",
            got=", ".join(vectors),
        )
    rows = [np.asarray(each, dtype=np.float64).ravel() for each in table[vectors[0]]]
    sizes = {len(row) for row in rows}
    names = [str(name) for name in table.columns]
    told = [role_of(axis) for axis in wanted.axes]
    is_repeats = named_as(SITES, names) or len(sizes) > 1 or (told and told[-1] == REPEATS)
    filled = np.full((len(rows), max(sizes)), np.nan)
    for place, row in enumerate(rows):
        filled[place, : len(row)] = row
    labels: Sequence[object] = range(filled.shape[1])
    if not is_repeats and len(wanted.site_names) == filled.shape[1]:
        labels = wanted.site_names
    begin = "rep" if is_repeats else "response_"
    columns = [f"{begin}{label}" for label in labels]
    beside = table.drop(columns=vectors)
    counts = pandas().DataFrame(filled, columns=columns, index=table.index)
    said = (
        f"column {vectors[0]}: a vector over {'repetitions' if is_repeats else 'sites'} in each row"
    )
    return pandas().concat([beside, counts], axis=1), [said]


def holds_vectors(column: Any) -> bool:
    """Whether each cell is a vector of numbers."""
    first = next((each for each in column if each is not None), None)
    if isinstance(first, list):
        first = np.asarray(first)
    return isinstance(first, np.ndarray) and first.ndim == 1 and first.dtype.kind in "fiub"


def _without_repetition_columns(table: Any) -> tuple[Any, list[str]]:
    """A column for each repetition becomes a row for each."""
    found = {str(n): m for n in table.columns if (m := REPEATED.fullmatch(str(n)))}
    sites = {match["site"] for match in found.values()}
    repeats = sorted({int(match["number"]) for match in found.values()})
    if len(repeats) < 2 or named_as(
        REPEATS, [str(n) for n in table.columns if str(n) not in found]
    ):
        return table, []
    beside = [str(n) for n in table.columns if str(n) not in found]
    parts = []
    for number in repeats:
        here = {n: m["site"] or COUNT for n, m in found.items() if int(m["number"]) == number}
        part = table[[*beside, *here]].rename(columns=here)
        part.insert(len(beside), REPETITION, number)
        parts.append(part)
    said = f"a column for each of {len(repeats)} repetitions"
    if sites != {""}:
        said += f" of {', '.join(sorted(sites))}"[:100]
    return pandas().concat(parts, ignore_index=True), [said]


def _turned(table: Any, wanted: Wanted) -> tuple[Any, list[str]]:
    """A row for each site and a column for each image becomes a row for each image."""
    names = [str(name) for name in table.columns]
    if wanted.image_names is None or len(names) < 3:
        return table, []
    first, *others = names
    fit = match(others, wanted.image_names)
    is_column = fit is not None and fit.how in ("by name", "by path", "by file name")
    if not is_column or role_of(first) == IMAGES:
        return table, []
    sites = [str(name) for name in table[first]]
    turned = table[others].T.reset_index()
    turned.columns = ["image", *[f"response_{site}" for site in sites]]
    return turned, [f"a row for each site ({first}), a column for each image"]


def image_columns(table: Any, wanted: Wanted, where: str) -> list[str]:
    """Columns that name images: by what they are called, or else because they name those given.

    Raises:
        DataError: If the row of names seems to be a row of data.
    """
    names = [str(name) for name in table.columns]
    called = named_as(IMAGES, names)
    if called or wanted.image_names is None:
        return called
    found = []
    for name in names:
        column = table[name]
        words = [str(each) for each in column] if column.dtype == object else []
        fit = match(words, wanted.image_names) if words else None
        if fit is None or fit.how not in ("by name", "by path", "by file name"):
            continue
        if match([name], wanted.image_names) is not None:
            raise DataError(
                "the first row is no row of names: it names an image",
                where=where,
                expected="names of the columns first, such as image, A1, A2",
                got=", ".join(names)[:200],
            )
        found.append(name)
    return found
