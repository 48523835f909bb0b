"""The link: the I/O thread that owns the rig's socket.

Each request is sent, and sent again under the same id, until it is answered; so a server that was
gone for a while, or a message that was lost, needs no special case. Blocks arrive decoded and
checked: an image whose pixels do not have the announced hash is never shown, but asked for again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import zmq
from zmq.utils.monitor import recv_monitor_message

from protocols.errors import MalformedMessage
from protocols.vocabulary import Block
from protocols.wire import messages as msg
from protocols.wire.channels import Context, Doorbell, Socket, connect
from protocols.wire.codec import Message, as_error, block_from, decode, encode
from protocols.wire.security import HANDSHAKE_FAILURES, ClientKeys, not_admitted

logger = logging.getLogger(__name__)

RESEND_S = 3.0
RECONNECT_S = 3.0
"""Silence after which a new socket is opened; longer than the server lets a request wait."""
RETRY_S = 1.0
GREETING_S = 1.0
"""How often the server is asked for the session's state while nothing else is asked of it."""
TURN_MS = 200


@dataclass
class _Request:
    """A request on its way, and what its sender waits for."""

    body: msg.Body
    answer: Future[Any]
    read: Callable[[Message], Any]
    frames: Sequence[memoryview] = ()
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    asked: float = field(default_factory=time.monotonic)
    due: float = 0.0


class Link(threading.Thread):
    """The connection to one session of one server.

    Attributes:
        last_heard: Monotonic time of the server's last message.
        state: The session's, as last heard.
        trouble: Why the server cannot be talked to, where something is known; else empty.
    """

    def __init__(
        self,
        address: str,
        session_id: str,
        keys: ClientKeys | None = None,
        resend_s: float = RESEND_S,
    ) -> None:
        super().__init__(name="link", daemon=True)
        self._address, self._session, self._keys = address, session_id, keys
        self._resend_s = resend_s
        self._context: Context = zmq.Context()
        self._doorbell = Doorbell(self._context)
        self._inbox: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._pending: dict[str, _Request] = {}
        self._closing = False
        self._greeted_at = float("inf")
        self._says = self._said = ""
        self.last_heard = time.monotonic()
        self.state: msg.SessionState = "running"
        self.trouble = ""

    # --- for the main thread ------------------------------------------------------------------

    def name_session(self, session_id: str) -> None:
        """All further requests are about this session, and its `state` is kept up to date."""
        self._session = session_id
        self._greeted_at = time.monotonic()

    def request(self, body: msg.Body, frames: Sequence[memoryview] = ()) -> Future[msg.Body]:
        """Ask; the future holds the answer, or the `Refusal`."""
        return self._ask(body, lambda message: message.body, frames)

    def say(self, text: str) -> None:
        """Have the server know what this rig's screen says; empty: all is well."""
        if text != self._says:
            self._says, self._greeted_at = text, float("-inf")
            self._doorbell.ring()

    def block(self, index: int) -> Future[Block | msg.Finished]:
        """Ask for a block until it is ready, or there is none any more."""
        return self._ask(msg.NextBlock(block_index=index), partial(_block_or_end, index))

    def close(self) -> None:
        """Drop the connection; what is on its way is abandoned."""
        self._closing = True
        self._doorbell.ring()
        self.join()

    def _ask(
        self,
        body: msg.Body,
        read: Callable[[Message], Any],
        frames: Sequence[memoryview] = (),
    ) -> Future[Any]:
        request = _Request(body, Future(), read, frames)
        self._inbox.put(request)
        self._doorbell.ring()
        return request.answer

    # --- the I/O thread -----------------------------------------------------------------------

    def run(self) -> None:
        """Send, resend, receive, until `close`."""
        self._connect()
        try:
            while not self._closing:
                ready = self._poller.poll(TURN_MS)
                self._doorbell.answer()
                while not self._inbox.empty():
                    request = self._inbox.get()
                    self._pending[request.id] = request
                if any(socket is self._monitor for socket, _ in ready):
                    self._handshake_failed(recv_monitor_message(self._monitor))
                self._receive()
                self._greet()
                self._send_due()
        finally:
            self._disconnect()
            self._doorbell.close()
            self._context.term()

    def _connect(self) -> None:
        self._connected_at = time.monotonic()
        self._socket: Socket = connect(self._context, zmq.DEALER, self._address, self._keys)
        self._monitor: Any = self._socket.get_monitor_socket(HANDSHAKE_FAILURES)
        self._poller = zmq.Poller()
        for socket in (self._socket, self._doorbell.socket, self._monitor):
            self._poller.register(socket, zmq.POLLIN)

    def _disconnect(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close()

    def _greet(self) -> None:
        """About once a second, unless it was asked for something else meanwhile: the rig may be stopped.

        What its screen says goes along, also while a block is awaited.
        """
        now = time.monotonic()
        asked = any(isinstance(each.body, msg.Hello) for each in self._pending.values())
        quiet = not self._pending or self._says != self._said
        if quiet and not asked and now > self._greeted_at + GREETING_S:
            self._greeted_at, self._said = now, self._says
            greeting = _Request(msg.Hello(says=self._says), Future(), lambda message: message.body)
            self._pending[greeting.id] = greeting

    def _send_due(self) -> None:
        now = time.monotonic()
        if self._pending and now > self._silent_since() + max(RECONNECT_S, self._resend_s):
            self._disconnect()
            self._connect()
        due = [request for request in self._pending.values() if request.due <= now]
        for request in due:
            request.due = now + self._resend_s
            frames = encode(
                request.body, request_id=request.id, session=self._session, frames=request.frames
            )
            try:
                self._socket.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                logger.warning("the server takes no more messages; trying again")

    def _silent_since(self) -> float:
        """Since when something is asked and nothing is heard."""
        first_asked = min(request.asked for request in self._pending.values())
        return max(first_asked, self.last_heard, self._connected_at)

    def _receive(self) -> None:
        while True:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._take(decode(frames, msg.REPLIES))
            except MalformedMessage as error:
                logger.warning("dropped a message from the server: %s", error)

    def _take(self, message: Message) -> None:
        self.last_heard, self.trouble = time.monotonic(), ""
        request = self._pending.get(message.header.reply_to)
        if request is None:
            logger.debug("dropped an answer that nobody waits for: %s", message.header.kind)
            return
        match message.body:
            case msg.NotYet() as not_yet:
                self._note_state(not_yet)
                self._again(request, after_s=0)
            case msg.Refused(reason=msg.RefusalReason.LOG_UNWRITABLE, what=what):
                self.trouble = what
                self._again(request, after_s=RETRY_S)
            case msg.Refused() as refused:
                del self._pending[request.id]
                request.answer.set_exception(as_error(refused))
            case _:
                self._deliver(request, message)

    def _deliver(self, request: _Request, message: Message) -> None:
        try:
            answer = request.read(message)
        except MalformedMessage as error:
            logger.warning("asking again for %s: %s", request.body.kind, error)
            self._again(request, after_s=RETRY_S)
            return
        self._note_state(message.body)
        del self._pending[request.id]
        request.answer.set_result(answer)

    def _note_state(self, body: msg.Body) -> None:
        if self.state == "aborted":
            return
        if isinstance(body, msg.BlockReady):
            self.state = "running"
        elif isinstance(body, msg.Welcome | msg.NotYet | msg.Finished):
            self.state = body.state

    def _again(self, request: _Request, after_s: float) -> None:
        """The same question as a new request."""
        del self._pending[request.id]
        request.id = uuid.uuid4().hex
        request.asked = request.due = time.monotonic() + after_s
        self._pending[request.id] = request

    def _handshake_failed(self, happened: Mapping[str, Any]) -> None:
        error = not_admitted(happened, self._address, with_keys=self._keys is not None)
        if not self.trouble or happened["event"] != zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            self.trouble = str(error)
        if happened["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            for request in self._pending.values():
                request.answer.set_exception(error)
            self._pending.clear()


def _block_or_end(index: int, message: Message) -> Block | msg.Finished:
    if isinstance(message.body, msg.Finished):
        return message.body
    block = block_from(message)
    if block.index != index:
        raise MalformedMessage("this is another block", expected=index, got=block.index)
    return block
