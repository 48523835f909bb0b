"""Arrays in files: NumPy, MATLAB up to version 7.2, MATLAB 7.3 and other HDF5, xarray's netCDF."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from protocols.errors import DataError
from synth_server.recordings.containers import Variable

PICKLED = "an array of Python objects (a pickle), which could run any program when it is opened"
NETCDF_DIMENSION = b"This is a netCDF dimension but not a netCDF variable"


def numpy_file(path: Path) -> dict[str, Variable]:
    """The arrays of an .npy or .npz file; that of an .npy is called "".

    Raises:
        DataError: If it is damaged, or holds pickled objects.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": Variable(loaded)}
        with loaded:
            return {name: Variable(loaded[name]) for name in loaded.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        is_pickle = "pickle" in str(error)
        raise DataError(
            "the array cannot be read",
            where=str(path),
            expected="numbers, as np.save and np.savez write them",
            got=PICKLED if is_pickle else error,
            remedy="where you made it, save numbers: np.save(path, np.asarray(counts, dtype=float)); "
            "pad with NaN where there are fewer repetitions"
            if is_pickle
            else "copy it again; is it complete?",
        ) from None


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
            _add_matlab(found, name, value)
    return found


def _add_matlab(found: dict[str, Variable], name: str, value: Any) -> None:
    if isinstance(value, np.ndarray) and value.dtype.names and value.size == 1:
        for field in value.dtype.names:
            _add_matlab(found, f"{name}.{field}", value.ravel()[0][field])
    elif isinstance(value, np.ndarray) and value.dtype.names is None:
        if value.dtype == object and all(_is_text(each) for each in value.ravel()):
            value = np.array([str(np.ravel(e)[0]) if np.size(e) else "" for e in value.ravel()])
        found[name] = Variable(value)


def _is_text(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "US"


def hdf5_file(path: Path) -> dict[str, Variable]:
    """The datasets of an HDF5 file by path: MATLAB 7.3 (its axes turned back), netCDF, or any other.

    Raises:
        DataError: If it cannot be read.
    """
    import h5py

    found: dict[str, Variable] = {}
    try:
        with h5py.File(path, "r") as file:
            is_matlab = path.suffix.lower() == ".mat" or _is_matlab(file)

            def add(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and not name.startswith("#"):
                    variable = _matlab_dataset(file, item) if is_matlab else _dataset(item)
                    if variable is not None:
                        found[name] = variable

            file.visititems(add)
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError("the HDF5 file cannot be read", where=str(path), got=error) from None
    return found


def _is_matlab(file: Any) -> bool:
    return any("MATLAB_class" in item.attrs for item in file.values())


def _dataset(item: Any) -> Variable | None:
    if bytes(item.attrs.get("NAME", b"")).startswith(NETCDF_DIMENSION):
        return None
    values = item.asstr()[()] if _is_string(item) else item[()]
    dims = tuple(_dim_name(dim) for dim in item.dims)
    return Variable(np.asarray(values), dims if any(dims) else ())


def _is_string(item: Any) -> bool:
    import h5py

    return h5py.check_string_dtype(item.dtype) is not None


def _dim_name(dim: Any) -> str:
    if dim.label:
        return str(dim.label)
    return str(dim[0].name).rsplit("/", 1)[-1] if len(dim) else ""


def _matlab_dataset(file: Any, item: Any) -> Variable | None:
    """MATLAB stores columns first, so that axes come out in reverse order."""
    import h5py

    kind = item.attrs.get("MATLAB_class", b"")
    if item.attrs.get("MATLAB_empty", 0):
        return None
    if kind == b"char":
        return Variable(np.array([_characters(item)]))
    if h5py.check_ref_dtype(item.dtype) is not None:
        cells = [file[reference] for reference in item[()].T.ravel()]
        if all(cell.attrs.get("MATLAB_class") == b"char" for cell in cells):
            return Variable(np.array([_characters(cell) for cell in cells]))
        held = np.empty(len(cells), dtype=object)
        held[:] = [cell[()].T if isinstance(cell, h5py.Dataset) else None for cell in cells]
        return Variable(held.reshape(item.shape[::-1]))
    return Variable(item[()].T)


def _characters(item: Any) -> str:
    return "".join(chr(code) for code in item[()].T.ravel())
