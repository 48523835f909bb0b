"""Is the recording sound, and does the loop keep up? From the events of the log, one by one."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from protocols.documents import Event, EventKind
from protocols.vocabulary import BlockResponses, Outcome, RecorderClock, Timing
from synth_server.monitor.documents import Health
from synth_server.readers.log.tally import Tally

NS = 1e9
PATIENCE = 2.0
"""Responses are overdue after so many times the duration of the block's trials,"""
PATIENCE_S = 10.0
"""and as many seconds."""


class HealthRecord:
    """What the events so far say about the session's health.

    Durations are differences of the server's monotonic clock, within one run of the server only.
    """

    def __init__(self) -> None:
        self._generations_s: list[float] = []
        self._waits_s: list[float] = []
        self._learned_ns: dict[str, int] = {}
        self._threads: dict[int, str] = {}
        self._n_asked: dict[int, int] = {}
        self._durations_s: dict[int, float] = {}
        self._proposed_unix_s: dict[int, float] = {}
        self._started_ns: int | None = None
        self._answered_ns: int | None = None
        self._first_answer_unix_s: float | None = None
        self._last_answer_unix_s: float | None = None
        self._n_answered = 0
        self._tally = Tally()
        self._clock: RecorderClock | None = None

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        match event.kind:
            case EventKind.SESSION_STARTED:
                self._started_ns = event.t_mono_ns
            case EventKind.SERVER_RESUMED:
                self._started_ns = self._answered_ns = None
                self._learned_ns.clear()
            case EventKind.BLOCK_PROPOSED:
                self._propose(event)
            case EventKind.RESPONSES_RECEIVED:
                self._answer(event, BlockResponses.model_validate(event.document))

    def _propose(self, event: Event) -> None:
        index, thread = event.document["index"], event.document["thread"]
        began_ns = self._learned_ns.pop(thread, self._started_ns if index == 0 else None)
        if began_ns is not None:
            self._generations_s.append((event.t_mono_ns - began_ns) / NS)
        if index == self._n_answered and self._answered_ns is not None:
            self._waits_s.append((event.t_mono_ns - self._answered_ns) / NS)
        elif self._answered_ns is not None:
            self._waits_s.append(0.0)
        self._threads[index] = thread
        self._n_asked[index] = len(event.document["order"])
        self._durations_s[index] = expected_duration_s(event.document)
        self._proposed_unix_s[index] = event.t_wall_ns / NS

    def _answer(self, event: Event, responses: BlockResponses) -> None:
        index = responses.block_index
        self._answered_ns = self._learned_ns[self._threads.pop(index)] = event.t_mono_ns
        self._last_answer_unix_s = event.t_wall_ns / NS
        self._first_answer_unix_s = self._first_answer_unix_s or self._last_answer_unix_s
        self._n_answered += 1
        self._durations_s.pop(index)
        self._proposed_unix_s.pop(index)
        self._tally.add(responses, self._n_asked.pop(index))
        self._clock = responses.clock

    @property
    def health(self) -> Health:
        """As of the last event."""
        total_s, since_s = sum(self._waits_s), self._since_first_answer_s
        outcomes = self._tally.outcomes
        return Health(
            generation_s=self._generations_s[-1] if self._generations_s else None,
            median_generation_s=median(self._generations_s) if self._generations_s else None,
            rig_wait_s=self._waits_s[-1] if self._waits_s else None,
            total_rig_wait_s=total_s,
            rig_wait_share=total_s / since_s if since_s else None,
            presentations=self._tally.n_presentations,
            completed=outcomes[Outcome.COMPLETED],
            fixation_break=outcomes[Outcome.FIXATION_BREAK],
            dropped_frame=outcomes[Outcome.DROPPED_FRAME],
            aborted=outcomes[Outcome.ABORTED],
            late_frames=self._tally.n_dropped_frames,
            faults=dict(sorted(self._tally.faults.items())),
            clock=self._clock,
            due_unix_s=self._due_unix_s,
        )

    @property
    def _since_first_answer_s(self) -> float:
        if self._first_answer_unix_s is None or self._last_answer_unix_s is None:
            return 0.0
        return self._last_answer_unix_s - self._first_answer_unix_s

    @property
    def _due_unix_s(self) -> float | None:
        """When responses to the first unanswered block are overdue, had the rig begun at once."""
        index = self._n_answered
        if index not in self._proposed_unix_s:
            return None
        began_s = max(self._proposed_unix_s[index], self._last_answer_unix_s or 0.0)
        return began_s + PATIENCE * self._durations_s[index] + PATIENCE_S


def expected_duration_s(block: Mapping[str, Any]) -> float:
    """How long a block takes if every showing succeeds and fixation is there at once."""
    timing = Timing.model_validate(block["timing"])
    n_showings = len(block["order"])
    n_trials = -(-n_showings // timing.presentations_per_trial)
    apart_ms = timing.on_ms + timing.off_ms
    pause_ms = float(np.mean(timing.inter_trial_ms))
    last_ms = max(1000 * timing.kept_span_s[1], max(apart_ms, timing.count_stop_ms) + pause_ms)
    return ((n_showings - n_trials) * apart_ms + n_trials * last_ms) / 1000
