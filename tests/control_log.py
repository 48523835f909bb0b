"""A session log of a stretch experiment, written by hand: no plan, no encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from protocols.documents import EventKind, SessionSettings, SessionStarted, ThreadSettings
from protocols.vocabulary import Block, BlockResponses, Images, Outcome, Role
from synth_server.session.log import SessionLog

SITES = ("a", "b")
THREAD = "stretch"
NATURAL, BEST, MADE = 6, 1, 2
"""Natural images; of each site the best ones, and those made for it."""


def write_control_log(path: Path) -> None:
    """Two blocks of natural images, two of a test; site `a` counts 1 to an image of `b`'s, and so on.

    Every image's count is the same at each showing: natural image i draws i spikes at both sites, an
    image made for a site 9 there and 1 elsewhere, a best natural one 5 and 2.
    """
    thread = ThreadSettings(name=THREAD, protocol="stretch", settings={"temperature": 1.0})
    settings = SessionSettings(session_id="by-hand", seed=3, threads=(thread,))
    start = SessionStarted(
        log_version=2, wire_version=4, settings=settings, equipment={}, versions={}, device="cpu"
    )
    log = SessionLog.create(path, start)
    log.append(
        EventKind.RIG_ATTACHED,
        {"rig_id": "rig", "site_ids": list(SITES), "software": "none", "rig": {}},
    )
    blocks = [(_mapping(n), _mapping_counts()) for n in range(2)]
    blocks += [(_test(n), _test_counts()) for n in range(2)]
    for index, (block, counts) in enumerate(blocks):
        _write(log, block.at(index, THREAD), counts)
    log.close()


def _pictures(n: int, brightness: int) -> Images:
    images = np.full((n, 8, 8, 3), brightness, np.uint8)
    images[..., 0] = np.arange(n, dtype=np.uint8)[:, None, None]
    return images


def _mapping(repetition: int) -> Block:
    images = _pictures(NATURAL, 10)
    return Block.of(images, roles=Role.NATURAL, label=f"mapping, repetition {repetition}")


def _mapping_counts() -> list[tuple[float, float]]:
    return [(float(i), float(i)) for i in range(NATURAL)]


def _test(repetition: int) -> Block:
    images = np.concatenate([_pictures(BEST * 2, 60), _pictures(MADE * 2, 200)])
    targets = [(site,) for site in SITES for _ in range(BEST)]
    targets += [(site,) for site in SITES for _ in range(MADE)]
    roles = [Role.BEST_NATURAL] * (BEST * 2) + [Role.STRETCH] * (MADE * 2)
    return Block.of(images, roles=roles, targets=targets, label=f"test, repetition {repetition}")


def _test_counts() -> list[tuple[float, float]]:
    return [(5.0, 2.0), (2.0, 5.0), (9.0, 1.0), (9.0, 1.0), (1.0, 9.0), (1.0, 9.0)]


def _write(log: SessionLog, block: Block, counts: list[tuple[float, float]]) -> None:
    arrays = dict(zip(block.stimulus_ids, block.images, strict=True))
    log.append(EventKind.BLOCK_PROPOSED, block.document(), arrays)
    shown = tuple(
        cue.presentation(
            onset_s=0.2 * cue.trial,
            outcome=Outcome.COMPLETED,
            spike_counts=counts[cue.stimulus_index],
        )
        for cue in block.cues()
    )
    responses = BlockResponses(block_index=block.index, site_ids=SITES, presentations=shown)
    log.append(EventKind.RESPONSES_RECEIVED, responses)
