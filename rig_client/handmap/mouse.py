"""Mouse and keys of the rig's window, as events of the hand."""

from __future__ import annotations

from collections import deque
from typing import Any

from rig_client.display.geometry import Geometry
from rig_client.handmap.state import Clicked, Event, Moved, Pressed, Wheeled

SHIFTS = {"lshift", "rshift"}
CONTROLS = {"lctrl", "rctrl", "lcommand", "rcommand"}


class Mouse:
    """Hears a pyglet window; events wait until they are asked for, in their order.

    Args:
        window: A `psychopy.visual.Window`.
        geometry: Of the window.
    """

    def __init__(self, window: Any, geometry: Geometry) -> None:
        from pyglet.window import key, mouse

        self._key, self._mouse = key, mouse
        self._geometry = geometry
        self._events: deque[Event] = deque()
        self._held: set[str] = set()
        self._window = window.winHandle
        self._window.push_handlers(
            on_mouse_motion=self._moved,
            on_mouse_drag=self._dragged,
            on_mouse_press=self._pressed,
            on_mouse_release=self._released,
            on_mouse_scroll=self._scrolled,
            on_key_press=self._key_down,
            on_key_release=self._key_up,
            on_deactivate=self._held.clear,
        )

    def events(self) -> list[Event]:
        """Those since this was last asked; of movements that follow each other, the last."""
        found: list[Event] = []
        while self._events:
            event = self._events.popleft()
            if isinstance(event, Moved) and found and isinstance(found[-1], Moved):
                found.pop()
            found.append(event)
        return found

    def close(self) -> None:
        """Hear no more."""
        self._window.pop_handlers()

    def _moved(self, x: int, y: int, *_: object) -> None:
        """Window pixels, y up; the pointer is in a pixel's middle."""
        height = self._geometry.window_px[1]
        self._events.append(Moved(*self._geometry.point_deg((x + 0.5, height - y - 0.5))))

    def _dragged(self, x: int, y: int, *_: object) -> None:
        self._moved(x, y)

    def _pressed(self, x: int, y: int, button: int, *_: object) -> None:
        self._moved(x, y)
        if button == self._mouse.LEFT:
            self._events.append(Clicked())
        elif button == self._mouse.MIDDLE:
            self._events.append(Pressed("space"))
        else:
            self._held.add("button")

    def _released(self, _x: int, _y: int, button: int, *_: object) -> None:
        if button == self._mouse.RIGHT:
            self._held.discard("button")

    def _scrolled(self, _x: int, _y: int, across: float, up: float) -> None:
        """A Mac turns the wheel sideways while Shift is held."""
        steps = up or across
        if not steps:
            return
        if self._held & (SHIFTS | {"button"}):
            self._events.append(Wheeled(steps, "turn"))
        else:
            self._events.append(Wheeled(steps, "fine" if self._held & CONTROLS else "size"))

    def _key_down(self, symbol: int, _modifiers: int) -> None:
        name = self._name(symbol)
        self._held.add(name)
        self._events.append(Pressed(name))

    def _key_up(self, symbol: int, _modifiers: int) -> None:
        self._held.discard(self._name(symbol))

    def _name(self, symbol: int) -> str:
        """As `KEYS` and the display's settings have it: "1" also on the number pad."""
        name = str(self._key.symbol_string(symbol)).lower()
        return name.removeprefix("num_").removeprefix("_") if name[-1:].isdigit() else name
