"""`synth-server host-encoders`: encoders for any client, with or without a server beside them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

NICENESS = 19
"""The lowest: beside a busy session, a processor gives it one hundredth of its time."""
NICENESS_LOADING = 5
"""While encoders are loaded: at the lowest, a busy computer would take minutes for it."""
LINUX_THREADS = Path("/proc/self/task")
LINUX_OOM = Path("/proc/self/oom_score_adj")


def host_encoders(
    encoders: Annotated[
        list[str], typer.Argument(metavar="NAME=FILE...", help="Written by `synth-server fit`.")
    ],
    host: Annotated[str, typer.Option(help="Interface; beyond loopback --keys is needed.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="For clients; 0: let the system choose.")] = 5573,
    threads: Annotated[
        int, typer.Option(min=0, help="That computing may use; 0: half the cores.")
    ] = 0,
    keys: Annotated[
        Path | None, typer.Option(help="Key folder; needed to listen beyond loopback.")
    ] = None,
    end_with_stdin: Annotated[
        bool, typer.Option("--end-with-stdin", help="End when standard input is closed.")
    ] = False,
    loading_niceness: Annotated[
        int, typer.Option(min=0, max=NICENESS, help="Priority while encoders are loaded.")
    ] = (NICENESS_LOADING),
) -> None:
    """Answer predictions and syntheses for any client, at the lowest priority.

    Prints its address as one line of JSON when it can be reached. With a session, use
    `synth-server serve --encoder NAME=FILE`, which starts this process, and again if it dies.
    """
    _be_modest(loading_niceness)
    _die_first()
    if end_with_stdin:
        _end_with_stdin()
    from protocols.wire.security import check_interface, load_server_keys
    from synth_server.encoder_service.process import named_files

    server_keys = load_server_keys(keys) if keys else None
    check_interface(host, server_keys)
    files = named_files(encoders)
    from synth_server.encoder_service.endpoint import EncoderEndpoint
    from synth_server.encoder_service.hosted import load_all

    n_threads = threads or max(1, (os.cpu_count() or 1) // 2)
    endpoint = EncoderEndpoint(
        load_all(files), host=host, port=port, keys=server_keys, n_threads=n_threads
    )
    _stop_on_signals(endpoint.close)
    _be_modest(NICENESS)
    sys.stdout.write(json.dumps({"encoders": endpoint.address}) + "\n")
    sys.stdout.flush()
    endpoint.run()


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command("host-encoders")(host_encoders)


def _be_modest(niceness: int) -> None:
    """Sessions on this computer come first; who is more modest already stays so.

    On Linux each thread has a niceness of its own, which those that it starts inherit.
    """
    if sys.platform != "win32":
        threads = [int(entry.name) for entry in LINUX_THREADS.glob("*")] or [0]
        for thread in threads:
            with contextlib.suppress(OSError):  # it has ended meanwhile
                now = os.getpriority(os.PRIO_PROCESS, thread)
                os.setpriority(os.PRIO_PROCESS, thread, max(now, niceness))


def _die_first() -> None:
    """When memory runs out, before any session."""
    if LINUX_OOM.exists():
        LINUX_OOM.write_text("1000")


def _end_with_stdin() -> None:
    """Tie this process to the one that holds the other end; there is nothing to be saved.

    Ctrl-C goes to all processes of a terminal; this one leaves it to the other.
    """

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, name="stdin", daemon=True).start()


def _stop_on_signals(stop: Callable[[], None]) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    signal.signal(signal.SIGTERM, handle)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handle)
