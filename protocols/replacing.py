"""Putting a finished file in an older one's place, on systems where somebody may hold that open."""

from __future__ import annotations

import sys
import time
from pathlib import Path

PATIENCE_S = 5.0
PAUSE_S = 0.05


def replace_file(finished: Path, path: Path) -> None:
    """`finished` takes the place of `path`, in one step.

    Windows refuses that while another process has `path` open, if only for a moment (a reader, a virus
    scanner, the search index): it is tried again for `PATIENCE_S`. Elsewhere it works at once.

    Raises:
        OSError: If it can't be done; `finished` is still there.
    """
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            finished.replace(path)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() > until_s:
                raise
            time.sleep(PAUSE_S)
        else:
            return
