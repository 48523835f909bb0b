"""One rig client a spool folder: the second is told, before it shows anything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from protocols.errors import SpoolError


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
