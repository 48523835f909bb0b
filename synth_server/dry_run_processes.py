"""The processes of a dry run: a server and a rig that talk over loopback, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import zmq
from rich.console import Console

from protocols.errors import LinkLost, Refusal, StimloopError
from protocols.parent_process import environment_of_child
from protocols.wire.channels import connect
from synth_server.control_socket import ask

LOG = "session.sqlite"
STARTUP_S = 120.0
GLANCE_MS = 250


class ProcessDied(StimloopError):
    """A process of the dry run ended before its time."""


@contextlib.contextmanager
def server_process(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], zmq.Socket[bytes]]]:
    """The server process, and a socket that hears of its events."""
    announcement = folder / "server.json"
    announcement.unlink(missing_ok=True)
    paths = {name: str((folder / name).absolute()) for name in ("session.toml", LOG)}
    arguments = ["serve", paths["session.toml"], "--log", paths[LOG], "--exit-when-over"]
    arguments += ["--announce", str(announcement.absolute()), "--work-port", "0"]
    with _process("synth_server.cli", arguments, folder, "server.log") as process:
        deadline = time.monotonic() + STARTUP_S
        while not announcement.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise _died(process, folder / "server.log")
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GLANCE_MS / 5000)
        addresses = json.loads(announcement.read_text("utf-8"))
        config = (folder / "rig.toml").read_text("utf-8")
        config = config.replace("tcp://127.0.0.1:0", addresses["work"])
        (folder / "rig.toml").write_text(config, "utf-8")
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        events = connect(context, zmq.SUB, addresses["events"])
        events.subscribe(b"")
        try:
            yield process, events
        finally:
            events.close()
            context.term()


@contextlib.contextmanager
def rig_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The rig, with its simulated neurons."""
    arguments = ["run", "--config", str((folder / "rig.toml").absolute())]
    with _process("rig_client.cli", arguments, folder, "rig.log") as process:
        yield process


@contextlib.contextmanager
def _process(
    module: str, arguments: list[str], folder: Path, output: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours, its output in a file; ended with the dry run, however that ends.

    (By kill -9: on Linux.) It runs where the command was given, so that a relative path in a setting
    means what it meant there.
    """
    with (folder / output).open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "NO_COLOR": "1", **environment_of_child()},
            start_new_session=True,  # Ctrl-C at the terminal is for this process alone
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait()


def await_news(events: zmq.Socket[bytes]) -> None:
    """Return when something happened, or after a moment: news can be lost, the log cannot."""
    if events.poll(GLANCE_MS):
        with contextlib.suppress(zmq.Again):
            while True:
                events.recv_multipart(zmq.NOBLOCK)


def check_alive(
    server: subprocess.Popen[bytes], rig: subprocess.Popen[bytes], folder: Path
) -> None:
    """Raise `ProcessDied` if one of them failed."""
    if server.poll() not in (None, 0):
        raise _died(server, folder / "server.log")
    if rig.poll() not in (None, 0):
        raise _died(rig, folder / "rig.log")


def await_end(process: subprocess.Popen[bytes], output: Path) -> None:
    """Wait for a process that is about to end; raise `ProcessDied` if it fails."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STARTUP_S)
    if process.returncode != 0:
        raise _died(process, output)


def _died(process: subprocess.Popen[bytes], output: Path) -> ProcessDied:
    tail = output.read_text("utf-8", errors="replace").splitlines()[-12:]
    log = output.with_name(LOG)
    return ProcessDied(
        f"a process of the dry run ended with status {process.poll()}",
        where=str(output),
        got="its last lines:\n    " + "\n    ".join(tail),
        remedy=f"the log holds everything up to then; go on with: synth-server serve --resume {log}"
        if log.exists()
        else "nothing was begun: mend what the lines say, and run it again",
    )


def stop_after_generation(folder: Path, console: Console) -> bool:
    """Tell the server to stop, as `synth-server stop` does; False if it could not be told."""
    console.print("finishing what is begun, then saving; Ctrl-C again to stop now")
    addresses = json.loads((folder / "server.json").read_text("utf-8"))
    try:
        ask("stop", addresses["control"])
    except Refusal:
        return True
    except LinkLost:
        return False
    return True
