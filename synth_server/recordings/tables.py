"""Tables of responses: a row a count (image, site, repetition, count), or a column a site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.axes import NamedArray, measured
from synth_server.recordings.csv_files import UNNAMED, pandas
from synth_server.recordings.measured import UNITS, Measured, Wanted
from synth_server.recordings.numbers_in_text import MISSING
from synth_server.recordings.table_shapes import as_rows, image_columns
from synth_server.recordings.words import IMAGES, REPEATS, SITES, VALUES, named_as, plain

KEPT = frozenset({"outcome", "fixation_correct", "fixation_ok", "completed", "is_valid", "valid"})
"""Columns that say whether a presentation counts."""
GOOD = frozenset({"completed", "true", "1", "1.0", "yes", "ok", "correct"})
LEAST_ROWS = 8
"""Numbers of fewer rows may be equally spaced by chance."""
_NO_SITE = """
    time onset offset start stop duration block session day date contrast size index id x y role rt
    reaction_time correct category label thread generation attempt word fault dropped_frames on
    start_time stop_time order condition luminance orientation row row_id key latency subject
    timestamp timestamps datetime pupil reward rewarded running speed temperature depth snr monkey animal
    experimenter gaze eye age bin block_number run object
"""
NOT_SITES = frozenset(_NO_SITE.split())
"""Words of columns that hold no responses, though they hold numbers."""
NOT_SITES_END = (
    *(
        "_s",
        "_ms",
        "_us",
        "_deg",
        "_px",
        "_hz",
        "_time",
        "_timestamp",
        "_onset",
        "_offset",
        "_duration",
    ),
    *(
        "_x",
        "_y",
        "_id",
        "_index",
        "_idx",
        "_number",
        "_order",
        "_speed",
        "_size",
        "_area",
        "_diameter",
    ),
)
PREFIXES = ("count_", "counts_", "spike_count_", "rate_", "response_")
WHOLE = re.compile(r"-?\d+\.0")
WINDOW = ("count_start_s", "count_stop_s")


def measured_table(table: Any, where: str, wanted: Wanted) -> Measured:
    """A `pandas.DataFrame` as rows of responses.

    Raises:
        DataError: If columns of images or of counts are missing, or can't be told from others.
    """
    table, notes = _counted(table.rename(columns=str))
    table, shape_notes = as_rows(table, where, wanted)
    notes += shape_notes
    names = [str(name) for name in table.columns]
    images = [n for n in image_columns(table, wanted, where) if not n.startswith(PREFIXES)]
    images = images or [n for n in names if n.startswith(f"{UNNAMED}0")][:1]
    sites = named_as(SITES, names)
    sites = [n for n in sites if plain(n) != "index"]
    values = [wanted.array] if wanted.array in names else named_as(VALUES, names)
    repeats = named_as(REPEATS, names)
    is_plain = not repeats and not any(map(_is_no_site, names))
    if not images and not (sites and values) and is_plain:
        return _matrix(table, where, wanted)
    if not images:
        raise _no_images(names, where)
    if sites and values:
        found = _long(table, images, sites, values, repeats, where)
    elif len(values) == 1 and not sites and not _site_columns(table, images, repeats, values):
        found = _wide(table, images, repeats, values, where)
    else:
        found = _wide(table, images, repeats, _site_columns(table, images, repeats, []), where)
    found = _in_rates(found, table)
    kept = Measured(**{**vars(found), "notes": (*found.notes, *notes)})
    return kept.named(wanted.site_names)


def _no_images(names: Sequence[str], where: str, seen: Sequence[str] = ()) -> DataError:
    return DataError(
        "the table says of no row which image it is about",
        where=where,
        expected="a column called image (or image_id, stimulus, filename …)",
        got=", ".join(names)[:300],
        remedy=f"if column {seen[0]} says it, call it image" if seen else "",
    )


def _is_of_words(table: Any, name: str) -> bool:
    """Whether no cell of the column is a number."""
    column = table[name]
    return column.dtype == object and not _is_number_column(column) and not _is_empty(column).all()


def _is_running(column: Any) -> bool:
    """Whether whole numbers count the rows, in any order: 0 … n−1, 1 … n, or equal steps."""
    numbers = (
        pandas().to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    )
    if len(numbers) < LEAST_ROWS or not np.isfinite(numbers).all():
        return False
    steps = np.diff(np.sort(numbers))
    return bool(steps[0] > 0 and (steps == steps[0]).all() and (numbers % 1 == 0).all())


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
    labelled = list(table.columns)
    if words := [name for name in labelled if _is_of_words(table, name)]:
        raise _no_images(labelled, where, words)
    numbers = _numeric(table, labelled, where)
    is_named = not all(name.isdigit() and int(name) == i for i, name in enumerate(labelled))
    labels: dict[str, tuple[str, ...]] = {}
    dims: tuple[str, ...] = ()
    if is_named and (counting := [n for n in labelled if _is_running(table[n])]):
        raise _no_images(labelled, where, counting)
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
    sites = [n for n in numeric if not _is_no_site(n)]
    return [n for n in sites if not _is_running(table[n])] or sites


def _is_no_site(name: str) -> bool:
    word = plain(name)
    return word in NOT_SITES or word.endswith(NOT_SITES_END) or word.startswith("pupil")


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
    shown = zip(*(table[name].astype(str).tolist() for name in images), strict=True)
    image_number, first = _numbered(["\0".join(names) for names in shown])
    if (unnamed := _is_empty(table[sites[0]])).any():
        raise DataError(
            f"{int(unnamed.sum())} rows name no site",
            where=f"{where}, column {sites[0]}, row {int(np.flatnonzero(unnamed)[0]) + 1}",
            expected="the name of a site in each row",
        )
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
    told = [
        name
        for name in table.columns
        if str(name) not in responses and not str(name).startswith(UNNAMED)
    ]
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
        wrong = numbers.isna() & ~_is_empty(column)
        if wrong.any():
            raise DataError(
                "a cell is no number",
                where=f"{where}, column {name}, row {int(np.flatnonzero(wrong.to_numpy())[0]) + 1}",
                expected="a count, or an empty cell where none was measured",
                got=repr(column[wrong].iloc[0]),
            )
        out[:, place] = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return out


def _is_empty(column: Any) -> Any:
    """Which cells hold nothing, in words or none, `(n_rows,) bool`."""
    return column.isna() | column.astype(str).str.strip().str.casefold().isin(MISSING)


def _is_number_column(column: Any) -> bool:
    return bool(pandas().to_numeric(column, errors="coerce").notna().any())


def _unprefixed(names: Sequence[str]) -> list[str]:
    for prefix in PREFIXES:
        if all(name.startswith(prefix) and name != prefix for name in names):
            return [name.removeprefix(prefix) for name in names]
    return list(names)


@cache
def _plain_number(value: object) -> str:
    """3, 3.0 and "3.0" are one name."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return re.sub(r"(?<=\d)\.0$", "", str(value)) if WHOLE.fullmatch(str(value)) else str(value)
