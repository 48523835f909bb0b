"""Results on disk: one small file a cell, named by the cell; written atomically, kept for ever."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from protocols.errors import SettingsError, StimloopError
from protocols.replacing import replace_file
from synth_server.campaign.cell_run import Row
from synth_server.session.log_lock import writer_lock

FOLDER = "cells"
LOCKED = "campaign"


class ResultNotKept(StimloopError):
    """A cell's result could not be written; everything before it is kept."""


class Rows:
    """The results in a campaign's folder.

    Args:
        folder: The campaign's; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                "the campaign's folder cannot be made", where=str(folder), got=error
            ) from None

    def path(self, name: str) -> Path:
        """Where the result of the cell `name` lies."""
        return self._folder / f"{name}.json"

    def read(self, name: str) -> Row | None:
        """The cell's result; None if there is none, or the file is damaged."""
        try:
            row = Row.model_validate_json(self.path(name).read_bytes())
        except (OSError, ValidationError):
            return None
        return row if row.name == name else None

    def write(self, row: Row) -> None:
        """Keep a result; it is on the disk when this returns.

        Raises:
            ResultNotKept: If it cannot be written.
        """
        part = self._folder / f".{row.name}.part"
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(row.model_dump_json(indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            replace_file(part, self.path(row.name))
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise ResultNotKept(
                "a result cannot be written; those before it are kept",
                where=str(self.path(row.name)),
                got=error.strerror or error,
                remedy="free disk space or mend permissions, then give the same command again: "
                "it computes what is missing",
            ) from None

    def done(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that need not be computed: failed cells are tried again."""
        return {name for name in names if (row := self.read(name)) and row.state == "done"}


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """One campaign at a time writes into `folder`; the system frees the lock even after kill -9.

    Raises:
        SettingsError: If another one does.
    """
    try:
        lock = writer_lock(folder / LOCKED)
    except StimloopError:
        raise SettingsError(
            "another campaign is writing into this folder",
            where=str(folder),
            remedy="wait for it, stop it, or choose another --out",
        ) from None
    try:
        yield
    finally:
        lock.close()
