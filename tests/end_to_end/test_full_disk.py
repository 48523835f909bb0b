"""No space left, on the server or on the rig: it is said, nothing is lost, and then it goes on."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protocols.documents import EventKind
from synth_server.session.session import Session
from tests.end_to_end.processes import (
    DEADLINE_S,
    PROGRESS,
    Lab,
    Recipe,
    ServerHere,
    check_finished,
    eventually,
)

RECIPE = Recipe(seed=71, generations=6)
UNWRITABLE = "the session log cannot be written"

resource: Any = pytest.importorskip("resource", reason="POSIX only")
needs_prlimit = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only"
)


def limit_files(pid: int, size: int) -> None:
    """No file that this process writes may grow beyond `size` bytes; -1 lifts the limit."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if size < 0 else size, hard))


@needs_prlimit
def test_the_server_cannot_write(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """A real process meets a real error of its file system."""
    lab = new_lab(RECIPE)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(*PROGRESS) >= 6, "a few blocks", alive=[server, rig])
    limit_files(server.pid, 4096)
    eventually(lambda: UNWRITABLE in rig.output, "the rig says so", alive=[server, rig])
    assert "the rig keeps its responses" in server.output
    status = lab.control("status")
    assert status.returncode == 0, status.stderr
    assert "running" in status.stdout
    stopped_at = lab.count()
    refused = lab.control("annotate", "full?")
    assert refused.returncode == 1
    assert UNWRITABLE in refused.stderr
    assert lab.count() == stopped_at
    limit_files(server.pid, -1)
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


@needs_prlimit
def test_server_killed_while_it_cannot_write(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(*PROGRESS) >= 7, "a few blocks", alive=[server, rig])
    limit_files(server.pid, 4096)
    eventually(lambda: UNWRITABLE in rig.output, "the rig says so", alive=[server, rig])
    server.kill9()
    rig.kill9()
    server, rig = lab.serve(), lab.rig()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


@contextlib.contextmanager
def no_space(session: Session, *, read_only: bool) -> Iterator[None]:
    """SQLite finds no room for one more page; or may not write at all."""
    log: Any = session.log
    with log._guard:
        (pages,) = log._db.execute("PRAGMA page_count").fetchone()
        limit = "query_only=1" if read_only else f"max_page_count={pages}"
        log._db.execute(f"PRAGMA {limit}")
    yield
    with log._guard:
        log._db.execute("PRAGMA query_only=0")
        log._db.execute("PRAGMA max_page_count=1000000")


@pytest.mark.parametrize("where", ["record", "learn", "end"])
def test_each_event_can_be_the_one_that_fails(
    new_lab: Callable[..., Lab],
    undisturbed: Callable[[Recipe], str],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """The responses (`record`), the next block (after `learn`), or the session's end.

    The end is so short that it fits into a page that is there: it meets a read-only log.
    """
    lab = new_lab(RECIPE)
    struck: list[contextlib.ExitStack] = []
    with ServerHere(lab) as server:
        session = server.session
        true_method = getattr(session, where)

        def out_of_space(*arguments: Any) -> Any:
            if not struck and (where == "end" or session.n_answered >= 4):
                struck.append(contextlib.ExitStack())
                struck[0].enter_context(no_space(session, read_only=where == "end"))
            return true_method(*arguments)

        monkeypatch.setattr(session, where, out_of_space)
        rig = lab.rig()
        eventually(lambda: UNWRITABLE in rig.output, "the rig says so", alive=[rig])
        before = lab.count()
        assert lab.control("status").returncode == 0
        assert lab.count() == before
        if where == "record":
            assert list(lab.spool.glob("block-*.json")), "the rig keeps what was not taken"
        struck[0].close()
        assert rig.ended() == 0, rig.output
        server.ended()
    check_finished(lab, undisturbed(RECIPE))
    assert lab.count(EventKind.SESSION_ENDED) == 1


@needs_prlimit
@pytest.mark.parametrize("room", [0, 10])
def test_the_rig_cannot_write(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str], room: int
) -> None:
    """It ends with an error rather than show what it cannot keep; `room`: a part of a line fits."""
    lab = new_lab(RECIPE)
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.trials_shown() >= 1, "a few trials", alive=[server, rig])
    rig.kill9()
    command = [sys.executable, "-m", "rig_client.cli", "run", "--config", "rig.toml"]
    with subprocess.Popen(command, cwd=lab.folder, stderr=subprocess.PIPE, text=True) as broken:
        eventually(lambda: lab.trials_shown() >= 2, "a few trials", alive=[server])
        size = max((path.stat().st_size for path in lab.spool.iterdir()), default=0)
        limit_files(broken.pid, size + room)
        _, said = broken.communicate(timeout=DEADLINE_S)
    assert broken.returncode == 1, said
    assert "the spool cannot be written" in said
    assert "start the rig client again" in said
    assert "Traceback" not in said
    rig = lab.rig()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


def test_a_spool_that_cannot_be_made(new_lab: Callable[..., Lab]) -> None:
    lab = new_lab(RECIPE)
    server = lab.serve()
    (lab.folder / "taken").write_text("a file, where a folder should be", "utf-8")
    rig = lab.rig(spool="taken")
    assert rig.ended() == 1
    assert "the spool folder cannot be made" in rig.output
    assert "rig.toml" in rig.output
    assert lab.count(EventKind.RIG_ATTACHED) == 0
    assert server.returncode is None
