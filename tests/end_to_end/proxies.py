"""Between rig and server: a network that loses, repeats, delays and reorders messages."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import zmq

Direction: TypeAlias = Literal["to the server", "to the rig"]
Frames: TypeAlias = list[bytes]
Policy: TypeAlias = Callable[[Direction, Frames], Sequence[tuple[float, Frames]]]
"""What becomes of a message: (delay in seconds, frames) for every copy that is passed on."""


def faithful(_direction: Direction, frames: Frames) -> Sequence[tuple[float, Frames]]:
    """Passes on everything."""
    return [(0.0, frames)]


class BadNetwork:
    """A policy drawn from a seed; keeps count of its misdeeds."""

    def __init__(self, seed: int, *, drop: float, repeat: float, delay: float, most_s: float):
        self._dice = random.Random(seed)
        self._drop, self._repeat, self._delay, self._most_s = drop, repeat, delay, most_s
        self.done: Counter[str] = Counter()

    def __call__(self, direction: Direction, frames: Frames) -> Sequence[tuple[float, Frames]]:
        if self._dice.random() < self._drop:
            self.done[f"dropped {direction}"] += 1
            return []
        copies = 1
        while self._dice.random() < self._repeat:
            self.done[f"repeated {direction}"] += 1
            copies += 1
        return [(self._lateness(direction), frames) for _ in range(copies)]

    def _lateness(self, direction: Direction) -> float:
        if self._dice.random() >= self._delay:
            return 0.0
        self.done[f"delayed {direction}"] += 1
        return self._dice.uniform(0, self._most_s)


class Proxy(threading.Thread):
    """Stands for the server towards any number of rigs: each gets a connection of its own.

    Attributes:
        address: Where rigs connect instead of to the server.
        failure: What went wrong in here, if anything did.
    """

    def __init__(self, server: str, policy: Policy = faithful) -> None:
        super().__init__(name="proxy", daemon=True)
        self._server, self._policy = server, policy
        self._context: zmq.Context[Any] = zmq.Context()
        self._front = self._context.socket(zmq.ROUTER)
        self._front.linger = 0
        port = self._front.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self.failure: BaseException | None = None
        self._backs: dict[bytes, zmq.Socket[bytes]] = {}
        self._rigs: dict[zmq.Socket[bytes], bytes] = {}
        self._poller = zmq.Poller()
        self._poller.register(self._front, zmq.POLLIN)
        self._late: list[tuple[float, int, Callable[[], Any]]] = []
        self._ticket = itertools.count()
        self._closing = False

    def run(self) -> None:
        try:
            while not self._closing:
                for socket, _ in self._poller.poll(self._patience_ms()):
                    self._pass_on(socket, socket.recv_multipart())
                while self._late and self._late[0][0] <= time.monotonic():
                    heapq.heappop(self._late)[2]()
        except BaseException as error:
            self.failure = error
            raise
        finally:
            for socket in (self._front, *self._backs.values()):
                socket.close(linger=0)
            self._context.term()

    def close(self) -> None:
        self._closing = True
        self.join()
        assert self.failure is None, self.failure

    def _patience_ms(self) -> float:
        next_s = self._late[0][0] - time.monotonic() if self._late else 0.1
        return max(0.0, min(100.0, 1000 * next_s))

    def _pass_on(self, socket: Any, frames: Frames) -> None:
        if socket is self._front:
            identity, *frames = frames
            back = self._back(identity)
            self._later("to the server", frames, back.send_multipart)
        else:
            rig = self._rigs[socket]
            self._later("to the rig", frames, lambda f: self._front.send_multipart([rig, *f]))

    def _back(self, rig: bytes) -> zmq.Socket[bytes]:
        if rig not in self._backs:
            socket = self._context.socket(zmq.DEALER)
            socket.linger = 0
            socket.connect(self._server)
            self._poller.register(socket, zmq.POLLIN)
            self._backs[rig], self._rigs[socket] = socket, rig
        return self._backs[rig]

    def _later(self, direction: Direction, frames: Frames, send: Callable[[Frames], Any]) -> None:
        for delay_s, copy in self._policy(direction, frames):
            entry = (time.monotonic() + delay_s, next(self._ticket), lambda c=copy: send(c))
            heapq.heappush(self._late, entry)
