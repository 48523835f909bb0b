"""Serve sessions from this process until they are over or somebody stops it."""

from __future__ import annotations

import contextlib
import json
import signal
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType

from protocols.errors import SettingsError
from protocols.wire.security import ServerKeys
from synth_server.endpoint import Addresses, Endpoint, Ports
from synth_server.session.session import Session


def serve(
    sessions: Sequence[Session],
    *,
    host: str = "127.0.0.1",
    ports: Ports = Ports(),  # noqa: B008
    keys: ServerKeys | None = None,
    announce: Path | None = None,
    exit_when_over: bool = False,
) -> None:
    """Serve `sessions`; SIGINT and SIGTERM end it, with every log in order.

    Args:
        announce: Where to write the addresses (JSON), once the server can be reached.
    """
    names = [session.session_id for session in sessions]
    if len(set(names)) < len(names):
        raise SettingsError("two sessions have the same id", got=", ".join(names))
    endpoint = Endpoint(
        dict(zip(names, sessions, strict=True)),
        host=host,
        ports=ports,
        keys=keys,
        exit_when_over=exit_when_over,
    )

    def stop(_number: int, _frame: FrameType | None) -> None:
        endpoint.close()

    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
    if announce is not None:
        write_announcement(announce, endpoint.addresses)
    endpoint.run()


def write_announcement(path: Path, addresses: Addresses) -> None:
    """Write the addresses in one piece: who finds the file can read it whole."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(asdict(addresses)), "utf-8")
    unfinished.replace(path)
