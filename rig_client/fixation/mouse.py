"""The mouse as the eye: to try out a rig, or a task, without a subject."""

from __future__ import annotations

from typing import Any

from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Display
from rig_client.fixation.settings import FixationWindowSettings
from rig_client.fixation.tracker import Gaze, point_deg, window_and_geometry
from rig_client.fixation.window import FixationWindow, memory_of
from rig_client.installed import imported


class MouseEye:
    """Looks where the mouse points in PsychoPy's window; the left button closes the eye."""

    def __init__(self) -> None:
        self._mouse: Any = None
        self._display: Display | None = None

    def open_on(self, display: Display) -> None:
        """Show the pointer.

        Raises:
            DisplayError: If the display has no window.
        """
        self._window, self._geometry = window_and_geometry(display, "the mouse as an eye")
        event = imported(
            "psychopy.event", needed_by="the mouse as an eye", install="pip install 'stimloop[rig]'"
        )
        self._mouse = event.Mouse(visible=True, win=self._window)
        self._display = display

    def gaze_deg(self) -> Gaze | None:
        """Where the pointer is, as of the last flip."""
        if self._mouse is None or self._display is None:
            return None
        x_px, y_px = self._mouse.getPos()
        x_deg, y_deg = point_deg(self._geometry, self._window, float(x_px), float(y_px))
        closed = bool(self._mouse.getPressed()[0])
        return Gaze(x_deg, y_deg, self._display.now_s(), is_valid=not closed)

    def close(self) -> None:
        """Nothing to release."""
        self._mouse = None


class MouseFixation(FixationWindow):
    """The fixation window on `MouseEye`."""

    Settings = FixationWindowSettings

    is_simulated = True

    def __init__(self, settings: FixationWindowSettings, session: SessionInfo) -> None:
        super().__init__(settings, MouseEye(), memory_of(settings, session))
