"""How a program is told to end: SIGTERM, on Windows also Ctrl-Break and the console's being closed."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator

CONSOLE_CLOSED, LOGGED_OFF, SHUT_DOWN = 2, 5, 6
"""Control events of Windows' console that end the process once their handler returns."""
GRACE_S = 4.5
"""Windows ends the process 5 s after its console was closed."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that mean: end now, in order."""
    if sys.platform == "win32":
        return signal.SIGTERM, signal.SIGBREAK
    return (signal.SIGTERM,)


class ConsoleEnd:
    """What Windows calls, in a thread of its own, when the console goes.

    Args:
        terminate: Tells the program to end, and returns at once.
    """

    def __init__(self, terminate: Callable[[], None]) -> None:
        self._terminate = terminate
        self._ended = threading.Event()

    def __call__(self, event: int) -> bool:
        """Whether the event was taken; returns when the program has ended, or nearly too late."""
        if event not in (CONSOLE_CLOSED, LOGGED_OFF, SHUT_DOWN):
            return False
        self._terminate()
        self._ended.wait(GRACE_S)
        return True

    def ended(self) -> None:
        """The program has put everything in order."""
        self._ended.set()


@contextlib.contextmanager
def on_console_end(terminate: Callable[[], None]) -> Iterator[None]:
    """While entered, closing the console calls `terminate`; does nothing but on Windows."""
    if sys.platform != "win32":
        yield
        return
    import ctypes

    end = ConsoleEnd(terminate)
    handler = ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)(end)
    set_handler = ctypes.windll.kernel32.SetConsoleCtrlHandler
    set_handler(handler, True)
    try:
        yield
    finally:
        end.ended()
        set_handler(handler, False)
