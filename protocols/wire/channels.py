"""The sockets: bound by the server, connected to by rigs, watchers and the control commands."""

from __future__ import annotations

import contextlib
import threading
from typing import Any, TypeAlias

import zmq

from protocols.errors import WireError
from protocols.wire.codec import MAX_FRAME_BYTES
from protocols.wire.security import ClientKeys, ServerKeys, check_interface

Context: TypeAlias = "zmq.Context[zmq.Socket[bytes]]"
Socket: TypeAlias = "zmq.Socket[bytes]"

HEARTBEAT_MS = 2000


def bind(
    context: Context, kind: int, host: str, port: int, keys: ServerKeys | None = None
) -> tuple[Socket, str]:
    """A bound socket and its address; port 0 lets the system choose.

    Raises:
        SecurityError: If others can reach `host` and no keys are configured.
        WireError: If the address is taken or not of this machine.
    """
    check_interface(host, keys)
    socket = _socket(context, kind)
    if keys is not None:
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
    try:
        socket.bind(f"tcp://{host}:{port or '*'}")
    except zmq.ZMQError as error:
        socket.close()
        raise WireError(
            "the server cannot listen here",
            where=f"{host}:{port}",
            got=error.strerror or str(error),
            remedy="choose another port, or port 0 to let the system choose",
        ) from None
    return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def connect(context: Context, kind: int, address: str, keys: ClientKeys | None = None) -> Socket:
    """A socket on its way to `address`; it connects, and reconnects, by itself."""
    socket = _socket(context, kind)
    if keys is not None:
        socket.curve_serverkey = keys.server_public
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        socket.close()
        raise WireError(
            "this is no address",
            where=address,
            expected="tcp://HOST:PORT",
            got=error.strerror or str(error),
        ) from None
    return socket


def _socket(context: Context, kind: int) -> Socket:
    socket: Any = context.socket(kind)
    socket.linger = 0
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, 50)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
    result: Socket = socket
    return result


class Doorbell:
    """Wakes a thread that waits in a poller, from any other thread."""

    def __init__(self, context: Context) -> None:
        self._guard = threading.Lock()
        address = f"inproc://doorbell-{id(self)}"
        self.socket = _socket(context, zmq.PULL)
        self.socket.bind(address)
        self._button = _socket(context, zmq.PUSH)
        self._button.connect(address)

    def ring(self) -> None:
        """Wake the waiting thread; rings that it has not answered yet count as one."""
        with self._guard, contextlib.suppress(zmq.ZMQError):
            self._button.send(b"", zmq.NOBLOCK)

    def answer(self) -> None:
        """Called by the woken thread: forget the rings so far."""
        with contextlib.suppress(zmq.Again):
            while True:
                self.socket.recv(zmq.NOBLOCK)

    def close(self) -> None:
        """Close both ends."""
        with self._guard:
            self._button.close()
            self.socket.close()
