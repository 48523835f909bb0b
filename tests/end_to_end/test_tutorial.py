"""The tutorial's commands, exactly as they are written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from protocols.documents import SessionSettings
from protocols.fields import FieldMap
from synth_server.session.build import resolved

TUTORIALS = Path(__file__).parents[2] / "docs" / "tutorials"
MADE = {
    "first-session": (
        "first/evolution.png",
        "first/session.sqlite",
        "first/report/report.html",
        "first/report/results/threads/site-00.png",
        "first/presentations.csv",
        "first/session.nwb",
    ),
    "a-day-of-experiments": (
        "fields/fields.json",
        "fields/fields.csv",
        "fields/fields.png",
        "fields/rig.toml",
        "fields/windows/windows.png",
        "fields/report/report.html",
        "fields/session.nwb",
    ),
}
"""Page → the files that it makes."""


def text_of(page: str) -> str:
    return (TUTORIALS / f"{page}.md").read_text("utf-8")


def run(page: str, folder: Path) -> list[str]:
    """What the page's commands say, one after the other."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text_of(page), re.S | re.M)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) >= 5
    modules = {"synth-server": "synth_server.cli"}
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    said = []
    for command in commands:
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", modules[program], *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=280,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout + done.stderr)
    assert [name for name in MADE[page] if not (folder / name).is_file()] == []
    return said


@pytest.mark.thorough
def test_the_first_session_does_what_the_page_says(tmp_path):
    said = run("first-session", tmp_path)
    assert "evolved images drive" in said[0]
    assert "2 of 2 sites" in " ".join(said[0].split())


@pytest.mark.thorough
def test_a_day_of_experiments_does_what_the_page_says(tmp_path, monkeypatch):
    """Its session.toml is built with the fields found; NWB inspector misses nothing but the animal."""
    said = run("a-day-of-experiments", tmp_path)
    assert "counted in 70–170 ms" in said[1]
    page = (tmp_path / "fields" / "report" / "report.html").read_text("utf-8")
    assert "counted again in 60–180 ms" in page
    assert "verified" in said[3]
    (settings,) = re.findall(r"^```toml\n(.*?)^```$", text_of("a-day-of-experiments"), re.S | re.M)
    monkeypatch.chdir(tmp_path)
    session = resolved(SessionSettings.model_validate(tomllib.loads(settings)))
    found = FieldMap.model_validate_json(Path("fields/fields.json").read_bytes())
    assert session.threads[0].place == found.place()
    inspector = pytest.importorskip("nwbinspector")
    grave = inspector.Importance.BEST_PRACTICE_VIOLATION
    found_wrong = inspector.inspect_nwbfile(
        nwbfile_path="fields/session.nwb", importance_threshold=grave
    )
    assert [message.message for message in found_wrong] == ["Subject is missing."]
    assert "--subject" in said[4]


@pytest.mark.parametrize("page", sorted(MADE))
def test_every_file_that_the_page_names_is_checked(page):
    folders = "|".join({name.partition("/")[0] for name in MADE[page]})
    named = set(re.findall(rf"`((?:{folders})/[^`]+\.[a-z]+)`", text_of(page)))
    assert named <= set(MADE[page])
