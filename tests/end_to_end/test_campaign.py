"""`synth-server campaign` as it is typed: what it prints and leaves, and that it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.end_to_end.processes import synth_server

pytest.importorskip("distributed")
parquet = pytest.importorskip("pyarrow.parquet")

CAMPAIGN = """
name = "tiny"

[shared]
subject = "gabor_energy"
generator = "pixels"
optimizer = "random_search"
sites = 1
generations = 1
population = 3

[shared.changes]
n_references = 0
test_repetitions = 0

[grid]
noise = ["none", "poisson"]

[[cells]]
changes = { objective = { options = { site = "site-09" } } }

[compare]
setting = "noise"
baseline = "none"
measure = "true_last"
"""


def test_a_campaign_from_its_file_to_its_table(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(CAMPAIGN, "utf-8")
    arguments = ("campaign", "campaign.toml", "--workers", "1", "--json", "--out")
    done = synth_server(*arguments, tmp_path / "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["n_cells"], found["n_done"], found["n_failed"]) == (3, 2, 1)
    assert [level["value"] for level in found["levels"]] == ["none", "poisson"]
    assert "dashboard: http://127.0.0.1:" in done.stderr
    table = parquet.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert [row["state"] for row in table] == ["done", "done", "failed"]
    assert (tmp_path / "out" / "campaign.png").is_file()
    left = (tmp_path / "out" / "cells").glob("*.json")
    times = {path: path.stat().st_mtime_ns for path in left}
    failed = tmp_path / "out" / "cells" / f"{table[2]['cell']}.json"
    text = CAMPAIGN.split("[[cells]]")[0] + "[compare]" + CAMPAIGN.split("[compare]")[1]
    (tmp_path / "campaign.toml").write_text(text, "utf-8")
    again = synth_server(*arguments, tmp_path / "out", folder=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["n_cells"] == 2
    assert "dashboard" not in again.stderr, "all is known: no worker was started"
    assert times == {path: path.stat().st_mtime_ns for path in times}
    assert failed.is_file()


def test_mistakes_are_told_before_a_worker_is_started(tmp_path: Path) -> None:
    (tmp_path / "campaign.toml").write_text(CAMPAIGN.replace("poisson", "loud"), "utf-8")
    done = synth_server("campaign", "campaign.toml", "--scheduler", "nowhere", folder=tmp_path)
    assert done.returncode == 1
    assert "noise = loud" in done.stderr
    assert not (tmp_path / "campaign").exists()
