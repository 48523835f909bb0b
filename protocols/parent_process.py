"""A process that may not outlive the one that began it: the server and the rig of a dry run."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

PARENT = "STIMLOOP_PARENT"
"""Environment variable: the process to end with."""
PR_SET_PDEATHSIG = 1
"""Of Linux' `prctl`."""


def environment_of_child() -> Mapping[str, str]:
    """For a process that shall end with this one, even if this one is killed with -9."""
    return {PARENT: str(os.getpid())}


def end_with_parent() -> None:
    """If `STIMLOOP_PARENT` asks for it, have Linux send SIGTERM once the parent is gone.

    Elsewhere nothing happens: there, a parent ends its children as long as it can.
    """
    parent = os.environ.pop(PARENT, "")
    if not parent or sys.platform != "linux":
        return
    import ctypes  # only the processes of a dry run need it

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if parent != str(os.getppid()):
        sys.exit("the process that began this one has gone")
