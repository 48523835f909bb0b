"""Responses are checked against the block that they answer, before they enter the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from protocols.errors import ResponsesRefused
from protocols.vocabulary import Block, BlockResponses, Outcome


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
        if shown.outcome is Outcome.COMPLETED:
            completed.add(counted)
