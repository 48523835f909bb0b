"""`synth-server status` says what the rig says, and what of it is not real."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from protocols.wire.messages import SessionStatus
from synth_server.cli import app

WELL = SessionStatus(
    session_id="s", state="running", rig_id="r", blocks_proposed=3, blocks_answered=2, last_event=9
)


def told(monkeypatch: pytest.MonkeyPatch, status: SessionStatus) -> str:
    monkeypatch.setattr("synth_server.control_socket.ask", lambda *_: (status,))
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 0, done.output
    return " ".join(done.output.split())


def test_a_rig_that_rests_and_is_simulated_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    says = "resting: 10 misses in a row; a try every 10 s"
    parts = ("display: headless", "acquisition: simulated")
    said = told(monkeypatch, WELL.model_copy(update={"rig_says": says, "simulated": parts}))
    assert f"rig says: {says}" in said
    assert "SIMULATED: display: headless, acquisition: simulated" in said


def test_a_real_rig_at_work_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, WELL) == "s running blocks 2 of 3 proposed rig r"
