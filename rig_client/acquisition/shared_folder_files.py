"""The files of XDREAM's shared folder: images one way, responses to them the other.

Images are `block003_0017_9f86d081.png`: block, image, and the beginning of its hash, so that files of
another session are never taken for ours. Responses are `block003.mat` or `block003.h5`, with

- `stimulusID`: for each row the name of an image file, with or without folder and `.png`; a cell array
  or character matrix of MATLAB, or strings;
- `tEvokedResp`: responses, images × channels.

A `.mat` file is MATLAB's version 5 to 7 (read with scipy) or 7.3, which is HDF5 (read with h5py).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocols.errors import DataError
from protocols.vocabulary import Block, Images
from rig_client.installed import imported

IDS, RESPONSES = "stimulusID", "tEvokedResp"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
MATLAB_HEADER = 512
"""Where the HDF5 of a MATLAB 7.3 file begins."""
IMAGE_NAME = re.compile(r"block(\d{3,})_(\d+)_([0-9a-f]+)\.png")


class Unreadable(Exception):
    """The file cannot be read, or not yet."""


class Answer(NamedTuple):
    """What a rig wrote about a block: names of images, and a row of responses for each."""

    names: tuple[str, ...]
    responses: NDArray[np.float64]


def image_names(block: Block) -> list[str]:
    """File names of a block's images."""
    return [
        f"block{block.index:03d}_{place:04d}_{name[:8]}.png"
        for place, name in enumerate(block.stimulus_ids)
    ]


def write_images(folder: Path, block: Block) -> None:
    """Write a block's images; each appears under its name when it is whole.

    Raises:
        DataError: If the folder has images of another session under this block's number.
        OSError: If they cannot be written.
    """
    names = image_names(block)
    prefix = f"block{block.index:03d}_"
    foreign = sorted({p.name for p in folder.glob(f"{prefix}*.png")} - set(names))
    if foreign:
        raise DataError(
            "the shared folder holds images of another session",
            where=str(folder),
            expected=f"{prefix}*.png of this session only",
            got=", ".join(foreign[:3]),
            remedy="use an empty folder for every session",
        )
    for name, image in zip(names, block.images, strict=True):
        if not (folder / name).exists():
            draft = folder / f"{name}.part"
            Image.fromarray(image).save(draft, format="png")
            draft.replace(folder / name)


def read_images(paths: list[Path]) -> Images:
    """`(n, height, width, 3) uint8`."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])


def found_answer(folder: Path, block_index: int) -> Path | None:
    """The file with the responses to a block, if it is there."""
    paths = (folder / f"block{block_index:03d}{suffix}" for suffix in (".mat", ".h5"))
    return next((path for path in paths if path.exists()), None)


def stem(name: str) -> str:
    """What a name is compared by: without folder (of Windows or not) and `.png`."""
    return re.split(r"[\\/]", name.strip().strip("\0"))[-1].removesuffix(".png")


def read_answer(path: Path) -> Answer:
    """Read responses.

    Raises:
        Unreadable: If the file is none of these, or not whole.
        InstallationError: If the package that reads it is missing.
    """
    try:
        with path.open("rb") as file:
            head = file.read(MATLAB_HEADER + len(HDF5_MAGIC))
        is_hdf5 = HDF5_MAGIC in (head[: len(HDF5_MAGIC)], head[MATLAB_HEADER:])
        return _hdf5(path) if is_hdf5 else _mat5(path)
    except (OSError, KeyError, ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def _mat5(path: Path) -> Answer:
    io = imported("scipy.io", needed_by="a .mat file of MATLAB 5 to 7", install="pip install scipy")
    try:
        content = io.loadmat(path, variable_names=[IDS, RESPONSES])
    except io.matlab.MatReadError as error:
        raise Unreadable(str(error)) from error
    names = tuple(stem(_text(entry)) for entry in np.asarray(content[IDS]).ravel())
    return Answer(names, np.atleast_2d(np.asarray(content[RESPONSES], np.float64)))


def _hdf5(path: Path) -> Answer:
    h5py = imported("h5py", needed_by="a .h5 or .mat 7.3 file", install="pip install h5py")
    with h5py.File(path, "r") as file:
        entries = np.asarray(file[IDS][()]).ravel()
        names = tuple(
            stem(_text(file[entry][()] if isinstance(entry, h5py.Reference) else entry))
            for entry in entries
        )
        return Answer(names, np.atleast_2d(np.asarray(file[RESPONSES][()], np.float64)))


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
    cells[:, 0] = [f"{name}.png" for name in answer.names]
    io.savemat(path, {IDS: cells, RESPONSES: answer.responses}, appendmat=False)


def write_hdf5(path: Path, answer: Answer) -> None:
    """As XDREAM's rigs do: a row of references to strings of 16-bit characters."""
    h5py = imported("h5py", needed_by="writing .h5", install="pip install h5py")
    with h5py.File(path, "w") as file:
        references = file.create_dataset(IDS, (1, len(answer.names)), h5py.ref_dtype)
        for place, name in enumerate(answer.names):
            codes = np.array([[ord(letter)] for letter in f"{name}.png"], np.uint16)
            references[0, place] = file.create_dataset(f"#refs#/{place}", data=codes).ref
        file.create_dataset(RESPONSES, data=answer.responses)
