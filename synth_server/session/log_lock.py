"""Who writes a session log: a lock beside it, which the system frees even after kill -9."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from protocols.errors import LogError

LOOK_S = 0.2
"""How long a writer waits for the lock: longer than `is_being_written` looks at it."""


def is_being_written(path: Path) -> bool:
    """Whether a server has this log open for writing at this moment."""
    lock = lock_path(path)
    if not lock.is_file():
        return False
    try:
        with contextlib.closing(
            sqlite3.connect(f"{lock.resolve().as_uri()}?mode=ro", uri=True, timeout=0)
        ) as db:
            db.execute("SELECT 1 FROM sqlite_master").fetchall()
    except sqlite3.OperationalError as error:
        return "locked" in str(error)
    return False


def lock_path(path: Path) -> Path:
    """Beside the log, hidden; it stays there: removing a lock is a race."""
    return path.with_name(f".{path.name}.lock")


def writer_lock(path: Path) -> sqlite3.Connection:
    """Held as long as the process lives; the system frees it even after kill -9."""
    lock = sqlite3.connect(
        lock_path(path),
        isolation_level=None,
        timeout=LOOK_S,
        check_same_thread=False,
    )
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        lock.close()
        raise LogError(
            "another server is writing this session log",
            where=str(path),
            remedy="stop that server first; reading (monitor, report) needs no lock",
        ) from None
    return lock
