"""A display's description for people: what to compare with a ruler before a session."""

from __future__ import annotations

from protocols.rig_description import DisplayDescription


def in_words(described: DisplayDescription) -> str:
    """One line: window, distance, place, aperture, background, point, rate, gamma."""
    width, height = described.size_px
    parts = [f"{width} × {height} px" if width else "no screen"]
    if described.bounds_deg is not None:
        left, bottom, right, top = described.bounds_deg
        parts[0] += f" = {right - left:.1f}° × {top - bottom:.1f}°"
    if described.px_per_cm:
        parts.append(f"{described.px_per_cm:.2f} px/cm, {described.distance_cm:g} cm away")
    parts.append(f"images {described.place}")
    if described.aperture:
        parts.append(f"aperture {described.aperture}")
    x, y = described.fixation_point_deg
    parts.append(f"fixation point ({x:g}°, {y:g}°)")
    parts.append(f"background {described.background:g}")
    parts.append(f"{described.refresh_hz:.2f} Hz")
    gamma = described.gamma_digest
    parts.append(f"gamma {gamma[:12]}…" if gamma else "no gamma of its own")
    if described.patch_deg is not None:
        left, bottom, right, top = described.patch_deg
        parts.append(
            f"patch {right - left:.1f}° × {top - bottom:.1f}° from ({left:.1f}°, {bottom:.1f}°)"
        )
    return "; ".join(parts)
