"""Reduction: what is left of a response when only a part of the image is left (after Tanaka 2003).

The encoder names the part of a photograph that drives a site. It is shown alone, and taken away, beside a
disc of equal area at the site's field and a random patch: what an overlay claims is measured on the neuron.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, field_validator

from protocols.experiments.comparison import distinct
from protocols.experiments.experiment import experiment
from protocols.experiments.mapped_encoder import VariantSettings, encoder_for, targets_of
from protocols.experiments.passes import passes
from protocols.experiments.variants import Variant, VariantStimuli
from protocols.interfaces import Apparatus, Plan


class ReductionSettings(VariantSettings):
    """Settings of a reduction experiment; the bases are each site's best photographs, as predicted."""

    n_bases: int = Field(default=3, ge=1, le=100, description="natural images for each target")
    shares: tuple[float, ...] = Field(
        default=(0.1, 0.25), min_length=1, max_length=10, description="of the area, kept or removed"
    )

    @field_validator("shares")
    @classmethod
    def _shares_are_parts(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < share < 1 for share in shares) or len(set(shares)) < len(shares):
            raise ValueError("shares must be above 0, below 1, and all different")
        return shares


@experiment(ReductionSettings, steers=("finish", "place"))
def reduction(settings: ReductionSettings, apparatus: Apparatus) -> Plan:
    """Map and fit, or take the given encoder; reduce; show all parts pass after pass."""
    natural = distinct(
        apparatus.photographs(settings.images, settings.n_images, settings.image_size_px)
    )
    parts_of = apparatus.image_parts()
    encoder = yield from encoder_for(settings, apparatus, natural)
    sites = targets_of(settings, encoder)
    rates = encoder.predict(natural.images)
    stimuli, numbers = VariantStimuli(), dict[int, int]()
    for site in sites:
        column = encoder.site_ids.index(site)
        sd = max(float(rates[:, column].std()), 1e-6)
        best = np.argsort(-rates[:, column], kind="stable")[: settings.n_bases].tolist()
        for row in best:
            number = numbers.setdefault(row, len(numbers))
            stimuli.add_base(number, natural.images[row], natural.names[row])
        for share in settings.shares:
            for change in parts_of(encoder, natural.images[best], site, share):
                row = best[change.base]
                variant = Variant(
                    change.kind,
                    share,
                    numbers[row],
                    change.predicted,
                    float(rates[row, column]),
                    sd,
                )
                stimuli.add(variant, change.image, (site,))
    yield from passes(
        stimuli.all(),
        settings.repetitions,
        settings.images_per_block,
        apparatus.random_stream("presentation order"),
        settings.timing,
        label="reduction, repetition",
    )
