"""Screens whose points are not pixels: Windows' scaling, and Retina screens of the Mac.

There a window of 1000 points may have 2000 pixels, or be stretched to 1500: an image of 4° comes out
at 2°, or blurred. Degrees and pixels can't both be kept, so such a screen is refused.
"""

from __future__ import annotations

import sys
from typing import Any

from protocols.errors import DisplayError

UNSCALED_DPI = 96
REMEDIES = {
    "win32": "Settings, System, Display, Scale: 100 % on the stimulus screen; then sign out and in",
    "darwin": "choose a mode without HiDPI for the stimulus screen (System Settings, Displays, "
    "Advanced, show resolutions as list; or a screen that has no Retina mode)",
}


def check_scaling(window: Any) -> None:
    """Refuse a window whose points are not the screen's pixels.

    Raises:
        DisplayError: With the scale that was found.
    """
    scale = scale_of(window)
    if abs(scale - 1) > 0.01:
        raise DisplayError(
            "the screen is scaled: its points are not its pixels, and degrees would be wrong",
            where=f"screen of the window, {sys.platform}",
            expected="100 %",
            got=f"{100 * scale:.0f} %",
            remedy=REMEDIES.get(sys.platform, "switch the screen's scaling off"),
        )


def scale_of(window: Any) -> float:
    """Pixels in a point of the screen that the window is on, by whatever the system tells."""
    handle = window.winHandle
    if callable(ratio := getattr(handle, "get_pixel_ratio", None)):
        found = float(ratio())
        if abs(found - 1) > 0.01:
            return found
    if callable(framebuffer := getattr(handle, "get_framebuffer_size", None)):
        width = float(handle.get_size()[0])
        if width and abs(framebuffer()[0] / width - 1) > 0.01:
            return float(framebuffer()[0]) / width
    return _windows_scale(handle)


def _windows_scale(handle: Any) -> float:
    """Of the monitor, also if Windows keeps it from this program (which then draws blurred)."""
    if sys.platform != "win32":
        return 1.0
    import ctypes

    user = ctypes.windll.user32
    window = getattr(handle, "_hwnd", 0)
    user.SetThreadDpiAwarenessContext(ctypes.c_void_p(-4))  # per monitor: the truth
    dpi = int(user.GetDpiForWindow(window)) if window else int(user.GetDpiForSystem())
    return dpi / UNSCALED_DPI if dpi else 1.0
