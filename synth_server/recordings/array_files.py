"""Arrays in files: NumPy, and HDF5 with what is written in it (MATLAB 7.3, xarray's netCDF)."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from protocols.errors import DataError
from synth_server.recordings.labels import Variable
from synth_server.recordings.matlab_files import matlab_items

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
            return {name: _member(loaded, name) for name in loaded.files}
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


def _member(archive: Any, name: str) -> Variable:
    """An array of an .npz file; one of Python objects stays closed, and the others are read."""
    try:
        return Variable(archive[name])
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        return Variable(np.empty(0), why=PICKLED)


def hdf5_file(path: Path) -> dict[str, Variable]:
    """The datasets of an HDF5 file by path: MATLAB 7.3 (its axes turned back), netCDF, or any other.

    Raises:
        DataError: If it cannot be read.
    """
    import h5py

    found: dict[str, Variable] = {}
    try:
        with h5py.File(path, "r") as file:
            if path.suffix.lower() == ".mat" or _is_matlab(file):
                return matlab_items(file)

            def add(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and (variable := _dataset(item)) is not None:
                    found[name] = variable

            file.visititems(add)
    except (OSError, RuntimeError, KeyError) as error:
        raise DataError("the HDF5 file cannot be read", where=str(path), got=error) from None
    return found


def _is_matlab(file: Any) -> bool:
    return any("MATLAB_class" in item.attrs for item in file.values())


def _dataset(item: Any) -> Variable | None:
    if bytes(item.attrs.get("NAME", b"")).startswith(NETCDF_DIMENSION) or item.shape is None:
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
