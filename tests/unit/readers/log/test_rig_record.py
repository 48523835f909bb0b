"""What a rig said of itself, and what happened at it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from protocols.documents import EventKind, RigAttached
from protocols.rig_description import DisplayDescription, RigDescription
from protocols.vocabulary import Placement, RigEvent
from synth_server.readers.log.rig_record import SIMULATED, RigRecord, stamp

DISPLAY = DisplayDescription(name="d", size_px=(100, 100), place=Placement(size_deg=4))


def attached(**rig: Any) -> SimpleNamespace:
    said = RigAttached(
        rig_id="r", site_ids=("a",), software="", rig=RigDescription(display=DISPLAY, **rig)
    )
    return SimpleNamespace(kind=EventKind.RIG_ATTACHED, document=said.model_dump(mode="json"))


def moved() -> SimpleNamespace:
    other = DISPLAY.model_copy(update={"place": Placement(size_deg=5)})
    said = RigAttached(rig_id="r", site_ids=("a",), software="", rig=RigDescription(display=other))
    return SimpleNamespace(kind=EventKind.RIG_ATTACHED, document=said.model_dump(mode="json"))


def answered(*events: RigEvent) -> SimpleNamespace:
    document = {"events": [event.model_dump(mode="json") for event in events]}
    return SimpleNamespace(kind=EventKind.RESPONSES_RECEIVED, document=document)


def record(*events: SimpleNamespace) -> RigRecord:
    found = RigRecord()
    for event in events:
        found.feed(event)  # type: ignore[arg-type]
    return found


def test_a_session_is_simulated_if_a_part_was_at_any_attach() -> None:
    found = record(
        attached(simulated=("display: headless",)),
        attached(),
        attached(simulated=("acquisition: simulated", "display: headless")),
    )
    assert found.simulated == ("display: headless", "acquisition: simulated")
    assert stamp(found.simulated) == f"{SIMULATED}: display: headless, acquisition: simulated"
    assert record(attached()).simulated == ()
    assert stamp(()) == ""


def test_juice_is_summed_over_restarts_of_the_rig() -> None:
    def reward(ml: float, kind: str = "reward") -> RigEvent:
        return RigEvent(kind=kind, at_s=0, ms=50, ml=ml)

    miss = RigEvent(kind="miss", at_s=0, ml=0.3)
    before = [reward(0.1), reward(0.2), reward(0.3, "free_reward"), miss]
    found = record(answered(*before), answered(reward(0.1), reward(0.2))).counted
    assert (found.rewards, found.free_rewards, found.misses) == (4, 1, 1)
    assert found.ml == pytest.approx(0.5)
    assert found.reward_ms == 250


def test_a_restart_that_is_at_the_same_total_is_one() -> None:
    given = RigEvent(kind="reward", at_s=0, ml=0.1)
    assert record(answered(given), answered(given)).counted.ml == pytest.approx(0.2)


def test_rests_and_warnings_are_told() -> None:
    found = record(
        answered(
            RigEvent(kind="rest", at_s=10.0),
            RigEvent(kind="rest_over", at_s=70.0),
            RigEvent(kind="recorder_warning", at_s=71.0, text="site a is silent"),
            RigEvent(kind="recorder_warning", at_s=72.0, text="site a is silent"),
            RigEvent(kind="late_spikes", at_s=73.0),
            RigEvent(kind="calibration", at_s=74.0, text="9 points"),
        )
    ).counted
    assert (found.rests, found.rest_s, found.late_spikes) == (1, 60.0, 1)
    assert found.warnings == ("site a is silent (2 times)",)
    assert found.calibrations == ("calibration: 9 points",)


def test_where_a_block_was_shown_is_not_known_if_the_display_changed_within_it() -> None:
    found = record(attached(), answered())
    assert found.shown_on == DISPLAY
    found.feed(moved())  # type: ignore[arg-type]
    found.feed(answered())  # type: ignore[arg-type]
    assert found.shown_on is None
    found.feed(answered())
    assert found.shown_on is not None
    assert found.shown_on.place.size_deg == 5
