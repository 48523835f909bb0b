"""A thread that does what must not be waited for: slow devices, programs, pulses that have to end."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

logger = logging.getLogger(__name__)

PARTING_S = 2.0
T = TypeVar("T")


class Courier(Generic[T]):
    """Carries items one after the other, in the order in which they were handed over.

    Args:
        name: Of the thread, and in what is logged.
        carry: What to do with an item, in the courier's thread. An error is logged and never kills
            the courier; while it stays the same, it is logged once.

    Attributes:
        trouble: What went wrong with the last item; empty if it went well.
    """

    def __init__(self, name: str, carry: Callable[[T], None]) -> None:
        self._name, self._carry = name, carry
        self._items: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self.trouble = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_running(self) -> bool:
        """Whether it still carries something, or waits for more."""
        return self._thread.is_alive()

    def hand_over(self, item: T) -> None:
        """Returns at once."""
        self._items.put(item)

    def pause(self, duration_s: float) -> None:
        """Wait within `carry`; cut short when the courier is closed."""
        self._closing.wait(duration_s)

    def close(self) -> None:
        """Carry what was handed over, then end; what takes longer than 2 s is abandoned."""
        self._closing.set()
        self._items.put(None)
        self._thread.join(PARTING_S)

    def _run(self) -> None:
        while (item := self._items.get()) is not None:
            self.trouble = attempted(self._name, self.trouble, self._carry, item)


def attempted(name: str, trouble: str, do: Callable[..., Any], *arguments: Any) -> str:
    """Do it; what went wrong is logged if it is not `trouble` already, and returned."""
    try:
        do(*arguments)
    except Exception as error:  # whatever a driver raises: the session goes on without it
        text = f"{type(error).__name__}: {error}"
        if text != trouble:
            logger.error("%s failed: %s", name, text)
        return text
    if trouble:
        logger.warning("%s works again", name)
    return ""
