"""The endpoint: the I/O thread that owns the server's sockets. It never computes.

Work comes in on a ROUTER; status, pause, stop and abort on a second one that is never behind a
block; watchers listen to a PUB. Whatever arrives is answered, or dropped with a logged reason.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import zmq

from protocols.documents import Event
from protocols.errors import LogError, Refusal
from protocols.wire import messages as msg
from protocols.wire.channels import Context, Doorbell, Socket, bind
from protocols.wire.codec import (
    BadRequest,
    Message,
    decode,
    encode,
    image_frames,
    refusal,
    responses_from,
)
from protocols.wire.security import ServerKeys, authenticator
from synth_server.ports import Addresses, Ports
from synth_server.session.session import Session
from synth_server.worker import Job, Worker, failed, refused

logger = logging.getLogger(__name__)

PARKING_S = 1.0
"""How long a request for a block that is being computed waits before it is told `not_yet`."""
MESSAGES_PER_TURN = 64
TURN_MS = 250
FAREWELL_S = 30.0
"""How long a server that ends with its sessions waits for a rig to say goodbye."""


@dataclass(frozen=True)
class Asker:
    """Who asked what, on which socket."""

    socket: Socket
    identity: bytes
    request: Message


@dataclass(frozen=True)
class Answer:
    """A message on its way out: its body, and its raw frames."""

    body: msg.Body
    frames: Sequence[memoryview] = ()


class Endpoint:
    """Serves sessions until `close` is called, or all are over.

    Args:
        sessions: By session id.
        host: Interface to listen on; others than loopback need `keys`.
        exit_when_over: Return from `run` once every session has ended and its rig has left.
    """

    def __init__(
        self,
        sessions: Mapping[str, Session],
        *,
        host: str = "127.0.0.1",
        ports: Ports | None = None,
        keys: ServerKeys | None = None,
        exit_when_over: bool = False,
    ) -> None:
        self._sessions = dict(sessions)
        self._exit_when_over = exit_when_over
        self._context: Context = zmq.Context()
        self._auth = authenticator(self._context, keys) if keys else None
        ports = ports or Ports()
        self._work, work = bind(self._context, zmq.ROUTER, host, ports.work, keys)
        self._control, control = bind(self._context, zmq.ROUTER, host, ports.control, keys)
        self._events, events = bind(self._context, zmq.PUB, host, ports.events, keys)
        self.addresses = Addresses(work, control, events)
        self._doorbell = Doorbell(self._context)
        self._outbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._worker = Worker(self._doorbell.ring)
        self._parked: dict[tuple[bytes, str], tuple[Asker, float]] = {}
        self._left: set[str] = set()
        self._over_since = float("inf")
        self._closing = self._finishing = self._has_told = False
        self._handed_out: dict[str, int] = {}
        for name, session in self._sessions.items():
            session.publish = partial(self._publish_later, name)

    def run(self) -> None:
        """Serve; returns after `close`, or when all is over."""
        poller = zmq.Poller()
        for socket in (self._work, self._control, self._doorbell.socket):
            poller.register(socket, zmq.POLLIN)
        self._worker.start()
        for session in self._sessions.values():
            self._try_again(session)
        try:
            while not (self._closing or self._all_over() or self._has_finished()):
                ready = dict(poller.poll(TURN_MS))
                if self._control in ready:
                    self._serve(self._control, msg.CONTROL_REQUESTS, self._on_control)
                if self._work in ready:
                    self._serve(self._work, msg.WORK_REQUESTS, self._on_work)
                self._doorbell.answer()
                self._empty_outbox()
                self._answer_parked()
        finally:
            self._shut_down()

    def close(self) -> None:
        """End `run` at its next turn; may be called from any thread or a signal handler."""
        self._closing = True

    def finish(self) -> None:
        """End `run` once every block that a rig holds is answered; hand out no further one.

        May be called as `close` may. Sessions go on another time, from their logs.
        """
        self._finishing = True

    # --- incoming -----------------------------------------------------------------------------

    def _serve(
        self,
        socket: Socket,
        known: Sequence[type[msg.Body]],
        act: Callable[[Asker], Answer | None],
    ) -> None:
        for _ in range(MESSAGES_PER_TURN):
            try:
                identity, *frames = socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._serve_one(socket, identity, frames, known, act)

    def _serve_one(
        self,
        socket: Socket,
        identity: bytes,
        frames: list[bytes],
        known: Sequence[type[msg.Body]],
        act: Callable[[Asker], Answer | None],
    ) -> None:
        try:
            request = decode(frames, known)
        except BadRequest as error:
            logger.warning("refused a message from %s: %s", identity.hex(), error)
            frames_out = encode(refusal(error, error.reason), reply_to=error.request_id)
            self._send(socket, identity, frames_out)
            return
        asker = Asker(socket, identity, request)
        answer = self._answer(asker, act)
        if answer is not None:
            self._reply(asker, answer)

    def _answer(self, asker: Asker, act: Callable[[Asker], Answer | None]) -> Answer | None:
        kind = asker.request.header.kind
        try:
            return act(asker)
        except Refusal as error:
            logger.info("refused %s: %s", kind, error)
            return Answer(refused(error))
        except BadRequest as error:
            logger.warning("refused %s: %s", kind, error)
            return Answer(refusal(error, error.reason))
        except LogError as error:
            logger.error("%s", error)
            return Answer(refusal(error, msg.RefusalReason.LOG_UNWRITABLE))
        except Exception as error:
            logger.exception("%s failed", kind)
            return Answer(failed(f"{type(error).__name__}: {error}"))

    def _on_work(self, asker: Asker) -> Answer | None:
        session = self._session(asker.request.header.session)
        match asker.request.body:
            case msg.Hello(says=says):
                session.rig_says = says
                return Answer(_welcome(session))
            case msg.Attach() as request:
                session.attach(request)
                self._left.discard(session.session_id)
                return Answer(msg.Attached(next_block=session.n_answered))
            case msg.NextBlock(block_index=index):
                answer = self._block_answer(session, index)
                if answer is None:
                    self._park(session, asker)
                return answer
            case msg.SubmitResponses():
                responses = responses_from(asker.request)
                self._worker.submit(Job(session, responses, partial(self._reply_later, asker)))
            case msg.Goodbye():
                if session.is_over:
                    session.end()
                    self._left.add(session.session_id)
                return Answer(msg.Farewell())
        return None

    def _block_answer(self, session: Session, index: int) -> Answer | None:
        """The answer to a `NextBlock`; None while the block is being computed or withheld."""
        block = session.block(index)
        over = msg.Finished(state=session.state, n_blocks=session.n_proposed)
        if session.state == "aborted":
            return Answer(over)
        if block is not None and (session.state == "paused" or self._is_withheld(session, index)):
            return None
        if block is not None:
            self._handed_out[session.session_id] = max(
                index, self._handed_out.get(session.session_id, index)
            )
            return Answer(
                msg.BlockReady(block=block.document()),
                image_frames(block.distinct_images().values()),
            )
        if session.has_ended:
            return Answer(over)
        return Answer(failed(session.failure)) if session.failure else None

    def _on_parked(self, asker: Asker) -> Answer | None:
        request = asker.request.body
        index = request.block_index if isinstance(request, msg.NextBlock) else 0
        return self._block_answer(self._session(asker.request.header.session), index)

    def _park(self, session: Session, asker: Asker) -> None:
        key = (asker.identity, asker.request.header.id)
        self._parked.setdefault(key, (asker, time.monotonic() + PARKING_S))
        if session.log_problem is not None:
            self._try_again(session)

    def _try_again(self, session: Session) -> None:
        """Let the worker propose what it can; nobody waits for an answer."""
        self._worker.submit(Job(session, None, _to_nobody))

    def _on_control(self, asker: Asker) -> Answer | None:
        name, request = asker.request.header.session, asker.request.body
        if isinstance(request, msg.Status) and not name:
            return _report(*self._sessions.values())
        session = self._session(name)
        if isinstance(request, msg.AddThread):
            reply = partial(self._reply_later, asker)
            self._worker.submit(Job(session, None, reply, request.thread))
            return None
        if isinstance(request, msg.Finish | msg.DropSite | msg.Retarget | msg.Place):
            session.steer(request)
        elif not isinstance(request, msg.Status):
            session.control(request.kind, getattr(request, "text", ""))
            self._try_again(session)
        return _report(session)

    def _session(self, name: str) -> Session:
        if not name and len(self._sessions) == 1:
            return next(iter(self._sessions.values()))
        if name not in self._sessions:
            raise Refusal(
                msg.RefusalReason.UNKNOWN_SESSION,
                "this server does not serve that session" if name else "which session?",
                expected=", ".join(self._sessions),
                got=name,
                remedy="name one of these in the header (rig.toml: session_id)",
            )
        return self._sessions[name]

    # --- outgoing -----------------------------------------------------------------------------

    def _reply(self, asker: Asker, answer: Answer) -> None:
        header = asker.request.header
        frames = encode(
            answer.body, reply_to=header.id, session=header.session, frames=answer.frames
        )
        self._send(asker.socket, asker.identity, frames)

    def _reply_later(self, asker: Asker, body: msg.Body) -> None:
        """From the worker: answer at the I/O thread's next turn."""
        self._outbox.put(partial(self._reply, asker, Answer(body)))
        self._doorbell.ring()

    def _publish_later(self, name: str, event: Event) -> None:
        happened = msg.Happened(seq=event.seq, event=event.kind, document=event.document)
        frames = encode(happened, session=name)
        self._outbox.put(partial(self._send, self._events, name.encode(), frames))
        self._doorbell.ring()

    def _send(self, socket: Socket, first: bytes, frames: Sequence[bytes | memoryview]) -> None:
        """To a peer (ROUTER) or on a topic (PUB); a peer that does not read loses the message."""
        try:
            socket.send_multipart([first, *frames], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            logger.warning("a message was dropped: %s", error)

    def _empty_outbox(self) -> None:
        while not self._outbox.empty():
            self._outbox.get()()

    def _answer_parked(self) -> None:
        now = time.monotonic()
        for key, (asker, deadline) in list(self._parked.items()):
            session = self._session(asker.request.header.session)
            answer = self._answer(asker, self._on_parked)
            if answer is None and now >= deadline:
                answer = _why_not_yet(session)
            if answer is not None:
                del self._parked[key]
                self._reply(asker, answer)

    # --- the end ------------------------------------------------------------------------------

    def _all_over(self) -> bool:
        if not self._exit_when_over or not all(s.is_over for s in self._sessions.values()):
            return False
        self._over_since = min(self._over_since, time.monotonic())
        everybody_left = set(self._sessions) <= self._left
        return everybody_left or time.monotonic() > self._over_since + FAREWELL_S

    def _is_withheld(self, session: Session, index: int) -> bool:
        """Whether the server is about to end, and no rig has that block yet."""
        return self._finishing and index > self._handed_out.get(session.session_id, -1)

    def _has_finished(self) -> bool:
        if not self._finishing:
            return False
        held = {
            name: range(session.n_answered, self._handed_out.get(name, -1) + 1)
            for name, session in self._sessions.items()
            if not session.is_over
        }
        waiting_for = [f"{name}, block {blocks[0]}" for name, blocks in held.items() if blocks]
        if waiting_for and not self._has_told:
            logger.info(
                "finishing what rigs hold (%s); Ctrl-C again to end now", "; ".join(waiting_for)
            )
            self._has_told = True
        return not waiting_for

    def _shut_down(self) -> None:
        for session in self._sessions.values():
            session.halt()
        self._worker.finish()
        self._worker.join()
        for session in self._sessions.values():
            if session.is_over:
                session.end()
        self._empty_outbox()
        for socket in (self._work, self._control, self._events):
            socket.close(linger=1000)
        self._doorbell.close()
        if self._auth is not None:
            self._auth.stop()
        self._context.term()
        for session in self._sessions.values():
            session.log.close()


def _welcome(session: Session) -> msg.Welcome:
    return msg.Welcome(
        session_id=session.session_id,
        seed=session.settings.seed,
        state=session.state,
    )


def _report(*sessions: Session) -> Answer:
    return Answer(msg.StatusReport(sessions=tuple(session.status for session in sessions)))


def _why_not_yet(session: Session) -> Answer:
    if session.log_problem is not None:
        return Answer(refusal(session.log_problem, msg.RefusalReason.LOG_UNWRITABLE))
    return Answer(msg.NotYet(state=session.state))


def _to_nobody(_body: msg.Body) -> None:
    """Where nobody asked."""
