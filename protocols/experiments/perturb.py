"""Perturb: how small a change of an image moves a neuron (after Guo et al. 2022, ICML).

Each natural image is the centre of a ball; in it the encoder climbs to the image that drives a site most,
and to the one that suppresses it most. All of a ball's images look alike to people. Controls: the image
itself, a random direction of equal length, and the perturbations made for other sites. All are shown in
one pass before any is shown again, so that slow changes of the recording meet a pair alike.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, field_validator

from protocols.experiments.comparison import distinct
from protocols.experiments.experiment import experiment
from protocols.experiments.mapped_encoder import (
    VariantSettings,
    chosen_bases,
    encoder_for,
    targets_of,
)
from protocols.experiments.passes import passes
from protocols.experiments.variants import Variant, VariantStimuli
from protocols.interfaces import Apparatus, Plan

RADII = (0.66, 1.65, 3.3, 6.6)


class PerturbSettings(VariantSettings):
    """Settings of a perturbation experiment."""

    radii: tuple[float, ...] = Field(
        default=RADII,
        min_length=1,
        max_length=20,
        description="RMS difference from the base as shown, in gray levels of 255; below 1 most "
        "displays' own noise is larger",
    )
    n_steps: int = Field(default=20, ge=1, le=10_000, description="of each climb")

    @field_validator("radii")
    @classmethod
    def _radii_are_positive_and_different(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        if min(radii) <= 0 or max(radii) > 127 or len(set(radii)) < len(radii):
            raise ValueError("radii must be above 0, at most 127 gray levels, and all different")
        return radii


@experiment(PerturbSettings, steers=("finish", "place"))
def perturb(settings: PerturbSettings, apparatus: Apparatus) -> Plan:
    """Map and fit, or take the given encoder; perturb; show pairs pass after pass."""
    natural = distinct(
        apparatus.photographs(settings.images, settings.n_images, settings.image_size_px)
    )
    perturbation = apparatus.perturbation(settings.n_steps)
    rows = chosen_bases(
        len(natural.images), settings.n_bases, apparatus.random_stream("base images")
    )
    encoder = yield from encoder_for(settings, apparatus, natural)
    sites = targets_of(settings, encoder)
    columns = [encoder.site_ids.index(site) for site in sites]
    sd = np.maximum(encoder.predict(natural.images).std(axis=0), 1e-6)[columns]
    bases = natural.images[rows]
    before = encoder.predict(bases)[:, columns]
    stimuli = VariantStimuli()
    for number, row in enumerate(rows):
        stimuli.add_base(number, bases[number], natural.names[row])
    for radius in settings.radii:
        made = perturbation(encoder, bases, sites, radius)
        for change in made:
            column = sites.index(change.site) if change.site else None
            variant = Variant(change.kind, radius, change.base)
            if column is not None and change.predicted is not None:
                variant = variant._replace(
                    predicted=change.predicted,
                    before=float(before[change.base, column]),
                    sd=float(sd[column]),
                )
            stimuli.add(variant, change.image, (change.site,) if change.site else sites)
    yield from passes(
        stimuli.all(),
        settings.repetitions,
        settings.images_per_block,
        apparatus.random_stream("presentation order"),
        settings.timing,
        label="perturbations, repetition",
    )
