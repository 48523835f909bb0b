"""Ctrl-C once finishes what was begun and saves; twice, and SIGTERM, end at once. Nothing is lost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from protocols.documents import EventKind
from synth_server.session.log import verify_chain
from synth_server.session.log_lock import is_being_written
from synth_server.session.recovery import verify_replay
from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    check_finished,
    count_events,
    eventually,
    opened,
)

RESPONSES, ENDED = EventKind.RESPONSES_RECEIVED, EventKind.SESSION_ENDED
BRISK = Recipe(image_ms=10, generations=3)
LEISURELY = Recipe(image_ms=500, break_rate=0, drop_rate=0)
"""A block takes 16 s: whoever waits for its end is seen to."""


def on_screen(lab: Lab, server: Process, rig: Process) -> int:
    """Wait until the rig is in the midst of a block; how many were answered before."""
    eventually(lambda: lab.trials_shown() >= 1, "a trial was shown", alive=[server, rig])
    return lab.count(RESPONSES)


def test_once_the_block_on_screen_is_finished_and_the_session_goes_on_another_time(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(BRISK)
    server = lab.serve()
    rig = lab.rig()
    n_before = on_screen(lab, server, rig)
    server.interrupt()
    assert server.ended() == 0, server.output
    assert "Traceback" not in server.output
    assert n_before < lab.count(RESPONSES) < BRISK.n_blocks
    assert lab.trials_shown() == 0, "the rig holds no block that it began"
    assert lab.count(ENDED) == 0
    server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(BRISK))


def test_twice_it_ends_now_with_status_130(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(LEISURELY)
    server = lab.serve()
    on_screen(lab, server, lab.rig())
    server.interrupt()
    eventually(lambda: "Ctrl-C again" in server.output, "it said what it does", alive=[server])
    assert server.returncode is None, "the rig holds a block"
    server.interrupt()
    assert server.ended() == 130, server.output
    assert "Traceback" not in server.output
    check_as_it_was(lab)


def test_sigterm_ends_it_now_with_status_0(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(LEISURELY)
    server = lab.serve()
    on_screen(lab, server, lab.rig())
    assert server.stop() == 0, server.output
    check_as_it_was(lab)


def check_as_it_was(lab: Lab) -> None:
    """No response had come; the log is whole, in one piece, and open to be gone on with."""
    assert lab.count(RESPONSES) == lab.count(ENDED) == 0
    assert not is_being_written(lab.log)
    with opened(lab.log) as log:
        assert verify_chain(log) > 1


def test_without_a_rig_once_is_enough(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab()
    server = lab.serve()
    server.interrupt()
    assert server.ended() == 0, server.output


# --- dry runs -----------------------------------------------------------------------------------


@pytest.fixture
def dry_run(tmp_path: Path):
    """A long one, under way; its folder is `run`."""
    arguments = ["dry-run", "--generations", "5000", "--population", "12", "--sites", "2"]
    arguments += ["--subject", "gabor_energy", "--generator", "pixels", "--out", "run"]
    process = Process("dry", "synth_server.cli", arguments, tmp_path)
    yield process
    process.clean_up()


def test_a_dry_run_finishes_its_generation_and_writes_its_results(
    dry_run: Process, tmp_path: Path
) -> None:
    log = tmp_path / "run" / "session.sqlite"
    eventually(lambda: count_events(log, RESPONSES) >= 3, "three blocks", alive=[dry_run])
    dry_run.interrupt()
    assert dry_run.ended() == 0, dry_run.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text("utf-8"))
    assert summary["state"] == "stopped"
    assert (tmp_path / "run" / "evolution.png").is_file()
    found = verify_replay(log)
    assert found.end == "stopped"
    assert found.n_blocks == count_events(log, RESPONSES), "every block was answered"


def test_a_dry_run_that_is_interrupted_again_ends_now(dry_run: Process, tmp_path: Path) -> None:
    """While its server still starts, so that nothing could be finished; and again and again."""
    folder = tmp_path / "run"
    eventually((folder / "server.log").exists, "it began", alive=[dry_run])

    def impatience() -> bool:
        if dry_run.returncode is None:
            dry_run.interrupt()
        return dry_run.returncode is not None

    eventually(impatience, "it ended")
    assert dry_run.returncode == 130, dry_run.output
    assert "Traceback" not in dry_run.output
    assert not is_being_written(folder / "session.sqlite"), "its server is gone"


def test_a_dry_run_ends_with_its_processes_upon_sigterm(dry_run: Process, tmp_path: Path) -> None:
    log = tmp_path / "run" / "session.sqlite"
    eventually(lambda: count_events(log, RESPONSES) >= 1, "a block", alive=[dry_run])
    assert dry_run.stop() == 143
    assert not is_being_written(log), "its server is gone"
    assert "serve --resume" in dry_run.output
    with opened(log) as reader:
        verify_chain(reader)


@pytest.mark.skipif(
    not Path("/proc/self/stat").is_file(), reason="Linux ends orphans, others do not"
)
def test_a_dry_run_that_is_killed_leaves_no_processes_behind(
    dry_run: Process, tmp_path: Path
) -> None:
    log = tmp_path / "run" / "session.sqlite"
    eventually(lambda: count_events(log, RESPONSES) >= 1, "a block", alive=[dry_run])
    server_and_rig = [pid for pid, (_, parent) in processes().items() if parent == dry_run.pid]
    assert len(server_and_rig) == 2
    dry_run.kill9()
    eventually(
        lambda: all(processes().get(pid, ("Z", 0))[0] == "Z" for pid in server_and_rig),
        "server and rig ended as well",
    )
    with opened(log) as reader:
        verify_chain(reader)


def processes() -> dict[int, tuple[str, int]]:
    """Process → its state (Z: ended, nobody has asked after it) and its parent."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
            found[int(path.parent.name)] = state, int(parent)
    return found
