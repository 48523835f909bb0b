"""Logs of eventful sessions, made through the session itself, for what reads logs."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from protocols.digests import array_digest
from protocols.documents import SessionSettings
from protocols.rig_description import RigDescription
from protocols.spike_times import counts_in, packed
from protocols.vocabulary import (
    Block,
    BlockResponses,
    Cue,
    GazeTrace,
    Outcome,
    Presentation,
    RecorderClock,
    RigEvent,
)
from synth_server.session.build import new_session
from tests.playing import RIG, SITES, attach

STARTED_NS = 1_700_000_000_000_000_000
"""When all sessions of the tests began, in Unix time."""
RIG_OFFSET_S, RECORDER_OFFSET_S = 100.0, 7.0
"""Rig's clock minus the session's; recorder's minus the rig's."""


TICK_HZ = 30_000.0
GAZE_HZ = 250.0
LONGEST_S = 400.0


class Player:
    """Answers blocks as a rig might: every fifth showing fails at first, times on two clocks.

    Its neurons fire on, whatever is shown: `train` holds each site's spikes in samples of the
    recorder's clock, and every presentation has those around its onset, so that neighbours share some.
    It is the server's clock as well (`time_ns`), which stands still but for the showings.

    Args:
        seed: Of counts and times.
        with_times: Whether the recorder gives spike times, and the tracker gaze.
    """

    def __init__(self, seed: int = 0, *, with_times: bool = True) -> None:
        self._random = np.random.default_rng(seed)
        self._now_s = 0.0
        self._words = itertools.count(1)
        self._with_times = with_times
        start = RIG_OFFSET_S + RECORDER_OFFSET_S
        train_s = [start + LONGEST_S * self._random.random(int(30 * LONGEST_S)) for _ in SITES]
        self.train = [np.unique(np.round(each * TICK_HZ).astype(np.int64)) for each in train_s]

    def responses(self, block: Block) -> BlockResponses:
        """Completed showings have the recorder's times, the others the rig's."""
        shown: list[Presentation] = []
        arrays: dict[str, NDArray[Any]] = {}
        began_s = self._now_s
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
            shown.append(self._counted(cue, block, arrays))
        clock = RecorderClock(
            offset_s=RECORDER_OFFSET_S, drift_ppm=0.0, residual_s=1e-4, n_words=len(shown)
        )
        return BlockResponses(
            block_index=block.index,
            site_ids=SITES,
            presentations=tuple(shown),
            clock=clock,
            tick_hz=TICK_HZ if self._with_times else 0,
            gaze=self._gaze(began_s, arrays) if self._with_times else None,
            events=self._events(block),
            arrays=arrays,
        )

    def _counted(self, cue: Cue, block: Block, arrays: dict[str, NDArray[Any]]) -> Presentation:
        tick = round((self._next_s() + RECORDER_OFFSET_S) * TICK_HZ)
        ticks = [each - tick for each in self.train]
        what: dict[str, Any] = {"word": next(self._words), "shown_ms": 100.0}
        if self._with_times:
            times = packed(ticks, block.timing.kept_span_s, TICK_HZ)
            what["times"] = array_digest(times)
            arrays[what["times"]] = times
        return cue.presentation(
            onset_s=tick / TICK_HZ,
            onset_clock="recorder",
            outcome=Outcome.COMPLETED,
            spike_counts=tuple(counts_in(ticks, block.timing.count_window_s, TICK_HZ)),
            **what,
        )

    def _gaze(self, began_s: float, arrays: dict[str, NDArray[Any]]) -> GazeTrace:
        """A circle of 1 degree around the fixation point; every tenth sample is not valid."""
        times_s = np.arange(0, self._now_s - began_s, 1 / GAZE_HZ)
        valid = np.arange(len(times_s)) % 10 != 9
        x, y = np.cos(times_s), np.where(valid, np.sin(times_s), -32768)
        samples = np.stack([times_s, x, y, valid], axis=1).astype(np.float32)
        digest = array_digest(samples)
        arrays[digest] = samples
        return GazeTrace(digest=digest, start_s=began_s + RIG_OFFSET_S, rate_hz=GAZE_HZ)

    def _events(self, block: Block) -> tuple[RigEvent, ...]:
        """A rest, juice, free juice, a note of the recorder; running ml."""
        at_s, n = self._now_s + RIG_OFFSET_S, block.index
        return (
            RigEvent(kind="miss", at_s=at_s - 0.2, trial=0, ml=0.3 * n),
            RigEvent(kind="rest", at_s=at_s - 0.2, text="10 misses in a row", ml=0.3 * n),
            RigEvent(kind="rest_over", at_s=at_s - 0.1, ml=0.3 * n),
            RigEvent(kind="reward", at_s=at_s, trial=0, ms=40.0, ml=0.3 * n + 0.2),
            RigEvent(kind="free_reward", at_s=at_s, ms=20.0, ml=0.3 * n + 0.3),
            RigEvent(kind="calibration", at_s=at_s, text="9 points, mean error 0.4°"),
            RigEvent(kind="recorder_warning", at_s=at_s, text="site-01 is silent"),
        )

    def _next_s(self) -> float:
        self._now_s += 0.3 + 0.01 * self._random.random()
        return self._now_s + RIG_OFFSET_S

    def time_ns(self) -> int:
        """The server's clock: a count window later."""
        return STARTED_NS + int(1e9 * (self._now_s + 0.17))

    monotonic_ns = time_ns


def logged(
    settings: SessionSettings,
    path: Path,
    *,
    n_blocks: int | None = None,
    end: str = "",
    rig: RigDescription = RIG,
    player: Player | None = None,
) -> list[BlockResponses]:
    """Log a session, or its first `n_blocks` blocks and then the command `end`; its responses."""
    player = player or Player()
    with mock.patch("synth_server.session.log.time", player):
        return _played(settings, path, player, n_blocks, end, rig)


def _played(
    settings: SessionSettings,
    path: Path,
    player: Player,
    n_blocks: int | None,
    end: str,
    rig: RigDescription,
) -> list[BlockResponses]:
    session = new_session(settings, path)
    attach(session, rig=rig)
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
