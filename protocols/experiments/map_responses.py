"""Map responses: natural images in random order, so that an encoder can be fitted to the counts."""

from __future__ import annotations

from pydantic import Field

from protocols.experiments.experiment import experiment
from protocols.experiments.passes import StimulusSet, passes
from protocols.interfaces import Apparatus, Plan
from protocols.settings import Frozen
from protocols.vocabulary import Role, Timing


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


@experiment(MapResponsesSettings, steers=("finish", "place"))
def map_responses(settings: MapResponsesSettings, apparatus: Apparatus) -> Plan:
    """Pass after pass over the whole set, cut into blocks; told to finish, no further block."""
    natural = apparatus.photographs(settings.images, settings.n_images, settings.image_size_px)
    yield from passes(
        StimulusSet.of(natural.images, Role.NATURAL, natural.names),
        settings.repetitions,
        settings.images_per_block,
        apparatus.random_stream("presentation order"),
        settings.timing,
        enough=lambda _: apparatus.steering.finishing,
    )
