"""The README's commands, as they are written, in an empty folder; the rig's step included."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from synth_server.session.log import SessionLog
from synth_server.session.recovery import verify_replay
from tests.end_to_end.processes import eventually

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text("utf-8")
BLOCKS = [b.splitlines() for b in re.findall(r"^```sh\n(.*?)^```$", TEXT, re.S | re.M)]
MODULES = {"synth-server": "synth_server.cli", "rig-client": "rig_client.cli"}
LASTING = {"serve": "waiting for a rig", "emulate": "emulating"}
"""Commands that run until they are ended → what they say once they can be used."""
PORTS = (5557, 5570, 5571, 5572, 5599)
"""What the commands listen on, as they stand there."""


def test_it_is_short_and_its_settings_are_a_session() -> None:
    assert len(TEXT.splitlines()) <= 145
    assert len(BLOCKS) == 3


def arguments_of(line: str) -> tuple[list[str], str]:
    """A command line without its comment, and the file that its output goes to."""
    command, _, out = line.partition(" #")[0].partition(" > ")
    program, *arguments = shlex.split(command)
    return [sys.executable, "-m", MODULES[program], *arguments], out.strip()


def environment() -> dict[str, str]:
    return {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "PYTHONUNBUFFERED": "1"}


def run(line: str, folder: Path) -> str:
    arguments, out = arguments_of(line)
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    if out:
        (folder / out).write_text(done.stdout, "utf-8")
    return done.stdout + done.stderr


@contextmanager
def lasting(line: str, folder: Path) -> Iterator[None]:
    """A command that goes on beside the next ones; entered once it can be used."""
    arguments, _ = arguments_of(line)
    word = arguments[3]
    said = folder / f"{word}.out"
    with said.open("wb") as file:
        process = subprocess.Popen(
            arguments, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env=environment()
        )
    try:
        eventually(
            lambda: LASTING[word] in said.read_text("utf-8") or process.poll() is not None,
            f"{word} is ready",
        )
        assert process.poll() is None, said.read_text("utf-8")
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.thorough
@pytest.mark.timeout(1500)
def test_rehearsal(tmp_path: Path) -> None:
    said = [run(line, tmp_path) for line in BLOCKS[0]]
    assert "evolved images drive" in " ".join(said[0].split())
    assert "verified" in said[1]
    assert (tmp_path / "rehearsal" / "report" / "report.html").is_file()
    assert (tmp_path / "rehearsal.nwb").is_file()


@pytest.mark.thorough
@pytest.mark.timeout(1500)
def test_a_model_of_a_recording(tmp_path: Path) -> None:
    said = [run(line, tmp_path) for line in BLOCKS[1]]
    assert "32 images; 10 repetitions of each" in " ".join(said[1].split())
    assert len(list((tmp_path / "images").glob("site-00-seed*.png"))) == 2


@pytest.mark.thorough
@pytest.mark.timeout(1500)
def test_a_session_with_an_emulated_recorder(tmp_path: Path) -> None:
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port}, which the README's commands listen on, is taken here")
    (settings,) = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.S | re.M)
    (tmp_path / "session.toml").write_text(settings, "utf-8")
    with ExitStack() as beside:
        for line in BLOCKS[2]:
            if arguments_of(line)[0][3] in LASTING:
                beside.enter_context(lasting(line, tmp_path))
            else:
                said = run(line, tmp_path)
    assert "finished" in said
    log = tmp_path / "2026-11-21-anna" / "session.sqlite"
    report = verify_replay(log)
    assert (report.end, report.n_blocks) == ("finished", 4)
    opened = SessionLog(log)
    opened.close()
