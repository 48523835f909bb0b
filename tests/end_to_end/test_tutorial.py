"""The tutorial's commands, exactly as they are written."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorials" / "first-session.md"
COMMANDS = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.S | re.M)
    for line in block.splitlines()
]
MADE = (
    "first/evolution.png",
    "first/session.sqlite",
    "first/report/report.html",
    "first/report/results/threads/site-00.png",
    "first/presentations.csv",
    "first/session.nwb",
)


@pytest.mark.slow
def test_the_commands_do_what_the_page_says(tmp_path):
    assert len(COMMANDS) >= 6
    modules = {"synth-server": "synth_server.cli"}
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    said = []
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        done = subprocess.run(
            [sys.executable, "-m", modules[program], *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        said.append(done.stdout + done.stderr)
    assert [name for name in MADE if not (tmp_path / name).is_file()] == []
    assert "evolved images drive" in said[0]
    assert "3 of 3 sites" in " ".join(said[0].split())


def test_every_file_that_the_page_names_is_checked():
    named = set(re.findall(r"`(first/[^`]+\.[a-z]+)`", TUTORIAL.read_text("utf-8")))
    assert named <= set(MADE)
