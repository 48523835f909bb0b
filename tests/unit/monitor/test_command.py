"""`synth-server monitor`: which session, and what must be installed."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from protocols.errors import InstallationError, LogError, SettingsError
from protocols.wire.messages import SessionStatus
from synth_server.commands import monitor as monitor_command
from synth_server.monitor import finding
from synth_server.monitor.finding import by_log, by_server
from tests.control_log import write_control_log

DEFAULT = "tcp://127.0.0.1:5571"


def status(name: str, log: str = "") -> SessionStatus:
    return SessionStatus(
        session_id=name,
        state="running",
        rig_id="",
        blocks_proposed=0,
        blocks_answered=0,
        last_event=0,
        log=log,
    )


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        monitor_command, "find_spec", lambda name: None if name == "uvicorn" else find_spec(name)
    )
    with pytest.raises(InstallationError) as caught:
        monitor_command.check_installed()
    assert "without uvicorn" in caught.value.got
    assert "stimloop[monitor]" in caught.value.remedy


def test_a_logs_server_is_the_default_one_the_chosen_one_or_a_dry_runs(tmp_path: Path) -> None:
    log = tmp_path / "session.sqlite"
    write_control_log(log)
    assert by_log(log, DEFAULT, is_default=True).address == DEFAULT
    announced = {"work": "tcp://127.0.0.1:1", "control": "tcp://127.0.0.1:2"}
    (tmp_path / "server.json").write_text(json.dumps(announced), "utf-8")
    found = by_log(log, DEFAULT, is_default=True)
    assert (found.session_id, found.log, found.address) == ("by-hand", log, "tcp://127.0.0.1:2")
    assert by_log(log, "tcp://127.0.0.1:3", is_default=False).address == "tcp://127.0.0.1:3"
    (tmp_path / "server.json").write_text("[", "utf-8")
    assert by_log(log, DEFAULT, is_default=True).address == DEFAULT


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no log", "utf-8")
    for name in ("notes.txt", "nothing"):
        with pytest.raises(LogError):
            by_log(tmp_path / name, DEFAULT, is_default=True)


def test_a_server_says_where_its_log_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "session.sqlite"
    log.touch()
    said: list[tuple[SessionStatus, ...]] = [
        (status("one", str(log)),),
        (status("one", str(log)), status("two", str(log))),
        (status("far", "/elsewhere/session.sqlite"),),
        (status("old"),),
    ]
    monkeypatch.setattr(finding, "ask", lambda *_: said.pop(0))
    assert by_server(DEFAULT, "", None).log == log
    with pytest.raises(SettingsError, match="one, two"):
        by_server(DEFAULT, "", None)
    for _ in range(2):
        with pytest.raises(SettingsError, match="ssh -L"):
            by_server(DEFAULT, "", None)
