"""Opens PsychoPy's window, and says in our words why it cannot."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DisplayError, InstallationError, SettingsError, StimloopError
from protocols.text_files import read_text
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.scaling import check_scaling
from rig_client.display.virtual_screen import VirtualScreen, has_screen

SYSTEM_PACKAGES = (
    "libgl1 libgl1-mesa-dri libglu1-mesa libegl1 libxi6 libxrandr2 libxinerama1 libxcursor1"
)


def open_window(settings: PsychoPySettings) -> Any:
    """A `psychopy.visual.Window`, gray, its gamma set.

    Raises:
        InstallationError: If PsychoPy, a library or the screen is missing.
        DisplayError: If the window or its gamma cannot be had.
        SettingsError: If there is no such screen, or the gamma table cannot be read.
    """
    table = None if settings.gamma_table is None else read_gamma_table(settings.gamma_table)
    _await_screen(settings)
    visual = _psychopy_visual()
    try:
        window = visual.Window(
            size=settings.window_px,
            fullscr=settings.full_screen,
            screen=settings.screen,
            winType="pyglet",
            units="pix",
            colorSpace="rgb255",
            color=(settings.background,) * 3,
            allowGUI=not settings.full_screen,
            checkTiming=False,
            waitBlanking=True,
            title="stimloop",
            autoLog=False,
        )
    except Exception as error:  # PsychoPy, pyglet and OpenGL raise many kinds
        raise _cannot_open(error) from error
    try:
        _check_screen(window, settings.screen)
        check_scaling(window)
        set_gamma(window, settings.gamma, table)
    except StimloopError:
        window.close()
        raise
    window.mouseVisible = not settings.full_screen
    return window


def screen_width_px(window: Any) -> int:
    """Width of the screen that the window is on."""
    return int(window.winHandle.screen.width)


def read_gamma_table(path: Path) -> NDArray[np.float64]:
    """`(3, n)` in 0..1, from a text file of n ≥ 256 rows: red, green, blue.

    Raises:
        SettingsError: If it is none.
    """
    try:
        text = read_text(path)
        rows = io.StringIO(text)
        table = np.loadtxt(rows, delimiter=next((d for d in (",", ";") if d in text), None))
    except (OSError, ValueError) as error:
        raise _no_gamma_table(path, str(error)) from error
    if table.ndim != 2 or table.shape[1] != 3 or len(table) < 256:
        raise _no_gamma_table(path, f"shape {table.shape}")
    if not (np.isfinite(table).all() and table.min() >= 0 and table.max() <= 1):
        raise _no_gamma_table(path, f"values from {table.min():g} to {table.max():g}")
    return np.ascontiguousarray(table.T)


def _no_gamma_table(path: Path, got: str) -> SettingsError:
    return SettingsError(
        "the gamma table cannot be used",
        where=f"display option gamma_table: {path}",
        expected="256 or more rows of three numbers in 0..1: red, green, blue",
        got=got,
        remedy="see docs/how-to/calibrate-the-display.md",
    )


def set_gamma(window: Any, gamma: float | None, table: NDArray[np.float64] | None) -> None:
    """Have the graphics card undo `gamma`, or use `table` `(3, n)`; the old one returns at the end.

    Raises:
        DisplayError: If the card does not take it.
    """
    if gamma is None and table is None:
        return
    try:
        n_levels = int(window.backend.getGammaRampSize())
        if table is None:
            window.gamma = gamma
        elif table.shape[1] == n_levels:
            window.gammaRamp = table
    except Exception as error:  # by operating system: OSError, OpenGL's, ctypes'
        raise DisplayError(
            "the graphics card does not take a gamma",
            where="display options gamma, gamma_table",
            got=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="leave both out, and linearise the screen by its own means",
        ) from error
    if table is not None and table.shape[1] != n_levels:
        raise DisplayError(
            "the gamma table has not as many rows as the graphics card has levels",
            where="display option gamma_table",
            expected=n_levels,
            got=table.shape[1],
            remedy="see docs/how-to/calibrate-the-display.md",
        )


def _check_screen(window: Any, number: int) -> None:
    """PsychoPy takes the first screen where there is no such one; an animal would see nothing."""
    display = window.winHandle.display
    n_screens = len(display.get_screens())
    if number >= n_screens and number != getattr(display, "x_screen", -1):
        raise SettingsError(
            "there is no such screen",
            where="display option screen",
            expected=f"a number from 0 to {n_screens - 1}",
            got=number,
        )


def _await_screen(settings: PsychoPySettings) -> None:
    if has_screen():
        return
    if not settings.virtual_screen:
        raise InstallationError(
            "there is no screen to open a window on",
            expected="the environment variable DISPLAY, as on a desktop",
            got="DISPLAY is not set",
            remedy="start the rig client on the rig's own desktop; or, for a rehearsal, with the "
            "display option virtual_screen = true",
        )
    VirtualScreen().start()


def _psychopy_visual() -> Any:
    """PsychoPy's window system, quiet."""
    try:
        from psychopy import logging as psychopy_log
        from psychopy import visual
    except Exception as error:  # missing itself, or a library of the system below pyglet
        supported = "" if sys.version_info < (3, 13) else " (PsychoPy needs Python 3.11 or 3.12)"
        raise InstallationError(
            "PsychoPy cannot be imported",
            got=f"{type(error).__name__}: {error}",
            remedy=f"pip install 'stimloop[rig]'{supported}; "
            f"Debian, Ubuntu: sudo apt-get install {SYSTEM_PACKAGES}",
        ) from error
    psychopy_log.console.setLevel(psychopy_log.CRITICAL)
    return visual


def _cannot_open(error: Exception) -> DisplayError:
    return DisplayError(
        "PsychoPy cannot open a window",
        where="display",
        got=f"{type(error).__name__}: {error}",
        remedy=f"check DISPLAY, the screen number, and OpenGL (Debian: {SYSTEM_PACKAGES})",
    )
