"""What the experimenter asks for: one key pauses, then another goes on or quits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from protocols.rig_interfaces import Wish


class Keys(NamedTuple):
    """Names of keys, as PsychoPy spells them."""

    pause: str = "escape"
    resume: str = "p"
    quit: str = "q"


class Wishes:
    """Reads wishes out of key presses. To quit takes two keys: a single slip does not end a session."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._paused = False

    def read(self, pressed: Iterable[str]) -> Wish:
        """The wish that is left after the presses, in their order; empty if there is none."""
        wish: Wish = ""
        for key in pressed:
            if key == self._keys.pause and not self._paused:
                wish, self._paused = "pause", True
            elif key == self._keys.resume and self._paused:
                wish, self._paused = "resume", False
            elif key == self._keys.quit and self._paused:
                return "quit"
        return wish
