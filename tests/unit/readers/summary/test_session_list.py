"""What lies in a folder: each log with its state and figures, and broken files by name."""

from __future__ import annotations

import json
from statistics import median

import pytest
from typer.testing import CliRunner

from protocols.documents import EventKind
from protocols.errors import SettingsError
from synth_server.cli import app
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_list import listed_sessions, session_logs
from synth_server.readers.summary.session_summary import summarize
from synth_server.session.log import SessionLog
from tests.unit.readers.logged import logged


@pytest.fixture
def folder(evolve_settings, tmp_path):
    """A finished session, one that was aborted, one without an end, and two files that are none."""
    for name, options in (
        ("finished", {}),
        ("day 2/aborted", {"n_blocks": 2, "end": "abort"}),
        ("day 2/cut", {"n_blocks": 1}),
    ):
        path = tmp_path / name
        path.mkdir(parents=True)
        logged(evolve_settings, path / "session.sqlite", **options)
    (tmp_path / "notes.sqlite").write_text("no database")
    whole = (tmp_path / "finished" / "session.sqlite").read_bytes()
    (tmp_path / "half.sqlite").write_bytes(whole[: len(whole) // 2])
    (tmp_path / ".hidden.sqlite").write_text("not looked at")
    return tmp_path


def listed(folder):
    found = listed_sessions(session_logs(folder))
    return {session.path.removeprefix(f"{folder}/"): session for session in found}


def test_every_log_is_listed_with_its_state(folder):
    assert {name: session.state for name, session in listed(folder).items()} == {
        "day 2/aborted/session.sqlite": "aborted",
        "day 2/cut/session.sqlite": "interrupted",
        "finished/session.sqlite": "finished",
        "half.sqlite": "broken",
        "notes.sqlite": "broken",
    }


def test_a_log_that_a_server_has_open_is_running(folder):
    name = "day 2/cut/session.sqlite"
    writer = SessionLog(folder / name, writable=True)
    try:
        assert listed(folder)[name].state == "running"
        writer.append(
            EventKind.CONTROL, {"command": "annotate", "text": "looking disturbed nothing"}
        )
    finally:
        writer.close()
    assert listed(folder)[name].state == "interrupted"


def test_its_figures_are_the_summarys(folder):
    path = folder / "finished" / "session.sqlite"
    session, summary = listed(folder)["finished/session.sqlite"], summarize(read_record(path))
    assert (session.protocols, session.n_threads, session.generations) == (("evolve",), 2, 3)
    assert session.blocks == 6
    assert session.presentations == 60
    gains = [each.in_generations.gain.value for each in summary.evolution]
    assert session.gain.median == pytest.approx(median(gains))
    assert (session.gain.n, session.gain.measured_in) == (2, "generations")
    assert session.gain.n_above_1 == sum(gain > 1 for gain in gains)
    assert session.size_bytes == path.stat().st_size


def test_what_is_broken_says_why(folder):
    found = listed(folder)
    assert "no session log" in found["notes.sqlite"].problem
    assert found["half.sqlite"].problem
    assert found["half.sqlite"].gain is None


def test_the_command_prints_a_table_or_json(folder):
    done = CliRunner().invoke(app, ["sessions", str(folder), "--json"])
    assert done.exit_code == 0, done.output
    states = {each["path"]: each["state"] for each in json.loads(done.stdout)}
    assert states[str(folder / "half.sqlite")] == "broken"
    table = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["sessions", str(folder)])
    assert table.exit_code == 0
    for text in ("finished/session.sqlite", "interrupted", "of 2 above 1", "notes.sqlite"):
        assert text in table.stdout


def test_nothing_is_cut_in_a_narrow_terminal(folder):
    shown = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["sessions", str(folder)]).stdout
    assert "…" not in shown
    whole = " ".join(shown.split())
    for text in ("day 2/aborted/session.sqlite aborted", "2 threads", "3 generations"):
        assert text in whole
    assert "60 presentations" in whole
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_no_such_folder(tmp_path):
    with pytest.raises(SettingsError, match="no such folder"):
        session_logs(tmp_path / "nowhere")
