"""The experimenter at the rig: keys, the mouse and eyes, by X, on another process's window."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np


class Experimenter:
    """Reaches the rig's window on a screen, by its title.

    Args:
        screen: The screen's name, such as `:3`.
        title: The window's.
        window: The window itself, if it is this process's own.
    """

    def __init__(self, screen: str, title: str = "stimloop", window: int = 0) -> None:
        from pyglet.libs.x11 import xlib

        self._x = xlib
        self._display = xlib.XOpenDisplay(screen.encode())
        assert self._display, f"no screen {screen}"
        self._title, self._window = title.encode(), window

    def close(self) -> None:
        self._x.XCloseDisplay(self._display)

    def window(self) -> int:
        """The window, 0 if it is not there."""
        root = self._x.XDefaultRootWindow(self._display)
        return self._window or next(self._windows_below(root), 0)

    def press(self, key: str) -> None:
        """A key, by the name that X gives it."""
        x = self._x
        event = x.XEvent()
        for kind in (x.KeyPress, x.KeyRelease):
            event.xkey.type = kind
            event.xkey.display = self._display
            event.xkey.window = self.window()
            event.xkey.root = x.XDefaultRootWindow(self._display)
            event.xkey.same_screen = True
            symbol = x.XStringToKeysym(key.encode())
            event.xkey.keycode = x.XKeysymToKeycode(self._display, symbol)
            self._send(event, x.KeyPressMask)

    def move(self, x_px: int, y_px: int) -> None:
        """The pointer is on this pixel of the window, from its left and its top."""
        self._mouse(self._x.MotionNotify, "xmotion", self._x.PointerMotionMask, x_px, y_px)

    def click(self, x_px: int, y_px: int, button: int = 1) -> None:
        """A button there; 4 and 5 are the wheel, up and down."""
        for kind, mask in (
            (self._x.ButtonPress, self._x.ButtonPressMask),
            (self._x.ButtonRelease, self._x.ButtonReleaseMask),
        ):
            self._mouse(kind, "xbutton", mask, x_px, y_px, button)

    def _mouse(
        self, kind: int, part: str, mask: int, x_px: int, y_px: int, button: int = 0
    ) -> None:
        event = self._x.XEvent()
        event.type = kind
        one = getattr(event, part)
        one.type = kind
        one.display = self._display
        one.window = self._view()
        one.root = self._x.XDefaultRootWindow(self._display)
        one.x, one.y = x_px, y_px
        one.same_screen = True
        if button:
            one.button = button
        self._x.XSendEvent(self._display, one.window, False, mask, ctypes.byref(event))
        self._x.XSync(self._display, False)

    def _view(self) -> int:
        """Within the window, what pyglet draws in: it hears the mouse."""
        window = self.window()
        assert window, "the rig has no window"
        children = self._children(window)
        return children[0] if children else window

    def close_window(self) -> None:
        """What a click on the window's cross does."""
        x = self._x
        event = x.XEvent()
        event.xclient.type = x.ClientMessage
        event.xclient.window = self.window()
        event.xclient.message_type = x.XInternAtom(self._display, b"WM_PROTOCOLS", False)
        event.xclient.format = 32
        event.xclient.data.l[0] = x.XInternAtom(self._display, b"WM_DELETE_WINDOW", False)
        self._send(event, 0)

    def picture(self) -> np.ndarray:
        """What the window shows, `(height, width, 3) uint8`."""
        x, window = self._x, self.window()
        attributes = x.XWindowAttributes()
        x.XGetWindowAttributes(self._display, window, ctypes.byref(attributes))
        size = attributes.width, attributes.height
        all_planes, by_pixel = 0xFFFFFFFF, 2
        image = x.XGetImage(self._display, window, 0, 0, *size, all_planes, by_pixel)
        n_bytes = image.contents.bytes_per_line * attributes.height
        field = ctypes.addressof(image.contents) + type(image.contents).data.offset
        data = ctypes.c_void_p.from_address(field).value
        raw = np.frombuffer(ctypes.string_at(data, n_bytes), np.uint8)
        x.XFree(data)
        x.XFree(image)
        rows = raw.reshape(attributes.height, -1, 4)[:, : attributes.width]
        return rows[:, :, 2::-1]

    def _send(self, event: Any, mask: int) -> None:
        window = self.window()
        assert window, "the rig has no window"
        self._x.XSendEvent(self._display, window, False, mask, ctypes.byref(event))
        self._x.XSync(self._display, False)

    def _windows_below(self, window: int) -> Iterator[int]:
        x = self._x
        name = ctypes.c_char_p()
        if x.XFetchName(self._display, window, ctypes.byref(name)) and name.value == self._title:
            yield window
        for child in self._children(window):
            yield from self._windows_below(child)

    def _children(self, window: int) -> list[int]:
        x = self._x
        root, parent = x.Window(), x.Window()
        children, n_children = ctypes.POINTER(x.Window)(), ctypes.c_uint()
        x.XQueryTree(
            self._display,
            window,
            *map(ctypes.byref, (root, parent, children, n_children)),
        )
        return [children[number] for number in range(n_children.value)]


@contextlib.contextmanager
def experimenter(screen: str, window: int = 0) -> Iterator[Experimenter]:
    person = Experimenter(screen, window=window)
    try:
        yield person
    finally:
        person.close()
