"""One rig client a spool folder: the second is told, before it shows anything.

A hand map is of no session. It holds a lock of its own beside the sessions' folders, and begins only
while none of them is held; a rig client looks for it once it holds its session's. So of two that start
at once, one is told at least.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from protocols.errors import SpoolError

HAND_MAP = "+handmap"
"""No session has such a name."""


class FolderLock:
    """Held until `close`; the system frees it when the process ends, also after kill -9.

    It is a hidden file beside the folder, and stays there: removing a lock is a race.

    Args:
        folder: An existing folder.

    Raises:
        SpoolError: If another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._held = sqlite3.connect(
            folder.with_name(f".{folder.name}.lock"),
            isolation_level=None,
            timeout=0,
            check_same_thread=False,
        )
        try:
            self._held.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            self._held.close()
            raise SpoolError(
                "another rig client is serving this session from the same spool folder",
                where=str(folder),
                expected="one rig client a session and spool folder",
                remedy="stop the other one first (look for a second terminal or window); "
                "it goes on where it was when it is started again",
            ) from None

    def close(self) -> None:
        """Let go."""
        self._held.close()


def held_for_hand_map(spool: Path) -> FolderLock:
    """The rig, as far as rig clients with this spool folder are concerned; to be closed.

    Args:
        spool: The folder that all sessions of the rig share; made if it is not there.

    Raises:
        SpoolError: If another program uses the rig, or the folder cannot be made.
    """
    try:
        spool.mkdir(parents=True, exist_ok=True)
        lock = FolderLock(spool / HAND_MAP)
    except OSError as error:
        raise SpoolError(
            "the spool folder cannot be made",
            where=str(spool),
            got=error.strerror or error,
            remedy="set `spool` in rig.toml to a folder that this user may write",
        ) from None
    except SpoolError:
        raise _in_use(spool, "another hand map is running with this rig") from None
    for folder in sorted(path for path in spool.iterdir() if path.is_dir()):
        try:
            FolderLock(folder).close()
        except SpoolError:
            lock.close()
            raise _in_use(
                spool, f"a rig client serves session {folder.name} with this rig"
            ) from None
    return lock


def check_no_hand_map(spool: Path) -> None:
    """Called with a session's lock held.

    Raises:
        SpoolError: If a hand map uses the rig.
    """
    try:
        FolderLock(spool / HAND_MAP).close()
    except SpoolError:
        raise _in_use(spool, "a hand map is running with this rig") from None


def _in_use(spool: Path, what: str) -> SpoolError:
    return SpoolError(
        what,
        where=str(spool),
        expected="one program at a time at the rig",
        remedy="end the other one first (look for a second terminal or window)",
    )
