"""A rig in words, from what it said of itself: for Methods paragraphs and descriptions of devices."""

from __future__ import annotations

from typing import Any

from protocols.rig_description import DisplayDescription, RigDescription


def said_of_display(display: DisplayDescription) -> str:
    """One sentence a fact; what the rig does not know is not said."""
    width, height = display.size_px
    has_screen = bool(width and height)
    said = [f"Display {display.name}" + (f", {width} × {height} px" if has_screen else "")]
    if display.px_per_cm:
        said[0] += f", {display.px_per_cm:.4g} px/cm"
    if display.distance_cm:
        said[0] += f", {display.distance_cm:g} cm from the eye"
    if display.refresh_hz:
        said.append(
            f"Measured refresh rate {display.refresh_hz:.2f} Hz: a frame of {display.frame_ms:.2f} ms"
        )
    said.append(f"Images {display.place}, if they have no place of their own")
    if display.aperture:
        said.append(f"Aperture: {display.aperture}")
    said.append(f"Background at gray level {display.background:g} of 255")
    x, y = display.fixation_point_deg
    said.append(f"Fixation point at ({x:g}°, {y:g}°)")
    if display.gamma_digest:
        said.append(f"Gamma table with digest {display.gamma_digest[:12]}")
    elif has_screen:
        said.append("No gamma table was loaded")
    return ". ".join(said) + "."


def part(rig: RigDescription, name: str) -> str:
    """The plug-in behind a part of the rig, such as `acquisition`; empty if its settings name none."""
    chosen: Any = rig.settings.get(name) or {}
    return str(chosen.get("name", "")) if isinstance(chosen, dict) else ""
