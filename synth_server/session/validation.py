"""Responses are checked against the block that they answer, before they enter the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from protocols.errors import DataError, ResponsesRefused
from protocols.vocabulary import Block, BlockResponses, Outcome, Presentation


def check_responses(block: Block, responses: BlockResponses, site_ids: Sequence[str]) -> None:
    """Raise `ResponsesRefused` unless `responses` can be what happened while `block` was shown.

    Checked: the recorded sites; that every image is one of the block's, by hash; that no
    repetition is counted twice, exceeds those asked for, or was tried more often than allowed.
    """
    where = f"responses to block {block.index} ({block.label}, thread {block.thread})"
    if tuple(responses.site_ids) != tuple(site_ids):
        raise ResponsesRefused(
            "the recorded sites are not those that the rig announced",
            where=where,
            expected=", ".join(site_ids),
            got=", ".join(responses.site_ids),
            remedy="restart the rig client after changing the recorded sites, in a new session",
        )
    asked = Counter(block.stimuli[index].id for index in block.order)
    attempts: set[tuple[str, int, int]] = set()
    completed: set[tuple[str, int]] = set()
    for place, shown in enumerate(responses.presentations):
        here = f"{where}, presentation {place}"
        if shown.stimulus_id not in asked:
            raise ResponsesRefused(
                "an image was shown that is not in the block", where=here, got=shown.stimulus_id
            )
        if shown.repetition >= asked[shown.stimulus_id]:
            raise ResponsesRefused(
                "a repetition was shown that was not asked for",
                where=here,
                expected=f"below {asked[shown.stimulus_id]}",
                got=shown.repetition,
            )
        if shown.attempt >= block.timing.max_attempts:
            raise ResponsesRefused(
                "a repetition was tried more often than allowed",
                where=here,
                expected=f"attempts below {block.timing.max_attempts}",
                got=shown.attempt,
            )
        attempt = (shown.stimulus_id, shown.repetition, shown.attempt)
        counted = (shown.stimulus_id, shown.repetition)
        if attempt in attempts or (shown.outcome is Outcome.COMPLETED and counted in completed):
            raise ResponsesRefused(
                "a presentation is reported twice", where=here, got=f"{counted}, {shown.attempt}"
            )
        attempts.add(attempt)
        _check_times(block, responses, shown, here)
        if shown.outcome is Outcome.COMPLETED:
            completed.add(counted)


def _check_times(block: Block, responses: BlockResponses, shown: Presentation, where: str) -> None:
    """The counts must be those that the spike times give in the count window."""
    if shown.spike_counts is None:
        return
    if shown.times is None:
        if block.timing.require_times:
            raise ResponsesRefused("spike times are required, and none were sent", where=where)
        return
    try:
        given = responses.counts_by_times(shown, block.timing.count_window_s)
    except DataError as error:
        raise ResponsesRefused(error.what, where=where, got=error.got) from None
    if given is not None and given.tolist() != list(shown.spike_counts):
        site = int(np.flatnonzero(given != np.array(shown.spike_counts))[0])
        raise ResponsesRefused(
            "the spike counts are not those that the spike times give in the count window",
            where=f"{where}, site {responses.site_ids[site]}",
            expected=f"{given[site]:g} spikes, from the times",
            got=f"{shown.spike_counts[site]:g}",
        )
