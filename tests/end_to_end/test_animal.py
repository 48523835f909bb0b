"""What happens at a rig between an animal and a number: naps, breaks, juice, places, other displays."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from protocols.documents import EventKind, RigAttached
from protocols.vocabulary import Outcome
from tests.end_to_end.processes import (
    PLACE,
    Lab,
    Recipe,
    blocks_and_responses,
    check_finished,
    ended,
    eventually,
    opened,
    run,
    synth_server,
)

VIRTUAL = Recipe(real_clock=False, break_rate=0.1, drop_rate=0.05, generations=3)
SLOW = Recipe(generations=40, break_rate=0, drop_rate=0)
"""Long enough to be interrupted."""


def lab_with(new_lab: Callable[..., Lab], recipe: Recipe, **fixation: Any) -> Lab:
    """A lab whose simulated animal has these options."""
    options = {**recipe.fixation(), **fixation}
    lab = new_lab(recipe)
    lab.rig_overrides["fixation"] = {"name": "simulated", "options": options}
    return lab


def kinds_of_events(lab: Lab) -> list[str]:
    return [e.kind for _, answer in blocks_and_responses(lab.log) for e in answer.events]


def attached(lab: Lab) -> list[RigAttached]:
    with opened(lab.log) as log:
        return [RigAttached.model_validate(e.document) for e in log.events(EventKind.RIG_ATTACHED)]


def rig_client(*arguments: str | Path, folder: Path) -> Any:
    return run("rig_client.cli", *arguments, folder=folder)


def test_a_nap_of_ten_minutes_changes_nothing_of_the_session(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = lab_with(new_lab, VIRTUAL, naps=[[0.5, 600.5]])
    digest = lab.run_to_end()
    check_finished(lab, undisturbed(VIRTUAL))
    kinds = kinds_of_events(lab)
    assert digest == undisturbed(VIRTUAL)
    assert kinds.count("rest") == kinds.count("rest_over") == 1
    assert kinds.count("miss") > 40, "ten at once, then a try every ten seconds"


def test_an_animal_that_never_works_uses_nothing_up(new_lab: Callable[..., Lab]) -> None:
    """The session waits, and says why: on the rig, and to whoever asks the server."""
    recipe = replace(VIRTUAL, real_clock=True)
    lab = lab_with(new_lab, recipe, naps=[[0, 1e9]], acquire_s=0.01)
    lab.rig_overrides["trial"] = {"rest_s": 0.05}
    server, rig = lab.serve(), lab.rig()

    def resting() -> bool:
        return "resting" in lab.control("status").stdout

    eventually(resting, "the server says that the rig rests", alive=[server, rig])
    assert "resting" in rig.output
    assert lab.count(EventKind.RESPONSES_RECEIVED) == 0
    lab.control("abort")
    assert rig.ended() == 0, rig.output
    with opened(lab.log) as log:
        answers = [log.responses(e) for e in log.events(EventKind.RESPONSES_RECEIVED)]
    assert all(not answer.presentations for answer in answers)


def test_an_eye_that_leaves_within_the_count_window_is_not_counted(
    new_lab: Callable[..., Lab],
) -> None:
    """Images are on for 100 ms and counted for 200; some breaks come after the image has gone."""
    recipe = replace(VIRTUAL, image_ms=100, drop_rate=0, break_rate=0.4)
    lab = lab_with(new_lab, recipe, within_ms=180)
    display = lab.recipe.rig("")["display"]
    lab.rig_overrides["display"] = {**display, "options": {**display["options"], "refresh_hz": 100}}
    lab.run_to_end()
    late = 0
    for _, answer in blocks_and_responses(lab.log):
        gaze = answer.gaze_samples()
        assert answer.gaze is not None
        assert gaze is not None
        at_s = answer.gaze.start_s + gaze[:, 0].astype(float)
        away = np.hypot(gaze[:, 1], gaze[:, 2]) > 3
        for shown in answer.presentations:
            since_s = at_s - shown.onset_s
            left = away & (since_s > 0.02) & (since_s < 0.18)
            if left.any():
                assert shown.outcome is Outcome.FIXATION_BREAK
                late += since_s[left].min() > 0.11
            elif shown.outcome is Outcome.COMPLETED:
                assert shown.spike_counts is not None
    assert late > 3, "some eyes left after the image had gone, within its window"


def test_rewards_are_logged_with_what_they_gave(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(VIRTUAL)
    lab.rig_overrides["reward"] = {
        "name": "command",
        "options": {"command": ["true"], "pulse_ms": 80, "ml_per_pulse": 0.1},
    }
    lab.run_to_end()
    rewards = [
        event
        for _, answer in blocks_and_responses(lab.log)
        for event in answer.events
        if event.kind == "reward"
    ]
    assert rewards
    assert [event.ml for event in rewards] == sorted(event.ml for event in rewards)
    assert {event.ms for event in rewards} == {80}
    for block, answer in blocks_and_responses(lab.log):
        paid = {e.trial: e.at_s for e in answer.events if e.kind == "reward"}
        for trial, at_s in paid.items():
            last_s = max(p.onset_s for p in answer.presentations if p.trial == trial)
            assert at_s >= last_s + block.timing.count_window_s[1] - 1e-6


def test_the_place_of_each_thread_is_in_the_log_and_one_image_lies_there_once(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(VIRTUAL)
    lab.run_to_end()
    placed = {
        block.thread: {one.place for one in block.stimuli}
        for block, _ in blocks_and_responses(lab.log)
    }
    assert placed["site-00"] == {None}
    (place,) = placed["site-01"]
    assert place is not None
    assert place.model_dump() == PLACE
    references = {
        block.thread: {one.image: one.id for one in block.stimuli if one.role == "reference"}
        for block, _ in blocks_and_responses(lab.log)
    }
    shared = set(references["site-00"]) & set(references["site-01"])
    for image in shared:
        assert references["site-00"][image] != references["site-01"][image]
    (rig,) = attached(lab)
    assert rig.rig.display is not None
    assert "acquisition: simulated" in rig.rig.simulated


def test_another_display_within_a_session_is_refused_unless_it_is_accepted(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(SLOW)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(EventKind.RESPONSES_RECEIVED) >= 1, "a block", alive=[server, rig])
    rig.kill9()
    display = lab.recipe.rig("")["display"]
    moved = {**display, "options": {**display["options"], "position_deg": [3.0, 0.0]}}
    refused = lab.rig(display=moved)
    assert refused.ended() == 1
    assert "place" in refused.output
    assert "--accept-display-change" in refused.output
    done = rig_client("run", "--config", "rig.toml", "--accept-display-change", folder=lab.folder)
    assert done.returncode == 0, done.stderr
    assert [one.display_change_accepted for one in attached(lab)][-1]
    assert ended(lab.log).state == "finished"
    assert server.ended() == 0


def test_an_image_off_the_screen_is_refused_before_the_first_block(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(VIRTUAL)
    settings = lab.recipe.session()
    settings["threads"][1]["place"] = {"x_deg": 60.0, "y_deg": 0.0, "size_deg": 4.0}
    (lab.folder / "session.toml").write_text(tomli_w.dumps(settings), "utf-8")
    lab.serve()
    display = lab.recipe.rig("")["display"]
    screen = {**display["options"], "bounds_deg": [-25.0, -15.0, 25.0, 15.0]}
    rig = lab.rig(display={**display, "options": screen})
    assert rig.ended() == 1
    assert "site-01" in rig.output
    assert "60" in rig.output
    assert lab.count(EventKind.RIG_ATTACHED, EventKind.RESPONSES_RECEIVED) == 0


def test_a_second_rig_client_on_one_spool_is_refused(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(SLOW)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(EventKind.RESPONSES_RECEIVED) >= 1, "a block", alive=[server, rig])
    second = rig_client("run", "--config", "rig.toml", folder=lab.folder)
    assert second.returncode == 1
    assert "another rig client" in second.stderr
    assert rig.returncode is None
    lab.control("abort")
    assert rig.ended() == 0


def test_an_empty_folder_is_no_rig(new_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = new_lab(VIRTUAL)
    lab.serve()
    empty = tmp_path / "empty"
    empty.mkdir()
    done = rig_client("run", folder=empty)
    assert done.returncode == 1
    assert "rig.toml" in done.stderr
    assert "rig-client example" in done.stderr
    assert lab.count(EventKind.RIG_ATTACHED) == 0


@pytest.mark.parametrize("missing", ["display", "acquisition"])
def test_there_is_no_default_for_display_and_recorder(
    new_lab: Callable[..., Lab], missing: str
) -> None:
    lab = new_lab(VIRTUAL)
    lab.serve()
    settings = lab.recipe.rig(lab.addresses["work"])
    del settings[missing]
    (lab.folder / "rig.toml").write_text(tomli_w.dumps(settings), "utf-8")
    done = rig_client("run", folder=lab.folder)
    assert done.returncode == 1
    assert missing in done.stderr
    assert lab.count(EventKind.RIG_ATTACHED) == 0


def test_a_real_recorder_before_a_display_that_shows_nothing_is_refused(
    new_lab: Callable[..., Lab],
) -> None:
    lab = new_lab(VIRTUAL)
    lab.serve()
    recorder = {"name": "open_ephys_events", "options": {"sites": ["Electrode 1"]}}
    rig = lab.rig(acquisition=recorder)
    assert rig.ended() == 1
    assert "shows nothing" in rig.output
    assert lab.count(EventKind.RIG_ATTACHED) == 0


def test_what_was_shown_is_reported_beside_what_was_planned(new_lab: Callable[..., Lab]) -> None:
    """10 ms at 60 Hz are one frame, 16.7 ms."""
    lab = new_lab(replace(VIRTUAL, image_ms=10, break_rate=0, drop_rate=0))
    display = lab.recipe.rig("")["display"]
    options = {**display["options"], "refresh_hz": 60}
    lab.rig_overrides["display"] = {**display, "options": options}
    lab.run_to_end()
    shown = [p for _, answer in blocks_and_responses(lab.log) for p in answer.presentations]
    np.testing.assert_allclose([p.shown_ms for p in shown], 1000 / 60, atol=0.01)
    report = synth_server("report", lab.log, folder=lab.folder)
    assert report.returncode == 0, report.stderr


def test_a_changed_spike_time_is_found(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(VIRTUAL)
    lab.run_to_end()
    answer = next(a for _, a in blocks_and_responses(lab.log) if any(a.completed()))
    times = next(shown.times for shown in answer.completed() if shown.times)
    with contextlib.closing(sqlite3.connect(lab.log)) as db:
        (data,) = db.execute("SELECT data FROM arrays WHERE digest = ?", (times,)).fetchone()
        altered = bytes([*data[:-4], data[-4] ^ 1, *data[-3:]])
        db.execute("UPDATE arrays SET data = ? WHERE digest = ?", (altered, times))
        db.commit()
    verified = synth_server("replay", lab.log, "--verify", folder=lab.folder)
    assert verified.returncode == 1
    assert "altered" in verified.stderr


def test_gaze_is_kept_outside_the_digest(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(VIRTUAL)
    lab.run_to_end()
    _, answer = blocks_and_responses(lab.log)[0]
    gaze = answer.gaze_samples()
    assert answer.gaze is not None
    assert gaze is not None
    assert answer.gaze.rate_hz == 250
    assert gaze.shape[1] == 4
    assert (np.diff(gaze[:, 0]) >= 0).all()
    without = answer.model_copy(update={"gaze": None, "events": ()})
    assert without.digest == answer.digest
    assert any(p.outcome is Outcome.COMPLETED for p in answer.presentations)
    assert json.loads(answer.model_dump_json())["gaze"]["rate_hz"] == 250
