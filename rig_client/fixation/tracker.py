"""What an eye tracker must do; the fixation window does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

from protocols.errors import DisplayError
from protocols.rig_interfaces import Display

Point: TypeAlias = tuple[float, float]
"""Right of and above straight ahead, degrees."""


class Gaze(NamedTuple):
    """Where the eye looked last.

    Attributes:
        x_deg: Right of straight ahead.
        y_deg: Above straight ahead.
        time_s: Of the sample, on any clock: a time that stands still means a tracker that is silent.
        is_valid: False in a blink, or where the tracker has lost the eye.
    """

    x_deg: float
    y_deg: float
    time_s: float
    is_valid: bool = True


class EyeTracker(Protocol):
    """Knows where the subject looks."""

    def open_on(self, display: Display) -> None:
        """Called once, before the first trial, with the display that is looked at."""
        ...

    def gaze_deg(self) -> Gaze | None:
        """The latest sample, None if there was none yet; returns at once."""
        ...

    def close(self) -> None:
        """Release it; also called if it was never opened."""
        ...


@runtime_checkable
class SamplingTracker(EyeTracker, Protocol):
    """An `EyeTracker` that keeps its samples until they are asked for."""

    def samples(self) -> Sequence[Gaze]:
        """All since this was last asked, in order, their times on the display's clock."""
        ...


@runtime_checkable
class NotingTracker(EyeTracker, Protocol):
    """An `EyeTracker` with a file of its own."""

    def note(self, text: str) -> None:
        """Write a message of up to 128 characters into it, at this moment; returns at once."""
        ...


def window_and_geometry(display: Display, needed_by: str) -> tuple[Any, Any]:
    """PsychoPy's window of `display`, and the geometry of its screen.

    Raises:
        DisplayError: If the display has none.
    """
    window, geometry = getattr(display, "window", None), getattr(display, "geometry", None)
    if window is None or geometry is None:
        raise DisplayError(
            f"{needed_by} needs a display with a window",
            where="rig.toml: fixation, display",
            expected='display = { name = "psychopy" }',
            got=type(display).__name__,
            remedy="choose that display, or another fixation",
        )
    return window, geometry


def point_deg(geometry: Any, window: Any, x_px: float, y_px: float) -> tuple[float, float]:
    """Degrees of a point that PsychoPy gives in pixels from the window's centre, y up."""
    width, height = window.size
    found: tuple[float, float] = geometry.point_deg((width / 2 + x_px, height / 2 - y_px))
    return found
