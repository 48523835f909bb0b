"""The encoders' socket and the I/O thread that owns it. It never computes.

A request is known by its id and its contents: sent again, on whatever connection, it joins the job
that is under way, or gets the answer that is there already. Who waits hears `working` once a second.
"""

from __future__ import annotations

import hashlib
import json
import logging
import queue
import time
from collections import OrderedDict
from collections.abc import Mapping

import zmq

from protocols.errors import Refusal
from protocols.wire import encoder_messages as msg
from protocols.wire.channels import Context, Doorbell, bind
from protocols.wire.codec import BadRequest, Message, decode, encode, refusal
from protocols.wire.messages import RefusalReason
from protocols.wire.security import ServerKeys, authenticator
from synth_server.encoder_service.hosted import Hosted
from synth_server.encoder_service.jobs import Job, JobQueue
from synth_server.encoder_service.tasks import Answer, task_for
from synth_server.encoder_service.worker import Worker, failure, stopped

logger = logging.getLogger(__name__)

TURN_MS = 250
MESSAGES_PER_TURN = 16
WORKING_S = 1.0
"""Who waits for an answer hears at least so often that it is under way."""
UNWANTED_S = 30.0
"""A request is computed on for so long after its last asker went away: it may come back."""
MAX_REQUEST_BYTES = 512 * 2**20
KEPT_ANSWERS = 256
KEPT_BYTES = 256 * 2**20


class EncoderEndpoint:
    """Serves encoders until `close` is called.

    Args:
        encoders: By name.
        host: Interface to listen on; others than loopback need `keys`.
        port: 0 lets the system choose.
        n_threads: That torch may use.
    """

    def __init__(
        self,
        encoders: Mapping[str, Hosted],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: ServerKeys | None = None,
        n_threads: int = 1,
    ) -> None:
        self._encoders = dict(encoders)
        self._context: Context = zmq.Context()
        self._auth = authenticator(self._context, keys) if keys else None
        self._socket, self.address = bind(self._context, zmq.ROUTER, host, port, keys)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._doorbell = Doorbell(self._context)
        self._queue = JobQueue()
        self._done: queue.SimpleQueue[tuple[Job, Answer]] = queue.SimpleQueue()
        self._worker = Worker(self._queue, self._answered, n_threads)
        self._jobs: dict[str, Job] = {}
        self._answers = KeptAnswers()
        self._closing = False

    def run(self) -> None:
        """Serve; returns after `close`."""
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._doorbell.socket, zmq.POLLIN)
        self._worker.start()
        reminded = time.monotonic()
        try:
            while not self._closing:
                poller.poll(TURN_MS)
                self._doorbell.answer()
                self._receive()
                self._hand_out()
                if time.monotonic() > reminded + WORKING_S:
                    reminded = time.monotonic()
                    self._remind()
        finally:
            self._shut_down()

    def close(self) -> None:
        """End `run` at its next turn; may be called from any thread or a signal handler."""
        self._closing = True

    # --- incoming -----------------------------------------------------------------------------

    def _receive(self) -> None:
        for _ in range(MESSAGES_PER_TURN):
            try:
                identity, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                request = decode(frames, msg.ENCODER_REQUESTS)
            except BadRequest as error:
                logger.warning("refused a message from %s: %s", identity.hex(), error)
                answer = Answer(refusal(error, error.reason))
                self._send(identity, error.request_id, "", answer)
                continue
            answered = self._act(identity, request)
            if answered is not None:
                self._send(identity, request.header.id, request.header.session, answered)

    def _act(self, identity: bytes, request: Message) -> Answer | None:
        try:
            match request.body:
                case msg.ListEncoders():
                    summaries = (hosted.summary for hosted in self._encoders.values())
                    return Answer(msg.Encoders(encoders=tuple(summaries)))
                case msg.Cancel(request=name):
                    return Answer(msg.Cancelled(request=name, found=self._cancel(identity, name)))
                case _:
                    return self._take(identity, request)
        except Refusal as error:
            logger.info("refused %s: %s", request.header.kind, error)
            return Answer(refusal(error, RefusalReason(error.reason)))
        except Exception as error:
            logger.exception("%s failed", request.header.kind)
            return Answer(refusal(failure(error), RefusalReason.SERVER_FAILED))

    def _take(self, identity: bytes, request: Message) -> Answer | None:
        """Queue a request, unless it is known; then say how it stands."""
        n_bytes = sum(len(frame) for frame in request.frames)
        if n_bytes > MAX_REQUEST_BYTES:
            raise Refusal(
                RefusalReason.TOO_LARGE,
                "a request with so many images is too large",
                expected=f"at most {MAX_REQUEST_BYTES} bytes",
                got=n_bytes,
                remedy="ask about fewer images at a time",
            )
        key = request_key(request)
        known = self._answers.get(key)
        if known is not None:
            return known
        job = self._jobs.get(key) or self._new_job(key, request, n_bytes)
        again = identity in job.waiters
        if not job.waiters:
            job.stopped = None
        job.waiters[identity] = (request.header.id, request.header.session)
        job.unwanted_since = None
        return self._working(job) if again else None

    def _new_job(self, key: str, request: Message, n_bytes: int) -> Job:
        body = request.body
        deadline_s = body.deadline_s if isinstance(body, msg.Predict | msg.Synthesize) else None
        job = Job(
            key,
            task_for(request, self._encoders),
            n_bytes,
            urgent=isinstance(body, msg.Predict),
            deadline=float("inf") if deadline_s is None else time.monotonic() + deadline_s,
        )
        self._queue.put(job)
        self._jobs[key] = job
        return job

    def _cancel(self, identity: bytes, request_id: str) -> bool:
        """The asker leaves; the job is stopped if nobody else waits for it."""
        for job in self._jobs.values():
            if job.waiters.get(identity, ("", ""))[0] == request_id:
                if len(job.waiters) == 1:
                    self._stop(job, RefusalReason.CANCELLED)
                else:
                    asked = job.waiters.pop(identity)
                    self._send(identity, *asked, stopped(RefusalReason.CANCELLED))
                return True
        return False

    def _stop(self, job: Job, reason: RefusalReason) -> None:
        """A waiting job is answered at once, a running one when its computation takes notice."""
        job.stopped = job.stopped or reason
        if self._queue.drop(job):
            self._done.put((job, stopped(job.stopped)))
            self._doorbell.ring()

    # --- outgoing -----------------------------------------------------------------------------

    def _answered(self, job: Job, answer: Answer) -> None:
        """From the worker: answer at the I/O thread's next turn."""
        self._done.put((job, answer))
        self._doorbell.ring()

    def _hand_out(self) -> None:
        while not self._done.empty():
            job, answer = self._done.get()
            del self._jobs[job.key]
            if job.waiters or job.stopped is None:
                self._answers.keep(job.key, answer)
            for identity, (request_id, session) in job.waiters.items():
                self._send(identity, request_id, session, answer)

    def _remind(self) -> None:
        """Tell who waits how far their request is; forget who has gone, and what nobody wants."""
        now = time.monotonic()
        for job in self._jobs.values():
            working = self._working(job)
            gone = [
                identity
                for identity, (request_id, session) in job.waiters.items()
                if not self._send(identity, request_id, session, working)
            ]
            for identity in gone:
                del job.waiters[identity]
            if not job.waiters and job.unwanted_since is None:
                job.unwanted_since = now
            if job.unwanted_since is not None and now > job.unwanted_since + UNWANTED_S:
                self._stop(job, RefusalReason.CANCELLED)
            elif now > job.deadline:
                self._stop(job, RefusalReason.TOO_LATE)

    def _working(self, job: Job) -> Answer:
        if job.running:
            return Answer(msg.Working(state="running", ahead=0, done=job.done, total=job.total))
        running = any(other.running for other in self._jobs.values()) and not job.urgent
        ahead = self._queue.ahead_of(job) + running
        return Answer(msg.Working(state="queued", ahead=ahead, done=0, total=0))

    def _send(self, identity: bytes, request_id: str, session: str, answer: Answer) -> bool:
        """False if the peer is gone; one that does not read loses the message, and asks again."""
        frames = encode(answer.body, reply_to=request_id, session=session, frames=answer.frames)
        try:
            self._socket.send_multipart([identity, *frames], zmq.NOBLOCK, copy=False)
        except zmq.ZMQError as error:
            logger.info("a message was dropped: %s", error)
            return error.errno != zmq.EHOSTUNREACH
        return True

    def _shut_down(self) -> None:
        self._queue.finish()
        for job in self._jobs.values():
            job.stopped = RefusalReason.CANCELLED
        self._socket.close(linger=1000)
        self._worker.join()
        self._doorbell.close()
        if self._auth is not None:
            self._auth.stop()
        self._context.term()


class KeptAnswers:
    """The answers given last, for askers that lost theirs on the way."""

    def __init__(self, n_most: int = KEPT_ANSWERS, most_bytes: int = KEPT_BYTES) -> None:
        self._n_most, self._most_bytes = n_most, most_bytes
        self._kept: OrderedDict[str, Answer] = OrderedDict()
        self._n_bytes = 0

    def get(self, key: str) -> Answer | None:
        """The answer to the request of this key, if it is still there."""
        return self._kept.get(key)

    def keep(self, key: str, answer: Answer) -> None:
        """Keep one more; the oldest go when there are too many. The newest always stays."""
        self._kept[key] = answer
        self._n_bytes += _size(answer)
        while len(self._kept) > 1 and (
            len(self._kept) > self._n_most or self._n_bytes > self._most_bytes
        ):
            self._n_bytes -= _size(self._kept.popitem(last=False)[1])


def _size(answer: Answer) -> int:
    return sum(frame.nbytes for frame in answer.frames)


def request_key(request: Message) -> str:
    """Sha256 of a request's id and contents: two clients may use the same id."""
    header = request.header
    said = {"id": header.id, "kind": header.kind, "body": request.body.model_dump(mode="json")}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
    for frame in request.frames:
        digest.update(len(frame).to_bytes(8, "big"))
        digest.update(frame)
    return digest.hexdigest()
