"""Where a server listens: the port numbers that were asked for, and the addresses that came of it."""

from __future__ import annotations

from dataclasses import dataclass

import zmq

from protocols.wire.channels import Context, bind
from protocols.wire.security import ServerKeys


@dataclass(frozen=True)
class Ports:
    """Port numbers; 0 lets the system choose."""

    work: int = 0
    control: int = 0
    events: int = 0


@dataclass(frozen=True)
class Addresses:
    """Where the server listens."""

    work: str
    control: str
    events: str


def check_free(host: str, ports: tuple[int, ...], keys: ServerKeys | None) -> None:
    """Raise `WireError` if nobody can listen on one of these ports; 0 is always free."""
    context: Context = zmq.Context()
    try:
        for port in filter(None, ports):
            bind(context, zmq.ROUTER, host, port, keys)[0].close()
        if not all(ports):
            bind(context, zmq.ROUTER, host, 0, keys)[0].close()
    finally:
        context.destroy(linger=0)
