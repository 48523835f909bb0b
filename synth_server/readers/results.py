"""`results.json`: what a laboratory publishes of an evolution; schema in `docs/reference/results.md`."""

from __future__ import annotations

from protocols.errors import DataError
from protocols.settings import Frozen
from synth_server.readers.evolution import EvolutionRecord
from synth_server.readers.network_features import FeatureSettings
from synth_server.readers.similarity import FeaturesOf, ImageOf
from synth_server.readers.thread_result import ThreadResult, thread_result

RESULTS_VERSION = 1


class Results(Frozen):
    """All evolutions of a session.

    Attributes:
        features: Where images were compared; None: pixels only.
    """

    results_version: int = RESULTS_VERSION
    session_id: str
    seed: int
    state: str
    stimloop: str
    features: FeatureSettings | None
    threads: tuple[ThreadResult, ...]


def results_of(
    record: EvolutionRecord,
    image_of: ImageOf,
    features: FeatureSettings | None,
    features_of: FeaturesOf | None,
) -> Results:
    """The results of a session, finished or not.

    Args:
        record: Its events.
        image_of: Finds images.
        features: What `features_of` computes; None compares pixels only.
        features_of: Computes features.

    Raises:
        DataError: If no evolution of the session has been measured.
    """
    if record.start is None:
        raise DataError("the log does not begin with a session's start")
    settings = record.start.settings
    evolved = [
        (thread, record.threads[thread.name])
        for thread in settings.threads
        if record.threads[thread.name].measured
    ]
    if not evolved:
        raise DataError(
            "no evolution has been measured in this session",
            where=settings.session_id,
            expected="a thread with generations and counts",
            got=", ".join(f"{thread.name} ({thread.protocol})" for thread in settings.threads),
            remedy="of other protocols, summary.json and the figures of a dry run tell",
        )
    return Results(
        session_id=settings.session_id,
        seed=settings.seed,
        state=record.end.state if record.end else "running",
        stimloop=record.start.versions.get("stimloop", ""),
        features=features,
        threads=tuple(
            thread_result(settings.seed, about, thread, image_of, features_of)
            for about, thread in evolved
        ),
    )
