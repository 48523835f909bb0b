"""Ports of emulators, with errors that a person can act on."""

from __future__ import annotations

import contextlib
import socket
from typing import TypeAlias

import zmq

from protocols.errors import RigError

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"
Socket: TypeAlias = "zmq.Socket[bytes]"


def bound(context: Context, kind: int, host: str, port: int) -> tuple[Socket, int]:
    """A bound ZeroMQ socket and its port; port 0 lets the system choose.

    Raises:
        RigError: If the port is taken.
    """
    made = context.socket(kind)
    made.linger = 0
    try:
        made.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        made.close()
        raise taken(host, port, error.strerror or str(error)) from None
    return made, int(made.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


def free_udp_port(host: str) -> int:
    """A UDP port that nobody uses now."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def taken(host: str, port: int, why: str) -> RigError:
    """The error that says so."""
    return RigError(
        "the emulator cannot listen here",
        where=f"{host}:{port}",
        got=why,
        remedy="choose another port, or --any-port",
    )
