"""A rig without a rig: responses to a block from counts that a benchmark has at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from protocols.vocabulary import Block, BlockResponses, Outcome


def answered(
    block: Block, site_ids: Sequence[str], counts_of: Callable[[int], Iterable[float]]
) -> BlockResponses:
    """Every showing of `block` completed; `counts_of(image)` is asked anew for each, in order."""
    presentations = tuple(
        cue.presentation(
            onset_s=0,
            outcome=Outcome.COMPLETED,
            spike_counts=tuple(float(count) for count in counts_of(cue.stimulus_index)),
        )
        for cue in block.cues()
    )
    return BlockResponses(
        block_index=block.index, site_ids=tuple(site_ids), presentations=presentations
    )
