"""The sockets: bound by the server, connected to by rigs, watchers and the control commands."""

from __future__ import annotations

import contextlib
import errno
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
            remedy=_why_not_bound(error.errno, host, port),
        ) from None
    return socket, socket.getsockopt_string(zmq.LAST_ENDPOINT)


def _why_not_bound(number: int | None, host: str, port: int) -> str:
    """What to do about it: it is the address, the port, or a right that is lacking."""
    if number in (errno.EADDRNOTAVAIL, errno.ENODEV, zmq.EADDRNOTAVAIL):
        return (
            f"{host} is no address of this computer. --host takes one of its own, by which rigs reach "
            "it (ip address on Linux, ipconfig on Windows), or 0.0.0.0 for all of them; another "
            "computer's server is started there"
        )
    if number in (errno.EINVAL, errno.ENOENT):
        return (
            f"{host} is no address that can be listened on; write it as numbers, such as 10.0.0.5"
        )
    if number == errno.EACCES or 0 < port < 1024:
        return "ports below 1024 are for the system; choose one above, or port 0"
    return (
        "another program listens there, perhaps a server that still runs (synth-server status asks "
        "it); end it, or choose another port, or port 0 to let the system choose"
    )


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
