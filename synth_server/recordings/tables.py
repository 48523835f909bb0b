"""Tables of responses: a row a count (image, site, repetition, count), or a column a site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.axes import NamedArray, measured
from synth_server.recordings.csv_files import pandas
from synth_server.recordings.measured import UNITS, Measured, Wanted
from synth_server.recordings.words import IMAGES, REPEATS, SITES, VALUES, named_as, plain

KEPT = frozenset({"outcome", "fixation_correct", "fixation_ok", "completed", "is_valid", "valid"})
"""Columns that say whether a presentation counts."""
GOOD = frozenset({"completed", "true", "1", "1.0", "yes", "ok", "correct"})
_NO_SITE = """
    time onset offset start stop duration block session day date contrast size index id x y role rt
    reaction_time correct category label thread generation attempt word fault dropped_frames on
    start_time stop_time order condition luminance orientation row row_id key latency subject
"""
NOT_SITES = frozenset(_NO_SITE.split())
"""Words of columns that hold no responses, though they hold numbers."""
PREFIXES = ("count_", "counts_", "spike_count_", "rate_", "response_")
WINDOW = ("count_start_s", "count_stop_s")


def measured_table(table: Any, where: str, wanted: Wanted) -> Measured:
    """A `pandas.DataFrame` as rows of responses.

    Raises:
        DataError: If columns of images or of counts are missing, or can't be told from others.
    """
    table, notes = _counted(table)
    names = [str(name) for name in table.columns]
    images = named_as(IMAGES, names) or [n for n in names if n.startswith("Unnamed: 0")][:1]
    images = [n for n in images if not n.startswith(PREFIXES)]
    sites = named_as(SITES, names)
    sites = [n for n in sites if plain(n) != "index"]
    values = [wanted.array] if wanted.array in names else named_as(VALUES, names)
    repeats = named_as(REPEATS, names)
    is_plain = not repeats and not any(map(_is_no_site, names))
    if not images and not (sites and values) and is_plain:
        return _matrix(table, where, wanted)
    if not images:
        raise DataError(
            "the table says of no row which image it is about",
            where=where,
            expected="a column called image (or image_id, stimulus, filename …)",
            got=", ".join(names)[:300],
        )
    if sites and values:
        found = _long(table, images, sites, values, repeats, where)
    elif len(values) == 1 and not sites and not _site_columns(table, images, repeats, values):
        found = _wide(table, images, repeats, values, where)
    else:
        found = _wide(table, images, repeats, _site_columns(table, images, repeats, []), where)
    found = _in_rates(found, table)
    kept = Measured(**{**vars(found), "notes": (*found.notes, *notes)})
    return kept.named(wanted.site_names)


def _counted(table: Any) -> tuple[Any, list[str]]:
    """Without presentations that are marked as failed."""
    notes = []
    for name in [n for n in table.columns if plain(str(n)) in KEPT]:
        words = table[name].astype(str).str.strip().str.casefold()
        good = words.isin(GOOD)
        if good.any() and not good.all():
            notes.append(f"{int((~good).sum())} rows left out: {name} is not completed")
            table = table[good]
    return table.reset_index(drop=True), notes


def _matrix(table: Any, where: str, wanted: Wanted) -> Measured:
    """A table of nothing but numbers: an array, its columns perhaps named."""
    numbers = _numeric(table, list(table.columns), where)
    labelled = [str(name) for name in table.columns]
    is_named = not all(name.isdigit() and int(name) == i for i, name in enumerate(labelled))
    labels: dict[str, tuple[str, ...]] = {}
    dims: tuple[str, ...] = ()
    if is_named and len(numbers) == wanted.n_images and not wanted.axes:
        dims, labels = (IMAGES, SITES), {SITES: tuple(_unprefixed(labelled))}
    return measured(NamedArray(numbers, where, dims, labels), wanted)


def _site_columns(
    table: Any, images: Sequence[str], repeats: Sequence[str], values: Sequence[str]
) -> list[str]:
    """Columns that are one site each."""
    others = [
        str(n)
        for n in table.columns
        if str(n) not in {*images, *repeats, *values, *WINDOW} and plain(str(n)) not in KEPT
    ]
    counted = [n for n in others if n.startswith(PREFIXES)]
    if counted:
        return counted
    numeric = [n for n in others if table[n].dtype.kind in "fiub" or _is_number_column(table[n])]
    return [n for n in numeric if not _is_no_site(n)]


def _is_no_site(name: str) -> bool:
    word = plain(name)
    return word in NOT_SITES or word.endswith(("_s", "_ms", "_deg", "_px", "_time", "_hz", "_us"))


def _wide(
    table: Any, images: Sequence[str], repeats: Sequence[str], sites: Sequence[str], where: str
) -> Measured:
    if not sites:
        raise DataError(
            "the table holds no responses",
            where=where,
            expected="columns image, site, repetition, count; or a column of numbers for each site",
            got=", ".join(map(str, table.columns))[:300],
        )
    if repeats:
        _check_once(table, set(sites), where)
    left = [str(n) for n in table.columns if str(n) not in {*sites, *images, *repeats, *WINDOW}]
    notes = ["a row a presentation, a column a site"]
    if left:
        notes.append(f"columns not read: {', '.join(left)}"[:200])
    values = _numeric(table, list(sites), where)
    return Measured(
        values[:, :, None],
        tuple(_unprefixed(sites)),
        _names(table, images),
        notes=tuple(notes),
    )


def _long(
    table: Any,
    images: Sequence[str],
    sites: Sequence[str],
    values: Sequence[str],
    repeats: Sequence[str],
    where: str,
) -> Measured:
    """A row a count: rows of one image become its repetitions, per site in their order."""
    if len(values) > 1:
        raise DataError(
            "several columns may be the responses",
            where=where,
            expected="one, chosen with --array NAME",
            got=", ".join(values),
        )
    if repeats:
        _check_once(table, set(values), where)
    shown = table[list(images)].astype(str).agg("\0".join, axis=1)
    image_number, first = _numbered(list(shown))
    site_number, site_rows = _numbered([_plain_number(n) for n in table[sites[0]].tolist()])
    n_sites = len(site_rows)
    cell = image_number * n_sites + site_number
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(cell[order]) != 0])
    rank = np.empty(len(cell), dtype=np.int64)
    rank[order] = np.arange(len(cell)) - np.repeat(starts, np.diff(np.r_[starts, len(cell)]))
    filled = np.full((len(first), n_sites, int(rank.max()) + 1), np.nan)
    filled[image_number, site_number, rank] = _numeric(table, [values[0]], where)[:, 0]
    names = [_plain_number(table[sites[0]].iloc[row]) for row in site_rows]
    return Measured(
        filled,
        tuple(names),
        _names(table.iloc[first], images),
        notes=(f"a row a count, in column {values[0]}",),
    )


def _in_rates(found: Measured, table: Any) -> Measured:
    """Counts in a window that the table names become spikes/s."""
    if not set(WINDOW) <= set(map(str, table.columns)) or not len(table):
        return found
    start, stop = (table[name].astype(float).to_numpy() for name in WINDOW)
    if np.ptp(stop - start) > 1e-9 or len(found.values) != len(table):
        return found
    said = f"count window {1000 * start[0]:g}–{1000 * stop[0]:g} ms"
    notes = (*found.notes, said)
    values = found.values / (stop - start)[0]
    return Measured(**{**vars(found), "values": values, "unit": UNITS, "notes": notes})


def _names(table: Any, columns: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Columns that name images; one that never changes does not, unless it is the only one."""
    named = {c: tuple(_plain_number(n) for n in table[c].tolist()) for c in columns}
    varied = {c: names for c, names in named.items() if len(set(names)) > 1}
    return varied or named


def _check_once(table: Any, responses: set[str], where: str) -> None:
    """Refuse two rows that differ in nothing but the responses, where repetitions are numbered."""
    told = [name for name in table.columns if str(name) not in responses]
    twice = table.duplicated(told)
    if twice.any():
        row = table[twice].iloc[0]
        raise DataError(
            f"{int(twice.sum())} rows are about what another row is about",
            where=where,
            expected="one row for each repetition",
            got=", ".join(f"{name} {row[name]}" for name in told)[:300],
            remedy="remove the rows that are wrong, or the column of repetitions if it counts "
            "something else",
        )


def _numbered(words: Sequence[str]) -> tuple[NDArray[np.int64], list[int]]:
    """A number for each different word, by first appearance, and the row of that."""
    seen: dict[str, int] = {}
    first: list[int] = []
    numbers = np.empty(len(words), dtype=np.int64)
    for row, word in enumerate(words):
        if word not in seen:
            seen[word] = len(seen)
            first.append(row)
        numbers[row] = seen[word]
    return numbers, first


def _numeric(table: Any, columns: Sequence[str], where: str) -> NDArray[np.float64]:
    """Numbers `(n_rows, n_columns)`; empty cells are NaN, anything else is refused by name."""
    pd = pandas()
    out = np.empty((len(table), len(columns)))
    for place, name in enumerate(columns):
        column = table[name]
        numbers = pd.to_numeric(column, errors="coerce")
        wrong = numbers.isna() & ~column.isna() & ~column.astype(str).str.strip().isin(_EMPTY)
        if wrong.any():
            raise DataError(
                "a cell is no number",
                where=f"{where}, column {name}, row {int(np.flatnonzero(wrong.to_numpy())[0]) + 1}",
                expected="a count, or an empty cell where none was measured",
                got=repr(column[wrong].iloc[0]),
            )
        out[:, place] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return out


_EMPTY = ("", "nan", "NaN", "NA", "N/A", "null", "None")


def _is_number_column(column: Any) -> bool:
    return bool(pandas().to_numeric(column, errors="coerce").notna().any())


def _unprefixed(names: Sequence[str]) -> list[str]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) and name != prefix for name in names):
            return [name.removeprefix(prefix) for name in names]
    return list(names)


def _plain_number(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
