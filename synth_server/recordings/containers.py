"""Files that hold several arrays (.npz, .mat, HDF5): which is the responses, which are names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.axes import NamedArray, measured
from synth_server.recordings.csv_files import pandas
from synth_server.recordings.measured import Measured, Wanted
from synth_server.recordings.tables import measured_table
from synth_server.recordings.words import IMAGES, REPEATS, SITES, VALUES, plain, role_of

LISTED = 12
"""Arrays in an error."""
DIMS = frozenset({"dims", "axes", "dimensions", "axis_names", "dimension_names"})


@dataclass(frozen=True)
class Variable:
    """An array of a file.

    Attributes:
        values: Numbers, words, or a cell array of arrays.
        dims: A name for each axis, if the file says so.
    """

    values: NDArray[np.generic]
    dims: tuple[str, ...] = ()


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
        return measured_table(pandas().DataFrame(chosen.values), where, wanted)
    values, dims = _unpacked(chosen, where)
    columns = _columns_beside(values, others, wanted)
    if columns:
        return _table({plain_name(name): values.ravel(), **columns}, where, wanted)
    told = dims or _dims_told(others, values.ndim)
    return measured(NamedArray(values, where, told, _labels(values, others)), wanted)


def plain_name(name: str) -> str:
    """The last part of `/group/name` or `struct.name`."""
    return name.replace("/", ".").rsplit(".", 1)[-1]


def _responses(variables: Mapping[str, Variable], where: str, wanted: Wanted) -> str:
    if list(variables) == [""]:
        return ""
    if wanted.array:
        return _asked_for(variables, where, wanted.array)
    possible = {name: v for name, v in variables.items() if _may_be_responses(v.values)}
    by_name = [name for name in possible if role_of(plain_name(name)) == VALUES]
    if len(by_name) == 1:
        return by_name[0]
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
    )


def _asked_for(variables: Mapping[str, Variable], where: str, asked: str) -> str:
    if asked in variables:
        return asked
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
    parts = [np.squeeze(np.asarray(each, dtype=np.float64)) for each in cells.ravel()]
    if any(part.ndim > 2 for part in parts) or len({part.ndim == 2 for part in parts}) > 1:
        raise DataError(
            "the cells hold arrays of different kinds",
            where=where,
            expected="a vector of repetitions in each cell, or a matrix of one shape",
            got=", ".join(sorted({str(part.shape) for part in parts}))[:200],
        )
    rows = [np.atleast_1d(part) for part in parts]
    shape = tuple(max(row.shape[axis] for row in rows) for axis in range(rows[0].ndim))
    filled = np.full((len(rows), *shape), np.nan)
    for place, row in enumerate(rows):
        filled[place][tuple(slice(0, length) for length in row.shape)] = row
    outer = tuple(n for n in cells.shape if n > 1) or (1,)
    return filled.reshape(*outer, *shape), ()


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
    told = {name: [_word(each) for each in np.ravel(column)] for name, column in columns.items()}
    return measured_table(pandas().DataFrame(told), where, wanted)


def _labels(
    values: NDArray[np.float64], others: Mapping[str, Variable]
) -> dict[str, tuple[str, ...]]:
    """Names of sites and of images that are as long as an axis."""
    labels: dict[str, tuple[str, ...]] = {}
    for name, variable in others.items():
        role = role_of(plain_name(name))
        flat = np.ravel(variable.values)
        is_vector = max(variable.values.shape, default=0) == variable.values.size
        if role in (IMAGES, SITES) and is_vector and len(flat) in values.shape:
            words = tuple(_word(each) for each in flat)
            if role == IMAGES or len(set(words)) == len(words):
                labels.setdefault(str(role), tuple(str(word) for word in words))
    return labels


def _dims_told(others: Mapping[str, Variable], n_axes: int) -> tuple[str, ...]:
    """Names of the axes from a variable `dims` or `axes`: words, or one text with commas."""
    for name, variable in others.items():
        if plain(plain_name(name)) in DIMS:
            words = [str(_word(each)) for each in np.ravel(variable.values)]
            parts = words[0].split(",") if len(words) == 1 else words
            if len(parts) == n_axes:
                return tuple(part.strip() for part in parts)
    return ()


def _word(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray):
        return _word(value.ravel()[0]) if value.size == 1 else str(value)
    return value.item() if isinstance(value, np.generic) else value


def _listed(variables: Mapping[str, Variable]) -> str:
    said: Sequence[str] = [
        f"{name} {'×'.join(map(str, v.values.shape)) or '1'} {v.values.dtype}"
        for name, v in variables.items()
    ]
    return ", ".join(said[:LISTED]) + (" …" if len(said) > LISTED else "")
