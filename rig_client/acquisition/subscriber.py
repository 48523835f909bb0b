"""A ZeroMQ subscription that knows whether it is connected."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import TypeVar

import zmq
from zmq.utils.monitor import recv_monitor_message

from rig_client.acquisition.stream import Misfit, StreamLost

T = TypeVar("T")
CONNECT_S = 1.0
HEARTBEAT_MS, SILENT_MS = 500, 2000
"""The peer's ZeroMQ answers heartbeats by itself: a cable that was pulled is noticed."""


def decoded_or_lost(
    decoded: Callable[[list[bytes]], T],
    message: list[bytes],
    speaker: str,
    who: Callable[[list[bytes]], str] | None = None,
) -> T:
    """What `decoded` makes of a message.

    Raises:
        Misfit: If it can make nothing of it: whoever speaks there is no `speaker`; `who` says who it
            may be.
    """
    try:
        return decoded(message)
    except (ValueError, KeyError, TypeError, IndexError, struct.error) as error:
        why = who(message) if who else f"{message!r:.80} ({error})"
        raise Misfit(f"this is no {speaker}, or one that cannot be read; {why}") from None


class Subscriber:
    """A SUB socket, subscribed to everything, connected; never drops what it has received.

    Raises:
        StreamLost: If nobody answers at `address` within a second.
    """

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = 0
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._socket.subscribe(b"")
        self._socket.connect(address)
        deadline_s = time.perf_counter() + CONNECT_S
        while not self._monitor.poll(max(0, int((deadline_s - time.perf_counter()) * 1000))):
            if time.perf_counter() >= deadline_s:
                self.close()
                raise StreamLost("nobody answers")
        if self._event() != zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.close()
            raise StreamLost("refused")

    def receive(self, timeout_s: float) -> list[list[bytes]]:
        """All messages that have arrived, each a list of frames; waits `timeout_s` if there is none.

        Raises:
            StreamLost: If the connection broke, and all that came before has been returned.
        """
        messages: list[list[bytes]] = []
        if self._socket.poll(int(timeout_s * 1000)):
            while True:
                try:
                    messages.append(self._socket.recv_multipart(zmq.NOBLOCK))
                except zmq.Again:
                    break
        elif self._monitor.poll(0) and self._event() == zmq.EVENT_DISCONNECTED:
            raise StreamLost("the recorder has gone")
        return messages

    def close(self) -> None:
        """Release everything."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()

    def _event(self) -> int:
        return int(recv_monitor_message(self._monitor)["event"])
