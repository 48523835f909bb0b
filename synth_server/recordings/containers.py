"""Files that hold several arrays (.npz, .mat, HDF5): which is the responses, which are names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.axes import NamedArray, measured
from synth_server.recordings.csv_files import pandas
from synth_server.recordings.labels import Variable, labels_of, plain_name, word
from synth_server.recordings.measured import Measured, Wanted
from synth_server.recordings.tables import measured_table
from synth_server.recordings.words import IMAGES, REPEATS, SITES, VALUES, plain, role_of

LISTED = 12
"""Arrays in an error."""
LEAST_CELLS = 5
"""So many cells whose numbers only rise are no chance."""
DIMS = frozenset({"dims", "axes", "dimensions", "axis_names", "dimension_names"})


def measured_in(variables: Mapping[str, Variable], where: str, wanted: Wanted) -> Measured:
    """What the arrays of a file say together.

    Raises:
        DataError: If it cannot be told which array holds the responses.
    """
    name = _responses(variables, where, wanted)
    chosen = variables[name]
    others = {each: v for each, v in variables.items() if each != name}
    where = f"{where}, {name}" if name else where
    if chosen.values.dtype.names:
        return measured_table(_record_table(chosen.values), where, wanted)
    values, dims = _unpacked(chosen, where)
    columns = _columns_beside(values, others, wanted)
    if columns:
        return _table({plain_name(name): values.ravel(), **columns}, where, wanted)
    told = dims or _dims_told(others, values.ndim)
    labels = labels_of(values, others, wanted, where)
    array = NamedArray(values, where, told, labels.of_axes, labels.image_names)
    found = measured(array, wanted)
    unread = [f"{n} ({v.why})" if v.why else n for n, v in others.items() if n not in labels.used]
    said = (f"not read: {', '.join(unread)}"[:200],) if unread else ()
    return replace(found, notes=(*found.notes, *said))


def _responses(variables: Mapping[str, Variable], where: str, wanted: Wanted) -> str:
    if list(variables) == [""]:
        return ""
    if wanted.array:
        return _asked_for(variables, where, wanted.array)
    possible = {n: v for n, v in variables.items() if not v.why and _may_be_responses(v.values)}
    by_name = [name for name in possible if role_of(plain_name(name)) == VALUES]
    if len(by_name) == 1:
        return by_name[0]
    records = [name for name, v in possible.items() if v.values.dtype.names]
    if not by_name and len(records) == 1:
        return records[0]
    unnamed = [name for name in possible if role_of(plain_name(name)) is None]
    fitting = [name for name in unnamed if wanted.n_images in possible[name].values.shape]
    if not by_name and 1 in (len(fitting), len(unnamed)):
        return (fitting if len(fitting) == 1 else unnamed)[0]
    raise DataError(
        "several arrays may be the responses"
        if by_name or unnamed
        else "no array is the responses",
        where=where,
        expected="an array called responses, counts or rates, or --array NAME",
        got=_listed(variables) or "nothing",
        remedy=_how_to_write(variables),
    )


def _how_to_write(variables: Mapping[str, Variable]) -> str:
    """What to do about variables that nobody but their program can read."""
    reasons = " ".join(v.why for v in variables.values())
    if "MATLAB" in reasons:
        return (
            "in MATLAB: writetable(T, 'responses.csv') for a table; double(x) and cellstr(names) "
            "before save for others"
        )
    return (
        "save numbers: np.asarray(counts, dtype=float), NaN where there are fewer repetitions"
        * (bool(reasons.strip()))
    )


def _asked_for(variables: Mapping[str, Variable], where: str, asked: str) -> str:
    if asked in variables and not variables[asked].why:
        return asked
    if asked in variables:
        raise DataError(
            "the array cannot be read",
            where=f"{where}, {asked}",
            got=variables[asked].why,
            remedy=_how_to_write(variables),
        )
    ends = [name for name in variables if plain_name(name) == asked or name.endswith("/" + asked)]
    if len(ends) == 1:
        return ends[0]
    raise DataError(
        f"the file has no array {asked!r}" if not ends else f"several arrays are called {asked!r}",
        where=f"{where}, --array",
        expected=_listed(variables),
    )


def _may_be_responses(values: NDArray[np.generic]) -> bool:
    if values.dtype.names:
        return values.size > 1
    if values.dtype == object:
        return values.size > 0 and all(_is_numeric(each) for each in values.ravel())
    pixels = values.dtype == np.uint8 and values.ndim >= 3 and 3 in values.shape
    return values.dtype.kind in "fiub" and values.size > 1 and not pixels


def _is_numeric(values: object) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "fiub"


def _unpacked(variable: Variable, where: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Numbers; a cell array's repetitions become its last axis, NaN where there are fewer."""
    cells = variable.values
    if cells.dtype != object:
        return np.asarray(cells), variable.dims
    raw = [np.asarray(each, dtype=np.float64) for each in cells.ravel()]
    is_matrix = any(min(each.shape, default=1) > 1 and each.ndim > 1 for each in raw)
    empty = np.empty((0, 0) if is_matrix else 0)
    parts = [np.squeeze(each) if each.size else empty for each in raw]
    if any(part.ndim > 2 for part in parts) or len({part.ndim == 2 for part in parts}) > 1:
        raise DataError(
            "the cells hold arrays of different kinds",
            where=where,
            expected="a vector of repetitions in each cell, or a matrix of one shape",
            got=", ".join(sorted({str(part.shape) for part in parts}))[:200],
        )
    rows = [np.atleast_1d(part) for part in parts]
    _check_no_spike_times(rows, where)
    shape = tuple(max(row.shape[axis] for row in rows) for axis in range(rows[0].ndim))
    filled = np.full((len(rows), *shape), np.nan)
    for place, row in enumerate(rows):
        filled[place][tuple(slice(0, length) for length in row.shape)] = row
    outer = tuple(n for n in cells.shape if n > 1) or (1,)
    is_ragged = rows[0].ndim == 1 and len({len(row) for row in rows if len(row)}) > 1
    dims = (*("" for _ in outer), REPEATS) if is_ragged else ()
    return filled.reshape(*outer, *shape), dims


def _check_no_spike_times(rows: Sequence[NDArray[np.float64]], where: str) -> None:
    """Refuse cells in which numbers only rise: moments of spikes, not repetitions."""
    several = [row for row in rows if row.ndim == 1 and len(row) > 2]
    if len(several) >= LEAST_CELLS and all((np.diff(row) > 0).all() for row in several):
        raise DataError(
            "these look like times of spikes, not like counts",
            where=where,
            expected="a vector with a count for each repetition in each cell",
            got=f"numbers that only rise in each cell: {several[0][:4]} …",
            remedy="count the spikes in your window first: sum(t >= 0.07 & t < 0.17)",
        )


def _columns_beside(
    values: NDArray[np.float64], others: Mapping[str, Variable], wanted: Wanted
) -> dict[str, NDArray[np.generic]]:
    """Vectors of images and sites as long as a vector of counts: the file is a table in columns."""
    if max(values.shape, default=0) != values.size or wanted.axes:
        return {}
    found = {
        plain_name(name): np.ravel(v.values)
        for name, v in others.items()
        if v.values.size == values.size and role_of(plain_name(name)) in (IMAGES, SITES, REPEATS)
    }
    return found if any(role_of(name) == IMAGES for name in found) else {}


def _table(columns: Mapping[str, NDArray[np.generic]], where: str, wanted: Wanted) -> Measured:
    told = {name: [word(each) for each in np.ravel(column)] for name, column in columns.items()}
    return measured_table(pandas().DataFrame(told), where, wanted)


def _dims_told(others: Mapping[str, Variable], n_axes: int) -> tuple[str, ...]:
    """Names of the axes from a variable `dims` or `axes`: words, or one text with commas."""
    for name, variable in others.items():
        if plain(plain_name(name)) in DIMS:
            words = [str(word(each)) for each in np.ravel(variable.values)]
            parts = words[0].split(",") if len(words) == 1 else words
            if len(parts) == n_axes:
                return tuple(part.strip() for part in parts)
    return ()


def _record_table(records: NDArray[np.generic]) -> Any:
    """Records as a table: each field a column, of words, numbers or vectors."""
    names = records.dtype.names or ()
    flat: Any = records.ravel()
    return pandas().DataFrame({name: [_cell(each) for each in flat[name]] for name in names})


def _cell(value: object) -> object:
    """A field of one record; vectors lose axes of length one."""
    if isinstance(value, np.ndarray) and value.size != 1:
        return np.squeeze(value) if value.size else None
    return word(value)


def _listed(variables: Mapping[str, Variable]) -> str:
    said: Sequence[str] = [
        f"{name} {'×'.join(map(str, v.values.shape)) or '1'} {v.values.dtype}"
        for name, v in variables.items()
    ]
    return ", ".join(said[:LISTED]) + (" …" if len(said) > LISTED else "")
