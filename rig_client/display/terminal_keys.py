"""Keys pressed in the terminal that a rig without a window was started from."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
from typing import Any

ESCAPE = "\x1b"
NAMES = {"+": "plus", "=": "equal", "-": "minus"}


class TerminalKeys:
    """Reads what was typed, without waiting and without echo; nothing where there is no terminal.

    A program in the background leaves the terminal alone.

    Args:
        descriptor: Of the terminal; standard input's if not given.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = _standard_input() if descriptor is None else descriptor
        self._before: Any = None

    def pressed(self) -> list[str]:
        """Names of keys since this was last asked, as PsychoPy spells them."""
        if self._descriptor is None or not self.is_there():
            return []
        if sys.platform == "win32":
            return names_of(_typed_on_windows())
        self._make_direct()
        typed = ""
        while select.select([self._descriptor], [], [], 0)[0]:
            data = os.read(self._descriptor, 1024)
            if not data:
                break
            typed += data.decode(errors="replace")
        return names_of(typed)

    def close(self) -> None:
        """The terminal is as it was; again is no harm."""
        before, self._before = self._before, None
        if before is not None and self._descriptor is not None and sys.platform != "win32":
            import termios

            with contextlib.suppress(termios.error, OSError):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, before)

    def is_there(self) -> bool:
        """Whether this is a terminal, and we stand in its foreground."""
        if self._descriptor is None or not os.isatty(self._descriptor):
            return False
        if sys.platform == "win32":
            return True
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(self._descriptor) == os.getpgrp()
        return True  # a terminal that controls no processes, such as one end of a pair

    def _make_direct(self) -> None:
        """Key by key, without echo; a shell may have changed that while we were suspended."""
        if sys.platform != "win32" and self._descriptor is not None:
            import termios
            import tty

            state = termios.tcgetattr(self._descriptor)
            if state[3] & termios.ICANON:
                if self._before is None:
                    self._before = state
                    atexit.register(self.close)
                tty.setcbreak(self._descriptor, termios.TCSADRAIN)


def names_of(typed: str) -> list[str]:
    """Names of the keys; what arrows and function keys send is left out."""
    names: list[str] = []
    rest = iter(typed)
    for character in rest:
        if character == ESCAPE:
            following = next(rest, "")
            if following in ("[", "O"):
                next((one for one in rest if one.isalpha() or one == "~"), "")
                continue
            names.append("escape")
            character = following
        if character:
            names.append(NAMES.get(character, character.lower()))
    return names


def _standard_input() -> int | None:
    try:
        return sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):  # closed, or not a file
        return None


def _typed_on_windows() -> str:
    typed = ""
    if sys.platform == "win32":
        import msvcrt

        while msvcrt.kbhit():
            typed += msvcrt.getwch()
    return typed
