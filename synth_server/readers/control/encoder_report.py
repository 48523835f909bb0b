"""What `synth-server evaluate` reports of an encoder: scores and receptive fields."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from encoders.receptive_field import ReceptiveField
from encoders.validation import Scores, SiteScore
from protocols.settings import Frozen


class FieldReport(Frozen):
    """A site's estimated receptive field; None where its mask, or the scale, does not say."""

    x_px: float | None = Field(description="centre, from the image's left")
    y_px: float | None = Field(description="centre, from the image's top")
    diameter_px: float | None = Field(description="of the mask's area above half its maximum")
    x_deg: float | None = Field(description="centre, right of the image's middle")
    y_deg: float | None = Field(description="centre, above the image's middle")
    diameter_deg: float | None


class SiteReport(SiteScore):
    """A site's scores and its receptive field."""

    receptive_field: FieldReport


class EncoderReport(Frozen):
    """How well an encoder predicts held-out images, and where its sites look."""

    n_images: int
    sites: tuple[SiteReport, ...]

    @property
    def fields_text(self) -> str:
        """One line for people: the sizes and places of all receptive fields."""
        known = [site.receptive_field for site in self.sites if site.receptive_field.diameter_px]
        if not known:
            return "receptive fields: none"
        degrees = [field.diameter_deg for field in known if field.diameter_deg is not None]
        size = _median([field.diameter_px for field in known])
        in_degrees = f" = {_median(degrees):.2g}°" if degrees else ""
        centre = f"{_median([f.x_px for f in known]):.0f}, {_median([f.y_px for f in known]):.0f}"
        return (
            f"receptive fields: median diameter {size:.0f} px{in_degrees}, "
            f"median centre ({centre}) px from the top left"
        )


def encoder_report(scores: Scores, fields: Sequence[ReceptiveField]) -> EncoderReport:
    """Scores and receptive fields of the same sites, in the same order."""
    sites = zip(scores.sites, fields, strict=True)
    return EncoderReport(
        n_images=scores.n_images,
        sites=tuple(
            SiteReport(**score.model_dump(), receptive_field=_field(field))
            for score, field in sites
        ),
    )


def _field(found: ReceptiveField) -> FieldReport:
    values = found._asdict()
    return FieldReport(**{name: _known(values[name]) for name in FieldReport.model_fields})


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _median(values: Sequence[float | None]) -> float:
    return float(np.median([value for value in values if value is not None]))
