"""Writes a file atomically, and replaces another one only with `force`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocols.errors import DataError, SettingsError
from protocols.replacing import replace_file


@contextmanager
def new_file(path: Path, *suffixes: str, force: bool = False) -> Iterator[Path]:
    """Yield a hidden path beside `path` to write to; it takes its place if nothing goes wrong.

    Args:
        path: The file to be.
        suffixes: What its name may end with.
        force: Whether a file that is there may be replaced.

    Raises:
        SettingsError: If the name ends otherwise, or the file is there already.
        DataError: If it cannot be written.
    """
    if path.suffix.lower() not in suffixes:
        raise SettingsError(
            "the file's name says what it will hold",
            where=str(path),
            expected=f"a name that ends with {' or '.join(suffixes)}",
            got=path.name,
        )
    if path.exists() and not force:
        raise SettingsError(
            "there is a file of this name already",
            where=str(path),
            remedy="choose another name, or replace it with --force",
        )
    unfinished = path.with_name(f".{path.stem}.unfinished{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        replace_file(unfinished, path)
    except OSError as error:
        raise DataError(
            "the file cannot be written",
            where=str(path),
            got=error.strerror or error,
            remedy="free disk space, mend permissions, or choose another place",
        ) from None
    finally:
        unfinished.unlink(missing_ok=True)
