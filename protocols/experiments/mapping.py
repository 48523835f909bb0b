"""Natural images are shown, and an encoder is fitted to the answers: how control and variants begin."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pydantic import Field

from protocols.experiments.passes import Measured, StimulusSet, passes
from protocols.interfaces import Apparatus, PhotographSet
from protocols.settings import Frozen, ObjectiveChoice
from protocols.vocabulary import Block, BlockResponses, Role, Timing


class MappingSettings(Frozen):
    """How natural images are shown for the fit."""

    repetitions: int = Field(default=10, ge=1, le=1000, description="passes")
    images_per_block: int = Field(default=50, ge=1, le=1000)


def mapped(
    photographs: PhotographSet,
    settings: MappingSettings,
    timing: Timing,
    apparatus: Apparatus,
    least_passes: int = 1,
) -> Generator[Block, BlockResponses, Measured]:
    """Counts of all photographs, shown pass after pass.

    A thread that is to finish maps no more once `least_passes` are whole: a fit needs all images, a
    reliability two passes.
    """
    steering = apparatus.steering
    return (
        yield from passes(
            StimulusSet.of(photographs.images, Role.NATURAL, photographs.names),
            settings.repetitions,
            settings.images_per_block,
            apparatus.random_stream("mapping order"),
            timing,
            label="mapping, repetition",
            enough=lambda n_passes: steering.finishing and n_passes >= least_passes,
        )
    )


def require_sites(site_ids: Sequence[str], apparatus: Apparatus) -> None:
    """A rig that does not record these sites is refused before anything is shown."""
    for site in dict.fromkeys(site_ids):
        apparatus.objective(ObjectiveChoice(name="site", options={"site": site}))
