"""Files of responses in XDREAM's shared folder, as MATLAB, XDREAM and others write them.

- `stimulusID`: for each row the name of an image file, with or without folder and suffix; a cell array
  or character matrix of MATLAB, or strings. `tEvokedResp`: responses, images × channels. In a `.mat`
  file of MATLAB's version 5 to 7 (read with scipy) or 7.3, which is HDF5 (read with h5py), or in `.h5`.
- `scores`, and perhaps `indices`: XDREAM's own `.h5` (its utils.py, load_h5_score_file). Rows are in the
  order of the block's file names, sorted, or of those at `indices`, from 0 on.

MATLAB's string arrays ("a", not 'a') are objects in both versions of the format, which nobody reads but
MATLAB; they are told from character matrices, and named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import RigError
from rig_client.installed import imported

IDS, RESPONSES = "stimulusID", "tEvokedResp"
SCORES, INDICES = "scores", "indices"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MATLAB_HEADER = 512
"""Where the HDF5 of a MATLAB 7.3 file begins."""
SUFFIX = re.compile(r"\.(png|bmp)$", re.IGNORECASE)
CLASS = "MATLAB_class"
OBJECT = "None"
"""What scipy calls a variable that is an object, whatever its name."""


class Unreadable(Exception):
    """The file cannot be read, or not yet: it may still be written."""


class Answer(NamedTuple):
    """What a rig wrote about a block: names of images, and a row of responses for each."""

    names: tuple[str, ...]
    responses: NDArray[np.float64]


def found_answer(folder: Path, block_index: int) -> Path | None:
    """The file with the responses to a block, if it is there."""
    paths = (folder / f"block{block_index:03d}{suffix}" for suffix in (".mat", ".h5"))
    return next((path for path in paths if path.exists()), None)


def stem(name: str) -> str:
    """What a name is compared by: without folder (of Windows or not) and suffix."""
    return SUFFIX.sub("", re.split(r"[\\/]", name.strip().strip("\0").strip())[-1])


def read_answer(path: Path, block_names: Sequence[str] = ()) -> Answer:
    """Read responses.

    Args:
        path: The file.
        block_names: File names of the block's images, for files that have no names.

    Raises:
        Unreadable: If the file is none of these, or not whole.
        RigError: If it is whole, and written in a way that cannot be read.
        InstallationError: If the package that reads it is missing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(MATLAB_HEADER + len(HDF5_MAGIC))
        is_hdf5 = HDF5_MAGIC in (head[: len(HDF5_MAGIC)], head[MATLAB_HEADER:])
        return _hdf5(path, block_names) if is_hdf5 else _mat5(path)
    except (OSError, KeyError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _mat5(path: Path) -> Answer:
    io = imported("scipy.io", needed_by="a .mat file of MATLAB 5 to 7", install="pip install scipy")
    try:
        content = io.loadmat(path, variable_names=[IDS, RESPONSES, OBJECT])
    except io.matlab.MatReadError as error:
        raise Unreadable(str(error)) from error
    if IDS not in content and OBJECT in content:
        raise _is_string_array(path)
    entries = np.asarray(content[IDS]).ravel()
    if any(_is_opaque(io, entry) for entry in entries):
        raise _is_string_array(path)
    names = tuple(stem(_text(entry)) for entry in entries)
    return Answer(names, _numbers(content[RESPONSES], path))


def _is_opaque(io: Any, found: Any) -> bool:
    """An object of MATLAB, such as a string; in a cell they may be wrapped once more."""
    if isinstance(found, (io.matlab.MatlabOpaque, io.matlab.MatlabFunction)):
        return True
    names = getattr(getattr(found, "dtype", None), "names", None) or ()
    return "arr" in names and "s2" in names


def _hdf5(path: Path, block_names: Sequence[str]) -> Answer:
    h5py = imported("h5py", needed_by="a .h5 or .mat 7.3 file", install="pip install h5py")
    with h5py.File(path, "r") as file:
        if IDS not in file and SCORES in file:
            return _xdream(file, path, block_names)
        found = file[IDS]
        kind = _class(found)
        if kind == "string":
            raise _is_string_array(path)
        if kind == "char" or (kind == "" and found.dtype.kind in "ui" and found.ndim == 2):
            entries = list(np.asarray(found[()]).T)  # HDF5 has MATLAB's arrays the other way round
        else:
            entries = list(np.asarray(found[()]).ravel())
        texts = []
        for entry in entries:
            if isinstance(entry, h5py.Reference):
                if _class(file[entry]) == "string":
                    raise _is_string_array(path)
                entry = file[entry][()]
            texts.append(stem(_text(entry)))
        return Answer(tuple(texts), _numbers(file[RESPONSES][()], path))


def _xdream(file: Any, path: Path, block_names: Sequence[str]) -> Answer:
    scores, names = _numbers(file[SCORES][()], path), sorted(block_names)
    places = np.arange(len(names))
    if INDICES in file:
        places = np.asarray(file[INDICES][()]).astype(np.int64).ravel()
    elif len(names) not in scores.shape:
        raise RigError(
            "the responses are not as many as the block's images, and do not say of which they are",
            where=f"{path}, {SCORES}",
            expected=f"{len(names)} rows, or {INDICES}: a number from 0 for each row",
            got=" × ".join(map(str, scores.shape)),
        )
    if len(places) and not (places.min() >= 0 and places.max() < len(names)):
        raise RigError(
            "the responses are of images that are not in the block",
            where=f"{path}, {INDICES}",
            expected=f"0 to {len(names) - 1}: places among the block's file names, sorted",
            got=f"{places.min()} to {places.max()}",
            remedy="count from 0, not from 1",
        )
    return Answer(tuple(stem(names[place]) for place in places), scores)


def _class(found: Any) -> str:
    """MATLAB's class of a dataset; empty if it was not MATLAB that wrote it."""
    name = found.attrs.get(CLASS, b"")
    return name.decode() if isinstance(name, bytes) else str(name)


def _numbers(found: Any, path: Path) -> NDArray[np.float64]:
    try:
        return np.atleast_2d(np.asarray(found, np.float64))
    except (TypeError, ValueError) as error:
        raise RigError(
            "the responses are no numbers",
            where=f"{path}, {RESPONSES}",
            expected="a matrix of doubles, images × channels; NaN where nothing was measured",
            got=str(error),
            remedy="tEvokedResp = double(responses);",
        ) from error


def _is_string_array(path: Path) -> RigError:
    return RigError(
        "the images' names are a string array of MATLAB, which only MATLAB can read",
        where=f"{path}, {IDS}",
        expected="a cell array of character vectors, or a character matrix",
        got='strings, written with double quotes: "…"',
        remedy=f"before save: {IDS} = cellstr({IDS});",
    )


def _text(entry: Any) -> str:
    """A string, its bytes, or its characters' numbers in an array."""
    if isinstance(entry, bytes):
        return entry.decode()
    if isinstance(entry, np.ndarray):
        if entry.dtype.kind in "ui":
            return "".join(chr(int(code)) for code in entry.ravel())
        return "".join(_text(part) for part in entry.ravel())
    return str(entry)


def write_mat5(path: Path, answer: Answer) -> None:
    """As MATLAB's `save -v7` does."""
    io = imported("scipy.io", needed_by="writing .mat", install="pip install scipy")
    cells = np.empty((len(answer.names), 1), object)
    cells[:, 0] = answer.names
    io.savemat(path, {IDS: cells, RESPONSES: answer.responses}, appendmat=False)


def write_hdf5(path: Path, answer: Answer) -> None:
    """As XDREAM's rigs do: a row of references to strings of 16-bit characters."""
    h5py = imported("h5py", needed_by="writing .h5", install="pip install h5py")
    with h5py.File(path, "w") as file:
        references = file.create_dataset(IDS, (1, len(answer.names)), h5py.ref_dtype)
        for place, name in enumerate(answer.names):
            codes = np.array([[ord(letter)] for letter in name], np.uint16)
            references[0, place] = file.create_dataset(f"#refs#/{place}", data=codes).ref
        file.create_dataset(RESPONSES, data=answer.responses)


def write_scores(path: Path, places: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    """As XDREAM's own `.h5`: rows by their images' places among the sorted file names."""
    h5py = imported("h5py", needed_by="writing .h5", install="pip install h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset(INDICES, data=places)
        file.create_dataset(SCORES, data=scores)
