"""Where results go is checked before the work that makes them: free, writable, of the right kind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from protocols.errors import SettingsError

OVERWRITE = "--overwrite"


def check_new_file(
    path: Path, *suffixes: str, overwrite: bool = False, where: str = "--out"
) -> None:
    """Refuse a file that could not be written later, or that would replace another unasked.

    Args:
        path: The file to be.
        suffixes: What its name may end with, in small letters; none: anything.
        overwrite: Whether a file that is there may be replaced.
        where: The option that named it.

    Raises:
        SettingsError: With what to do.
    """
    if suffixes and path.suffix.lower() not in suffixes:
        raise SettingsError(
            "the file's name says what it will hold",
            where=f"{where} {path}",
            expected=f"a name that ends with {' or '.join(suffixes)}",
            got=path.name,
        )
    if path.is_dir():
        raise SettingsError(
            "this is a folder", where=f"{where} {path}", expected="the name of a file"
        )
    if path.exists() and not overwrite:
        raise SettingsError(
            "there is a file of this name already",
            where=f"{where} {path}",
            remedy=f"choose another name, or replace it with {OVERWRITE}",
        )
    if path.exists() and not os.access(path, os.W_OK):
        raise _unwritable(path, where)
    _check_writable(path.parent, where)


def check_new_folder(
    folder: Path, holds: Iterable[str] = (), *, overwrite: bool = False, where: str = "--out"
) -> None:
    """Refuse a folder that could not be made or written, or that holds earlier results.

    Args:
        folder: Where results are to lie.
        holds: Patterns of files that would be mixed with, or replaced by, the new ones.
        overwrite: Whether they may be there.
        where: The option that named it.

    Raises:
        SettingsError: With what to do.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(
            "this is a file", where=f"{where} {folder}", expected="the name of a folder"
        )
    found = sorted({path.name for pattern in holds for path in folder.glob(pattern)})
    if found and not overwrite:
        raise SettingsError(
            "the folder holds earlier results, which would be replaced or mixed with the new ones",
            where=f"{where} {folder}",
            got=", ".join(found[:5]) + (" …" if len(found) > 5 else ""),
            remedy=f"choose another folder, or replace them with {OVERWRITE}",
        )
    _check_writable(folder, where)


def _check_writable(folder: Path, where: str) -> None:
    """The folder, or the nearest one above it that is there, can be written."""
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    try:
        with tempfile.TemporaryFile(dir=nearest):
            return
    except OSError:
        raise _unwritable(folder, where, nearest) from None


def _unwritable(path: Path, where: str, nearest: Path | None = None) -> SettingsError:
    return SettingsError(
        "this place cannot be written",
        where=f"{where} {path}",
        expected="a folder in which you may write",
        got=f"{nearest} is not one" if nearest else "a file that is write-protected",
        remedy="choose another place, or mend its permissions",
    )
