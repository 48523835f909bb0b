"""The EyeLink's own data file (EDF): its name on the Host PC, and its way to the rig."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)


def is_eyelink(device: str) -> bool:
    """Whether ioHub's class of that name is an EyeLink."""
    return "sr_research" in device


class DataFile:
    """One recording of a session: a rig that is restarted makes another.

    The Host PC allows names of eight characters, and ioHub (psychopy-eyetracker-sr-research 0.0.6)
    seven, the first a letter; so the file gets its full name when it is fetched.

    Args:
        folder: Where it is to lie.
        session_id: Names it there.
        kept: Whether it is wanted; if not, it is thrown away after it was fetched.
        now: When it begins; for tests.
    """

    def __init__(
        self, folder: Path, session_id: str, *, kept: bool = True, now: datetime | None = None
    ) -> None:
        began = now or datetime.now()
        self.host_name = f"s{began:%H%M%S}"
        self._folder = folder
        self._kept = kept
        self.path = folder / f"{session_id}-{began:%Y%m%d-%H%M%S}.edf"

    def fetch(self, tracker: Any) -> Path | None:
        """Stop the recording, and bring the file here; None if it did not come.

        `tracker` is ioHub's, with `setRecordingState` and `setConnectionState`, which fetches.
        """
        logger.info("fetching the EyeLink's file %s.EDF; that may take minutes", self.host_name)
        with contextlib.suppress(Exception):
            tracker.setRecordingState(False)
        trouble = ""
        try:
            tracker.setConnectionState(False)
        except Exception as error:  # ioHub raises many kinds
            trouble = f" ({type(error).__name__}: {error})"
        came = next(
            (
                path
                for path in self._folder.iterdir()
                if path.name.lower() == f"{self.host_name}.edf"
            ),
            None,
        )
        if came is None:
            logger.error(
                "the EyeLink's file did not come%s: copy %s.EDF from the Host PC to %s",
                trouble,
                self.host_name,
                self.path,
            )
            return None
        if not self._kept:
            came.unlink()
            return None
        came.rename(self.path)
        logger.info("the EyeLink's file is %s", self.path)
        return self.path
