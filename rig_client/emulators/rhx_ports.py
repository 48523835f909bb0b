"""The TCP ports of Intan RHX, which it closes and opens in its own way (tcpcommunicator.cpp)."""

from __future__ import annotations

import contextlib
import socket

from rig_client.emulators.sockets import taken

READ_BYTES = 1 << 14


class RhxPort:
    """Listens until a client has connected; then no more, even when that client has gone.

    Args:
        host: Interface to listen on.
        port: 0: the system chooses, and the number stays.

    Raises:
        RigError: If the port is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self.port = host, port
        self._server: socket.socket | None = None
        self._client: socket.socket | None = None
        self.listen()

    def listen(self) -> None:
        """Somebody clicked Connect, or ordered it."""
        if self._server is not None:
            return
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((self._host, self.port))
        except OSError as error:
            server.close()
            raise taken(self._host, self.port, str(error)) from None
        server.listen(1)
        server.setblocking(False)
        self.port = int(server.getsockname()[1])
        self._server = server

    @property
    def status(self) -> str:
        """As RHX calls it."""
        if self._client is not None:
            return "Connected"
        return "Pending" if self._server is not None else "Disconnected"

    def accept(self) -> None:
        """Take a client that waits, and listen no more."""
        if self._server is None:
            return
        with contextlib.suppress(BlockingIOError):
            self._client, _ = self._server.accept()
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._client.settimeout(5)
            self._unlisten()

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
        """What one read returns; b"" also if the client has gone, which is noticed."""
        if self._client is None:
            return b""
        try:
            self._client.setblocking(False)
            received = self._client.recv(READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError:
            received = b""
        finally:
            if self._client is not None:
                self._client.settimeout(5)
        if not received:
            self.drop()
        return received

    def drop(self) -> None:
        """Disconnected, and not listening."""
        self._unlisten()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
