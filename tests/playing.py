"""Play a session without sockets: blocks out of it, made-up responses into it."""

from __future__ import annotations

import numpy as np

from protocols.rig_description import RigDescription
from protocols.vocabulary import Block, BlockResponses, Outcome
from protocols.wire.messages import Attach
from synth_server.session.session import Session

SITES = ("site-00", "site-01")


def made_up_responses(block: Block, sites: tuple[str, ...] = SITES) -> BlockResponses:
    """Counts that depend on the pixels alone: brighter and redder is better."""
    presentations = []
    for cue in block.cues():
        image = block.images[cue.stimulus_index].astype(np.float64)
        counts = (image.mean() / 10, image[..., 0].mean() / 10)
        presentations.append(
            cue.presentation(
                onset_s=0.2 * len(presentations),
                outcome=Outcome.COMPLETED,
                spike_counts=counts[: len(sites)],
            )
        )
    return BlockResponses(
        block_index=block.index, site_ids=sites, presentations=tuple(presentations)
    )


def attach(session: Session, sites: tuple[str, ...] = SITES, rig_id: str = "rig") -> None:
    session.attach(Attach(rig_id=rig_id, site_ids=sites, rig=RigDescription()))


def play(session: Session, n_blocks: int | None = None) -> None:
    """Answer the next `n_blocks` blocks, or all."""
    end = None if n_blocks is None else session.n_answered + n_blocks
    while session.n_answered != end and session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        assert block is not None
        responses = made_up_responses(block)
        session.record(responses)
        session.learn(responses)
        session.advance()
