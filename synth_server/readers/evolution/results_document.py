"""`results.json`: what a laboratory publishes of an evolution; schema in `docs/reference/results.md`."""

from __future__ import annotations

import numpy as np

from protocols.errors import DataError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from synth_server.readers.evolution.network_features import FeatureSettings
from synth_server.readers.evolution.similarity import FeaturesOf, ImageOf
from synth_server.readers.evolution.thread_result import ThreadResult, thread_result
from synth_server.readers.log.session_record import EvolutionRecord
from synth_server.readers.statistics.bootstrap import (
    N_RESAMPLES,
    UNKNOWN,
    Estimate,
    Floats,
    Sampled,
)

RESULTS_VERSION = 1
LEAST_RESAMPLED = 5
"""Threads that a median's confidence interval needs."""


class Results(Frozen):
    """All evolutions of a session.

    Attributes:
        simulated: Parts of the rig that were not real; empty: all were.
        features: Where images were compared; None: pixels only.
        median_gain: Over threads, which are resampled; each thread's from the test if it had one.
        n_gains: Threads with a gain.
        n_above_1: Of these, those whose gain is above 1.
        n_surely_above_1: Those whose confidence interval is above 1 as well.
    """

    results_version: int = RESULTS_VERSION
    session_id: str
    seed: int
    state: str
    stimloop: str
    simulated: tuple[str, ...] = ()
    features: FeatureSettings | None
    median_gain: Estimate
    n_gains: int
    n_above_1: int
    n_surely_above_1: int
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
    settings = record.started.settings
    evolved = [
        (record.course.threads[thread.name], record.threads[thread.name])
        for thread in settings.threads
        if thread.name in record.threads and record.threads[thread.name].measured
    ]
    if not evolved:
        raise DataError(
            "no evolution has been measured in this session",
            where=settings.session_id,
            expected="a thread with generations and counts",
            got=", ".join(f"{thread.name} ({thread.protocol})" for thread in settings.threads),
            remedy="of other protocols, summary.json and the figures of a dry run tell",
        )
    threads = tuple(
        thread_result(settings.seed, about, thread, image_of, features_of)
        for about, thread in evolved
    )
    gains = [each.comparison.gain for each in threads if each.comparison]
    known = np.array([gain.value for gain in gains if gain.value is not None])
    return Results(
        session_id=settings.session_id,
        seed=settings.seed,
        state=record.end.state if record.end else "running",
        stimloop=record.started.versions.get("stimloop", ""),
        simulated=record.at_rig.simulated,
        features=features,
        median_gain=_median(known, random_stream(settings.seed, "report", "threads")),
        n_gains=len(known),
        n_above_1=int((known > 1).sum()),
        n_surely_above_1=sum(gain.low is not None and gain.low > 1 for gain in gains),
        threads=threads,
    )


def _median(values: Floats, random: np.random.Generator) -> Estimate:
    """With an interval if there are enough values to resample."""
    if not len(values):
        return UNKNOWN
    median = float(np.median(values))
    if len(values) < LEAST_RESAMPLED:
        return Estimate(value=median, low=None, high=None)
    drawn = random.integers(len(values), size=(N_RESAMPLES, len(values)))
    return Sampled(median, np.median(values[drawn], axis=1)).estimate()
