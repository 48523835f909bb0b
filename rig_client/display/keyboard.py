"""What the experimenter asks for at the rig: one key each; to quit takes two."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from protocols.rig_interfaces import Wish

ALIASES = {"plus": ("equal", "num_add"), "minus": ("num_subtract",)}
"""Keys beside the named one: on an American keyboard, + is the shifted =."""
NAMES = {"escape": "Esc", "plus": "+", "minus": "−"}


class Keys(NamedTuple):
    """Names of keys, as PsychoPy spells them."""

    pause: str = "escape"
    resume: str = "p"
    quit: str = "q"
    free_reward: str = "r"
    longer_pulse: str = "plus"
    shorter_pulse: str = "minus"
    centre_gaze: str = "c"
    undo_centre: str = "u"
    calibrate: str = "k"

    @classmethod
    def of(cls, settings: Any) -> Keys:
        """Those of settings with `pause_key` and so on."""
        return cls(*(getattr(settings, f"{name}_key") for name in cls._fields))

    def conflict(self) -> str:
        """Which key stands for two things, in words; empty if none does."""
        seen: dict[str, str] = {}
        for purpose, key in self._asdict().items():
            for name in _with_aliases(key):
                if name in seen:
                    return f"{seen[name]}_key and {purpose}_key are both {name!r}"
                seen[name] = purpose
        return ""

    def help(self, *, paused: bool = True) -> str:
        """What to press, in one line."""
        shown = {purpose: NAMES.get(key, key.upper()) for purpose, key in self._asdict().items()}
        parts = [
            "{free_reward} juice",
            "{longer_pulse}/{shorter_pulse} longer, shorter pulse",
            "{centre_gaze} centre gaze, {undo_centre} undo",
        ]
        parts += (
            ["{calibrate} calibrate", "{resume} go on", "{quit} quit"]
            if paused
            else ["{resume} or {pause} pause"]
        )
        return "   ".join(parts).format(**shown)


class Wishes:
    """Reads wishes out of key presses, and gives them one at a time, the oldest first.

    To quit takes two keys: a single slip does not end a session.
    """

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self._purposes = _purposes(keys)
        self._paused = False
        self._waiting: deque[Wish] = deque()

    def read(self, pressed: Iterable[str], *, resting: bool = False) -> Wish:
        """The next wish, after these presses in their order; empty if there is none.

        Args:
            pressed: Names of keys.
            resting: Nothing is shown now, as in a pause that began elsewhere.
        """
        self._take(pressed, resting=resting)
        return self._waiting.popleft() if self._waiting else ""

    def interrupted(self, pressed: Iterable[str]) -> bool:
        """Whether one of these presses is to end what goes on within a pause, such as a calibration.

        The pause key and that of the calibration do just this; others are still given by `read`.
        """
        presses = list(pressed)
        stops = {self.keys.pause, self.keys.calibrate}
        self._take([key for key in presses if key not in stops], resting=True)
        return bool(stops & set(presses)) or bool({"resume", "quit"} & set(self._waiting))

    def _take(self, pressed: Iterable[str], *, resting: bool) -> None:
        for key in pressed:
            wish = self._purposes.get(key, "")
            if key == self.keys.resume:
                wish = "resume" if self._paused else "pause"
            if wish in ("pause", "resume"):
                if self._paused != (wish == "pause"):
                    self._paused = wish == "pause"
                    self._waiting.append(wish)
            elif wish == "quit":
                if self._paused:
                    self._waiting.clear()
                    self._waiting.append(wish)
                    return
            elif wish and (wish != "calibrate" or self._paused or resting):
                self._waiting.append(wish)


def _with_aliases(key: str) -> tuple[str, ...]:
    return (key, *ALIASES.get(key, ()))


def _purposes(keys: Keys) -> Mapping[str, Wish]:
    return {
        name: purpose  # type: ignore[misc]
        for purpose, key in keys._asdict().items()
        for name in _with_aliases(key)
    }
