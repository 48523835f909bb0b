"""Variables of MATLAB's files: numbers, words, cells, structs, sparse matrices.

Before version 7.3 they are read by SciPy; version 7.3 is HDF5 with columns first, so that axes come
out in reverse order. Objects (tables, strings in quotation marks, datetimes) can be read by neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from protocols.errors import DataError
from synth_server.recordings.labels import Variable

OBJECT = "an object of MATLAB's (a table, string or datetime), which only MATLAB can read"
"""Written instead: `writetable(T, 'responses.csv')`, `cellstr(names)`."""
READABLE = frozenset(
    {"char", "cell", "struct", "double", "single", "logical"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


def matlab_file(path: Path) -> dict[str, Variable]:
    """The variables of a .mat file before version 7.3; fields of a struct as `struct.field`.

    Raises:
        DataError: If it cannot be read.
    """
    from scipy.io import loadmat

    try:
        loaded = loadmat(path, struct_as_record=True, chars_as_strings=True)
    except Exception as error:  # scipy raises what it pleases
        raise DataError(
            "the MATLAB file cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
        ) from None
    found: dict[str, Variable] = {}
    for name, value in loaded.items():
        if not name.startswith("__"):
            _add(found, name, value)
    return found


def _add(found: dict[str, Variable], name: str, value: Any) -> None:
    from scipy.io.matlab import MatlabFunction, MatlabOpaque
    from scipy.sparse import issparse

    if isinstance(value, (MatlabOpaque, MatlabFunction)):
        found[name if name != "None" else "table"] = Variable(np.empty(0), why=OBJECT)
    elif issparse(value):
        found[name] = Variable(value.toarray())
    elif not isinstance(value, np.ndarray):
        return
    elif value.dtype.names and value.size == 1:
        for field in value.dtype.names:
            _add(found, f"{name}.{field}", value.ravel()[0][field])
    elif value.dtype.names:
        found[name] = Variable(value.ravel())
    else:
        if value.dtype == object and value.size and all(_is_text(each) for each in value.ravel()):
            value = np.array([str(np.ravel(e)[0]) if np.size(e) else "" for e in value.ravel()])
        if value.dtype.kind == "U":
            value = np.char.rstrip(value)
        found[name] = Variable(value)


def _is_text(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "US"


def matlab_items(file: Any) -> dict[str, Variable]:
    """The variables of an open MATLAB 7.3 file by path."""
    import h5py

    found: dict[str, Variable] = {}

    def add(name: str, item: Any) -> None:
        if name.startswith("#") or "MATLAB_sparse" in item.parent.attrs:
            return
        if "MATLAB_sparse" in item.attrs:
            found[name] = Variable(_dense(item))
        elif isinstance(item, h5py.Dataset) and (variable := _variable(file, item)) is not None:
            found[name] = variable

    file.visititems(add)
    return found


def _variable(file: Any, item: Any) -> Variable | None:
    import h5py

    kind = bytes(item.attrs.get("MATLAB_class", b"")).decode("ascii", "replace")
    if item.attrs.get("MATLAB_empty", 0):
        return None
    if "MATLAB_object_decode" in item.attrs or (kind and kind not in READABLE):
        return Variable(np.empty(0), why=OBJECT)
    if kind == "char":
        return Variable(_words(item))
    if h5py.check_ref_dtype(item.dtype) is None:
        return Variable(item[()].T)
    cells = [file[reference] for reference in item[()].T.ravel()]
    if all(cell.attrs.get("MATLAB_class") == b"char" for cell in cells):
        return Variable(np.array([" ".join(_words(cell)) for cell in cells]))
    held = np.empty(len(cells), dtype=object)
    held[:] = [_cell(cell) for cell in cells]
    return Variable(held.reshape(item.shape[::-1]))


def _cell(item: Any) -> Any:
    import h5py

    if not isinstance(item, h5py.Dataset):
        return None
    return np.empty((0, 0)) if item.attrs.get("MATLAB_empty", 0) else item[()].T


def _words(item: Any) -> Any:
    """A row of characters, or a matrix of them padded with spaces, as words `(n_words,)`."""
    if item.attrs.get("MATLAB_empty", 0):
        return np.array([""])
    codes = np.atleast_2d(item[()].T)
    return np.array(["".join(map(chr, row)).rstrip() for row in codes])


def _dense(group: Any) -> Any:
    """A sparse matrix (compressed columns), written out."""
    ends = group["jc"][()].astype(np.int64)
    dense = np.zeros((int(group.attrs["MATLAB_sparse"]), len(ends) - 1))
    if "ir" in group:
        columns = np.repeat(np.arange(len(ends) - 1), np.diff(ends))
        dense[group["ir"][()].astype(np.int64), columns] = group["data"][()]
    return dense
