"""From a rig's records of trials to the responses to a block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.digests import array_digest
from protocols.vocabulary import (
    BlockResponses,
    GazeTrace,
    Outcome,
    Presentation,
    RecorderClock,
)
from rig_client.trial_record import TrialRecord


def responses_of(
    records: Sequence[TrialRecord],
    *,
    block_index: int,
    site_ids: tuple[str, ...],
    tick_hz: float,
    clock: RecorderClock | None = None,
) -> BlockResponses:
    """Everything that the records of a block's trials hold, in order; withdrawn counts are gone."""
    shown = [each for record in records for each in record.presentations]
    for place in (place for record in records for place in record.late):
        shown[place] = withdrawn(shown[place])
    gaze, arrays = joined_gaze(records)
    for record in records:
        arrays |= record.arrays
    named = {each.times for each in shown} | ({gaze.digest} if gaze else set())
    return BlockResponses(
        block_index=block_index,
        site_ids=site_ids,
        presentations=tuple(shown),
        tick_hz=tick_hz,
        clock=clock,
        gaze=gaze,
        events=tuple(event for record in records for event in record.events),
        arrays={digest: array for digest, array in arrays.items() if digest in named},
    )


def withdrawn(shown: Presentation) -> Presentation:
    """The presentation without its count, which lacked a spike that came later."""
    return shown.model_copy(
        update={
            "outcome": Outcome.ABORTED,
            "spike_counts": None,
            "times": None,
            "fault": "late_spikes",
        }
    )


def joined_gaze(
    records: Sequence[TrialRecord],
) -> tuple[GazeTrace | None, dict[str, NDArray[Any]]]:
    """One trace over all trials, and its array by digest; times count from the first sample's start."""
    parts = [one.gaze for one in records if one.gaze is not None and len(one.gaze.samples)]
    if not parts:
        return None, {}
    start_s = parts[0].start_s
    moved = []
    for part in parts:
        samples = np.array(part.samples, np.float32)
        samples[:, 0] = samples[:, 0].astype(np.float64) + (part.start_s - start_s)
        moved.append(samples)
    whole = np.concatenate(moved)
    digest = array_digest(whole)
    trace = GazeTrace(digest=digest, start_s=start_s, rate_hz=parts[0].rate_hz)
    return trace, {digest: whole}
