"""The worker thread: the only one that computes. Responses in, blocks out."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from protocols.documents import ThreadSettings
from protocols.errors import LogError, Refusal, StimloopError
from protocols.vocabulary import BlockResponses
from protocols.wire.codec import refusal
from protocols.wire.messages import Body, RefusalReason, Refused, StatusReport
from synth_server.session.session import Session

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Responses to take in, or a thread to add (neither: just propose again), and whom to tell."""

    session: Session
    responses: BlockResponses | None
    reply: Callable[[Body], None]
    thread: ThreadSettings | None = None


class Worker(threading.Thread):
    """Takes jobs in order, for all sessions of the server.

    Args:
        wake: Called after every job: a block may be ready.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        super().__init__(name="worker", daemon=True)
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._wake = wake

    def submit(self, job: Job) -> None:
        """Queue a job; returns at once."""
        self._jobs.put(job)

    def finish(self) -> None:
        """Let the jobs in the queue be done, then end the thread."""
        self._jobs.put(None)

    def run(self) -> None:
        """Work until `finish`."""
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            except Exception as error:
                job.session.failure = f"{type(error).__name__}: {error}"
                logger.exception("session %s failed", job.session.session_id)
                job.reply(failed(job.session.failure))
            self._wake()

    def _do(self, job: Job) -> None:
        session = job.session
        try:
            if job.responses is not None:
                accepted = session.record(job.responses)
                job.reply(accepted)
                if not accepted.duplicate:
                    session.learn(job.responses)
            if job.thread is not None:
                session.add_thread(job.thread)
                job.reply(StatusReport(sessions=(session.status,)))
            session.advance()
            session.log_problem = None
        except Refusal as error:
            job.reply(refused(error))
        except LogError as error:
            session.log_problem = error
            logger.error("session %s: %s", session.session_id, error)
            job.reply(refusal(error, RefusalReason.LOG_UNWRITABLE))


def refused(error: Refusal) -> Refused:
    """The message that tells the peer of a refusal."""
    return refusal(error, RefusalReason(error.reason))


def failed(error: StimloopError | str) -> Refused:
    """The message that tells the peer that the server cannot go on."""
    return Refused(
        reason=RefusalReason.SERVER_FAILED,
        what=f"the server cannot go on with this session: {error}"[:10_000],
        remedy="see the server's output; then: synth-server serve --resume SESSION",
    )
