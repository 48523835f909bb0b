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
        raise _taken(host, port, error.strerror or str(error)) from None
    return made, int(made.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2])


class OneClient:
    """A TCP port that serves one client at a time, as Intan's do.

    Raises:
        RigError: If the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._server.bind((host, port))
        except OSError as error:
            self._server.close()
            raise _taken(host, port, str(error)) from None
        self._server.listen(1)
        self._server.setblocking(False)
        self.port = int(self._server.getsockname()[1])
        self._client: socket.socket | None = None

    def accept(self) -> None:
        """Take a client that waits, if there is none yet."""
        if self._client is None:
            with contextlib.suppress(BlockingIOError):
                self._client, _ = self._server.accept()
                self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._client.settimeout(5)

    def send(self, data: bytes, segment_bytes: int = 0) -> None:
        """Send to the client, if there is one; in pieces of `segment_bytes`, if that is not 0."""
        step = segment_bytes or len(data) or 1
        try:
            for place in range(0, len(data), step):
                if self._client is not None:
                    self._client.sendall(data[place : place + step])
        except OSError:
            self.drop()

    def receive(self) -> bytes:
        """What the client has said meanwhile."""
        if self._client is None:
            return b""
        try:
            self._client.setblocking(False)
            received = self._client.recv(4096)
            self._client.settimeout(5)
        except BlockingIOError:
            self._client.settimeout(5)
            return b""
        except OSError:
            received = b""
        if not received:
            self.drop()
        return received

    def drop(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """Release everything."""
        self.drop()
        self._server.close()


def free_udp_port(host: str) -> int:
    """A UDP port that nobody uses now."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _taken(host: str, port: int, why: str) -> RigError:
    return RigError(
        "the emulator cannot listen here",
        where=f"{host}:{port}",
        got=why,
        remedy="choose another port, or --any-port",
    )
