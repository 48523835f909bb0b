"""Logs of eventful sessions, made through the session itself, for what reads logs."""

from __future__ import annotations

import itertools
from pathlib import Path
from unittest import mock

import numpy as np

from protocols.documents import SessionSettings
from protocols.vocabulary import Block, BlockResponses, Outcome, RecorderClock
from synth_server.session.build import new_session
from tests.playing import SITES, attach

STARTED_NS = 1_700_000_000_000_000_000
"""When all sessions of the tests began, in Unix time."""
RIG_OFFSET_S, RECORDER_OFFSET_S = 100.0, 7.0
"""Rig's clock minus the session's; recorder's minus the rig's."""


class Player:
    """Answers blocks as a rig might: every fifth showing fails at first, times on two clocks.

    It is the server's clock as well (`time_ns`), which stands still but for the showings.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._now_s = 0.0
        self._words = itertools.count(1)

    def responses(self, block: Block) -> BlockResponses:
        """Completed showings have the recorder's times, the others the rig's."""
        shown = []
        for place, cue in enumerate(block.cues()):
            if place % 5 == 2:
                failed = cue.presentation(
                    onset_s=self._next_s(),
                    outcome=Outcome.ABORTED,
                    word=next(self._words),
                    fault="missing_word",
                )
                shown.append(failed)
                cue = cue.model_copy(update={"attempt": 1})
            shown.append(
                cue.presentation(
                    onset_s=self._next_s() + RECORDER_OFFSET_S,
                    onset_clock="recorder",
                    outcome=Outcome.COMPLETED,
                    spike_counts=tuple(self._random.poisson(3, len(SITES)).astype(float)),
                    word=next(self._words),
                )
            )
        clock = RecorderClock(
            offset_s=RECORDER_OFFSET_S, drift_ppm=0.0, residual_s=1e-4, n_words=len(shown)
        )
        return BlockResponses(
            block_index=block.index, site_ids=SITES, presentations=tuple(shown), clock=clock
        )

    def _next_s(self) -> float:
        self._now_s += 0.3 + 0.01 * self._random.random()
        return self._now_s + RIG_OFFSET_S

    def time_ns(self) -> int:
        """The server's clock: a count window later."""
        return STARTED_NS + int(1e9 * (self._now_s + 0.17))

    monotonic_ns = time_ns


def logged(
    settings: SessionSettings, path: Path, *, n_blocks: int | None = None, end: str = ""
) -> list[BlockResponses]:
    """Log a session, or its first `n_blocks` blocks and then the command `end`; its responses."""
    player = Player()
    with mock.patch("synth_server.session.log.time", player):
        return _played(settings, path, player, n_blocks, end)


def _played(
    settings: SessionSettings, path: Path, player: Player, n_blocks: int | None, end: str
) -> list[BlockResponses]:
    session = new_session(settings, path)
    attach(session)
    session.control("annotate", "the animal is awake")
    answered: list[BlockResponses] = []
    while session.n_answered < session.n_proposed and session.n_answered != n_blocks:
        block = session.block(session.n_answered)
        assert block is not None
        answered.append(player.responses(block))
        session.record(answered[-1])
        session.learn(answered[-1])
        session.advance()
    if end:
        session.control(end)
        session.end()
    session.log.close()
    return answered
