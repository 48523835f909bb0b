"""Ctrl-C: once, what was begun is finished and saved; twice, the program ends now. So does SIGTERM."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from protocols.endings import ending_signals, on_console_end

STOPPED_NOW = 128 + signal.SIGINT
"""Exit status after the second Ctrl-C: 130."""


class Interrupts:
    """Takes SIGINT and SIGTERM while it is entered; what they do is called in the main thread.

    Args:
        finish: At the first SIGINT; returns at once.
        stop: At the second.
        terminate: At SIGTERM; on Windows also at Ctrl-Break, and when the console is closed.
    """

    def __init__(
        self,
        finish: Callable[[], None],
        stop: Callable[[], None],
        terminate: Callable[[], None],
    ) -> None:
        self._finish, self._stop, self._terminate = finish, stop, terminate
        self._before: dict[signal.Signals, Any] = {}
        self._console = contextlib.ExitStack()
        self.n_interrupts = 0

    def __enter__(self) -> Self:
        with contextlib.suppress(ValueError):  # not the main thread: signals are another's
            self._before = {signal.SIGINT: signal.signal(signal.SIGINT, self._on_interrupt)}
            for number in ending_signals():
                self._before[number] = signal.signal(number, self._on_terminate)
        self._console.enter_context(on_console_end(self._terminate))
        return self

    def __exit__(self, *_exception: object) -> None:
        self._console.close()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before and self.n_interrupts > 1:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already; let it do so in order

    def _on_interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self.n_interrupts += 1
        if self.n_interrupts == 1:
            self._finish()
        elif self.n_interrupts == 2:  # a third must not disturb what the second one tidies up
            self._stop()

    def _on_terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._terminate()
