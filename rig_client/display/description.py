"""What a PsychoPy window says about itself: its geometry, its gamma, where images go."""

from __future__ import annotations

from protocols.digests import array_digest, document_digest
from protocols.rig_description import DisplayDescription
from protocols.vocabulary import Placement
from rig_client.display.geometry import Box, Geometry
from rig_client.display.psychopy_settings import PsychoPySettings
from rig_client.display.window import read_gamma_table

DEFAULT_SIZE_DEG = 4.0
"""Of an image, where rig.toml says neither size_deg nor size_px."""


def described(
    settings: PsychoPySettings, geometry: Geometry, patch: Box | None, measured_hz: float | None
) -> DisplayDescription:
    """A window of that geometry.

    `measured_hz` None: its frames are made up, at the configured rate.
    """
    size_deg = settings.size_deg or DEFAULT_SIZE_DEG
    if settings.size_px is not None:
        size_deg = geometry.angle_deg(settings.size_px)
    x_deg, y_deg = settings.position_deg
    return DisplayDescription(
        name="psychopy",
        size_px=geometry.window_px,
        px_per_cm=geometry.px_per_cm,
        distance_cm=geometry.distance_cm,
        place=Placement(x_deg=x_deg, y_deg=y_deg, size_deg=size_deg),
        aperture=_aperture(settings),
        background=settings.background,
        fixation_point_deg=settings.fixation_point_deg,
        refresh_hz=measured_hz or settings.refresh_hz,
        gamma_digest=gamma_digest(settings),
        bounds_deg=geometry.edges_deg(Box(0, 0, *geometry.window_px)),
        patch_deg=None if patch is None else geometry.edges_deg(patch),
    )


def gamma_digest(settings: PsychoPySettings) -> str:
    """Sha256 of the look-up table, or of the exponent; empty if the card is left alone."""
    if settings.gamma_table is not None:
        return array_digest(read_gamma_table(settings.gamma_table))
    return "" if settings.gamma is None else document_digest({"gamma": settings.gamma})


def _aperture(settings: PsychoPySettings) -> str:
    if settings.aperture_deg is None:
        return ""
    edge = settings.aperture_edge_deg
    return f"round, {settings.aperture_deg:g}° across, " + (
        f"its edge fades over {edge:g}° by half a cosine" if edge else "with a hard edge"
    )
