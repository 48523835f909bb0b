"""What a rig says about itself when it attaches: its settings, its display, what of it is simulated."""

from __future__ import annotations

from typing import Any, TypeAlias

from pydantic import Field

from protocols.settings import Frozen
from protocols.vocabulary import Placement

Edges: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top, in degrees from the screen's centre."""
REFRESH_TOLERANCE = 0.02
"""Two measurements of one screen's refresh rate differ by less, as a fraction."""


class DisplayDescription(Frozen):
    """A screen, and where images appear on it.

    Attributes:
        name: The display's plug-in.
        size_px: Width and height of the screen.
        px_per_cm: Pixels in a centimetre; 0 if unknown, as in a display without a screen.
        distance_cm: From the eye to the screen; 0 if unknown.
        place: Where images are shown that have no place of their own.
        aperture: The mask over images, in words; empty: none.
        background: Gray level of the background, 0 to 255.
        fixation_point_deg: Right and above of the screen's centre.
        refresh_hz: As measured when the rig started; 0 if unknown.
        gamma_digest: Sha256 of the look-up table in use; empty: none.
        bounds_deg: Left, bottom, right and top edge of the screen, from its centre; None if unknown.
        patch_deg: The same of the photodiode's patch; None without one.
    """

    name: str = Field(max_length=64)
    size_px: tuple[int, int]
    px_per_cm: float = Field(default=0, ge=0)
    distance_cm: float = Field(default=0, ge=0)
    place: Placement
    aperture: str = Field(default="", max_length=200)
    background: float = Field(default=128, ge=0, le=255)
    fixation_point_deg: tuple[float, float] = (0, 0)
    refresh_hz: float = Field(default=0, ge=0)
    gamma_digest: str = Field(default="", max_length=64)
    bounds_deg: Edges | None = None
    patch_deg: Edges | None = None

    def why_not(self, place: Placement) -> str:
        """Why an image cannot be shown at `place`; empty if it can, or if the screen is unknown."""
        half = place.size_deg / 2
        left, right = place.x_deg - half, place.x_deg + half
        bottom, top = place.y_deg - half, place.y_deg + half
        if self.bounds_deg is not None:
            low_x, low_y, high_x, high_y = self.bounds_deg
            if left < low_x or right > high_x or bottom < low_y or top > high_y:
                return f"off the screen, which is {high_x - low_x:.1f}° x {high_y - low_y:.1f}°"
        if self.patch_deg is not None:
            low_x, low_y, high_x, high_y = self.patch_deg
            if left < high_x and right > low_x and bottom < high_y and top > low_y:
                return "on the photodiode's patch"
        return ""

    def differences(self, other: DisplayDescription) -> tuple[str, ...]:
        """What differs in `other`, in words, `field: here, there`; measured rates may differ a little."""
        mine, theirs = self.model_dump(mode="json"), other.model_dump(mode="json")
        changed = [name for name in mine if mine[name] != theirs[name]]
        if _close(self.refresh_hz, other.refresh_hz):
            changed = [name for name in changed if name != "refresh_hz"]
        return tuple(f"{name}: {mine[name]} before, {theirs[name]} now" for name in changed)

    @property
    def frame_ms(self) -> float:
        """Duration of one frame; 0 if unknown."""
        return 1000 / self.refresh_hz if self.refresh_hz else 0.0


class RigDescription(Frozen):
    """A rig, as it is logged at each attach.

    Attributes:
        settings: `rig.toml` with all defaults written out, plug-ins' options included.
        display: Its screen; None if it has none that it knows of (another rig shows the images).
        tick_hz: Ticks in a second of the recorder's spike times; 0: it only counts.
        simulated: Parts that are not real, such as `acquisition: simulated`; empty: all are real.
    """

    settings: dict[str, Any] = Field(default_factory=dict)
    display: DisplayDescription | None = None
    tick_hz: float = Field(default=0, ge=0, le=1e9)
    simulated: tuple[str, ...] = ()


def _close(one_hz: float, other_hz: float) -> bool:
    return abs(one_hz - other_hz) <= REFRESH_TOLERANCE * max(one_hz, other_hz)
