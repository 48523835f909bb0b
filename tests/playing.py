"""Play a session without sockets: blocks out of it, made-up responses into it."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.rig_description import DisplayDescription, RigDescription
from protocols.vocabulary import Block, BlockResponses, Outcome, Placement, Presentation
from protocols.wire.messages import Attach
from synth_server.session.session import Session

SITES = ("site-00", "site-01")
RIG = RigDescription(
    settings={"acquisition": {"name": "open_ephys_events"}, "fixation": {"name": "eyelink"}},
    display=DisplayDescription(
        name="psychopy",
        size_px=(1920, 1080),
        px_per_cm=37.5,
        distance_cm=57.0,
        place=Placement(x_deg=2.0, y_deg=-1.0, size_deg=4.0),
        refresh_hz=60.0,
        gamma_digest="9" * 64,
        bounds_deg=(-25.6, -14.4, 25.6, 14.4),
    ),
    tick_hz=30_000.0,
)
"""A rig of which nothing is simulated."""


def made_up_responses(block: Block, sites: tuple[str, ...] = SITES) -> BlockResponses:
    """Counts that depend on the pixels alone: brighter and redder is better."""
    presentations: list[Presentation] = []
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


def attach(
    session: Session,
    sites: tuple[str, ...] = SITES,
    rig_id: str = "rig",
    rig: RigDescription = RIG,
    **more: Any,
) -> None:
    session.attach(Attach(rig_id=rig_id, site_ids=sites, rig=rig, **more))


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
