"""Where the images of a block go, and which place is refused."""

from __future__ import annotations

from collections.abc import Sequence

from protocols.errors import DataError, SettingsError
from protocols.rig_description import DisplayDescription
from protocols.vocabulary import Images, Placement, placed_id


def places_of(images: Images, places: Sequence[Placement | None]) -> Sequence[Placement | None]:
    """One place for each of `images` `(n, h, w, 3)`; none at all are n times the display's own.

    Raises:
        DataError: If there are some, but not n.
    """
    if not places:
        return (None,) * len(images)
    if len(places) != len(images):
        raise DataError(
            "images and places do not fit together",
            where="images to stage",
            expected=f"{len(images)} places, or none",
            got=len(places),
        )
    return places


def stimulus_id(pixels: str, place: Placement | None) -> str:
    """What a block calls an image, by the hash of its pixels, at a place."""
    return pixels if place is None else placed_id(pixels, place)


def check_place(
    described: DisplayDescription, place: Placement, index: int, stimulus_id: str
) -> None:
    """Refuse a place that the screen does not have.

    Raises:
        SettingsError: Names the stimulus.
    """
    reason = described.why_not(place)
    if reason:
        raise not_there(index, stimulus_id, place, reason, described)


def not_there(
    index: int, stimulus_id: str, place: Placement, reason: str, described: DisplayDescription
) -> SettingsError:
    """A stimulus cannot be shown at its place."""
    return SettingsError(
        f"a stimulus cannot be shown where it should be: it would lie {reason}",
        where=f"stimulus {index} ({stimulus_id[:12]}…)",
        expected=_room(described),
        got=f"an image {place}",
        remedy="move it or make it smaller: place in session.toml; position_deg, size_deg, photodiode "
        "in rig.toml; see docs/how-to/calibrate-the-display.md",
    )


def _room(described: DisplayDescription) -> str:
    text = "within the screen"
    if described.bounds_deg is not None:
        left, bottom, right, top = described.bounds_deg
        text += f", {left:.1f}° to {right:.1f}° across and {bottom:.1f}° to {top:.1f}° up"
    if described.patch_deg is not None:
        left, bottom, right, top = described.patch_deg
        text += f"; not on the patch at {left:.1f}° to {right:.1f}°, {bottom:.1f}° to {top:.1f}°"
    return text
