"""Files packed by gzip, bzip2, xz or zip: unpacked into a folder that is removed afterwards."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from protocols.errors import DataError

MAGIC: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
PACKED_ENDS = frozenset({".gz", ".bz2", ".xz"})
READ_ENDS = frozenset(
    {".npy", ".mat", ".csv", ".tsv", ".txt", ".parquet", ".h5", ".hdf5", ".nc", ".nwb"}
)
"""Endings of what is read out of a zip."""


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """`path` itself, or what is packed in it.

    Raises:
        DataError: If the packed file is damaged.
    """
    with path.open("rb") as file:
        head = file.read(6)
    opened = next((how for magic, how in MAGIC.items() if head.startswith(magic)), None)
    member = _only_member(path) if head.startswith(b"PK") else None
    if opened is None and member is None:
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="stimloop-") as folder:
        name = PurePosixPath(member).name if member else path.name
        inside = Path(folder, Path(name).stem if Path(name).suffix in PACKED_ENDS else name)
        try:
            if member is not None:
                with zipfile.ZipFile(path) as archive, archive.open(member) as source:
                    _copy(source, inside)
            elif opened is not None:
                with opened(path, "rb") as source:
                    _copy(source, inside)
        except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
            raise DataError(
                "the packed file cannot be unpacked",
                where=str(path),
                got=error,
                remedy="copy it again, or unpack it and name what is in it",
            ) from None
        yield inside


def _copy(source: Any, target: Path) -> None:
    with target.open("wb") as out:
        shutil.copyfileobj(source, out)


def _only_member(path: Path) -> str | None:
    """The one file of responses in a zip; None if there are none or several, or it is an .npz."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile:
        return None
    hidden = [n for n in names if n.startswith("__MACOSX") or PurePosixPath(n).name.startswith(".")]
    seen = [name for name in names if name not in hidden]
    is_one = len(seen) == 1 and PurePosixPath(seen[0]).suffix.lower() in READ_ENDS
    is_archive = path.suffix.lower() == ".npz" and seen[:1] != [] and seen[0].endswith(".npy")
    return seen[0] if is_one and not is_archive else None
