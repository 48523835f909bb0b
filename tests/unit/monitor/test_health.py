"""Health from events whose times are told."""

from __future__ import annotations

from typing import Any

import pytest

from protocols.documents import Event, EventKind
from synth_server.monitor.health import HealthRecord, expected_duration_s

S = 1_000_000_000
IMAGE = "0" * 64
TIMING = {"on_ms": 100.0, "off_ms": 50.0, "presentations_per_trial": 2, "inter_trial_ms": 400.0}


class Told:
    """A health record, and the events that it is told."""

    def __init__(self) -> None:
        self.record = HealthRecord()
        self._seq = 0

    def event(self, kind: EventKind, at_s: float, document: dict[str, Any] | None = None) -> None:
        self._seq += 1
        self.record.feed(
            Event(
                seq=self._seq,
                t_mono_ns=int(at_s * S),
                t_wall_ns=int((1000 + at_s) * S),
                kind=kind,
                document=document or {},
                prev_hash="",
                hash="",
            )
        )

    def started(self, at_s: float) -> None:
        self.event(EventKind.SESSION_STARTED, at_s)

    def proposed(self, index: int, at_s: float, thread: str = "t", n: int = 3) -> None:
        block = {"index": index, "thread": thread, "order": [0] * n, "timing": TIMING}
        self.event(EventKind.BLOCK_PROPOSED, at_s, block)

    def answered(self, index: int, at_s: float, *shown: dict[str, Any], **more: Any) -> None:
        presentations = [
            {
                "stimulus_id": IMAGE,
                "repetition": n,
                "attempt": 0,
                "trial": 0,
                "onset_s": 0.0,
                **each,
            }
            for n, each in enumerate(shown)
        ]
        document = {"block_index": index, "site_ids": ["a"], "presentations": presentations, **more}
        self.event(EventKind.RESPONSES_RECEIVED, at_s, document)


def completed(**more: Any) -> dict[str, Any]:
    return {"outcome": "completed", "spike_counts": [1.0], **more}


def test_a_rig_waits_for_a_block_that_comes_after_the_responses() -> None:
    told = Told()
    told.started(0)
    told.proposed(0, 2)
    told.answered(0, 10)
    told.proposed(1, 13)
    told.answered(1, 20)
    told.proposed(2, 21)
    told.answered(2, 30)
    health = told.record.health
    assert health.generation_s == pytest.approx(1)
    assert health.median_generation_s == pytest.approx(2)
    assert health.rig_wait_s == pytest.approx(1)
    assert health.total_rig_wait_s == pytest.approx(4)
    assert health.rig_wait_share == pytest.approx(4 / 20)


def test_no_rig_waits_for_a_block_that_was_there_before() -> None:
    """Two threads: one's block is made while the other's is on screen."""
    told = Told()
    told.started(0)
    told.proposed(0, 2, "t")
    told.proposed(1, 4, "u")
    told.answered(0, 10)
    told.proposed(2, 13, "t")
    told.answered(1, 20)
    health = told.record.health
    assert health.rig_wait_s == 0
    assert health.total_rig_wait_s == 0
    assert health.generation_s == pytest.approx(3)


def test_clocks_of_two_runs_of_the_server_are_not_compared() -> None:
    told = Told()
    told.started(1000)
    told.proposed(0, 1001)
    told.answered(0, 1010)
    told.event(EventKind.SERVER_RESUMED, 5)
    told.proposed(1, 6)
    health = told.record.health
    assert health.generation_s == pytest.approx(1)
    assert health.rig_wait_s is None


def test_outcomes_faults_and_late_frames_are_counted() -> None:
    told = Told()
    told.started(0)
    told.proposed(0, 1)
    told.answered(
        0,
        2,
        completed(dropped_frames=1),
        completed(),
        {"outcome": "fixation_break"},
        {"outcome": "dropped_frame", "dropped_frames": 2},
        {"outcome": "aborted"},
        {"outcome": "aborted", "fault": "missing_word"},
        {"outcome": "aborted", "fault": "missing_word"},
        {"outcome": "aborted", "fault": "message_gap"},
    )
    health = told.record.health
    assert (health.presentations, health.completed) == (8, 2)
    assert (health.fixation_break, health.dropped_frame, health.aborted) == (1, 1, 4)
    assert health.late_frames == 3
    assert health.faults == {"message_gap": 1, "missing_word": 2}
    assert health.clock is None


def test_the_clock_is_that_of_the_last_block() -> None:
    told = Told()
    told.started(0)
    for index, drift in enumerate((1.0, 2.5)):
        told.proposed(index, 2 * index)
        clock = {"offset_s": 4.0, "drift_ppm": drift, "residual_s": 1e-4, "n_words": 9}
        told.answered(index, 2 * index + 1, clock=clock)
    assert told.record.health.clock is not None
    assert told.record.health.clock.drift_ppm == 2.5


def test_a_block_takes_as_long_as_its_trials() -> None:
    """Three showings of 150 ms in two trials; 400 ms pass after the count window of each last one."""
    assert expected_duration_s({"order": [0, 0, 0], "timing": TIMING}) == pytest.approx(1.29)


def test_responses_are_due_after_the_trials_and_some_patience() -> None:
    told = Told()
    told.started(0)
    assert told.record.health.due_unix_s is None
    told.proposed(0, 1, "t")
    told.proposed(1, 2, "u")
    assert told.record.health.due_unix_s == pytest.approx(1000 + 1 + 2 * 1.29 + 10)
    told.answered(0, 50)
    assert told.record.health.due_unix_s == pytest.approx(1000 + 50 + 2 * 1.29 + 10)
    told.answered(1, 60)
    assert told.record.health.due_unix_s is None
