"""Map responses: natural images × repetitions in random order; what an encoder is fitted to."""

from __future__ import annotations

from pydantic import Field

from protocols.experiments.experiment import experiment
from protocols.interfaces import Apparatus, Plan
from protocols.settings import Frozen
from protocols.vocabulary import Block, Role, Timing


class MapResponsesSettings(Frozen):
    """Settings of a mapping.

    Every image is shown once before any is shown again, each pass in a new random order, so that a
    session cut short has still seen all images about equally often.
    """

    images: str = Field(default="embedded", description="'embedded', a folder or a zip of images")
    n_images: int | None = Field(default=None, ge=1, description="the first n; all if not given")
    image_size_px: int = Field(default=128, ge=8, le=2048)
    repetitions: int = Field(default=10, ge=1, le=1000)
    images_per_block: int = Field(default=50, ge=1, le=1000)
    timing: Timing = Timing()


@experiment(MapResponsesSettings)
def map_responses(settings: MapResponsesSettings, apparatus: Apparatus) -> Plan:
    """Pass after pass over the whole set, cut into blocks."""
    natural = apparatus.photographs(settings.images, settings.n_images, settings.image_size_px)
    shuffle = apparatus.random_stream("presentation order")
    for repetition in range(settings.repetitions):
        order = shuffle.permutation(len(natural.images))
        for start in range(0, len(order), settings.images_per_block):
            chosen = order[start : start + settings.images_per_block]
            yield Block.of(
                natural.images[chosen],
                roles=Role.NATURAL,
                labels=[natural.names[i] for i in chosen],
                label=f"repetition {repetition}, images {start}–{start + len(chosen) - 1}",
                timing=settings.timing,
            )
