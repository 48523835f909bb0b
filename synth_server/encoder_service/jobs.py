"""Requests that are to be computed: a bounded queue, predictions first."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field

from protocols.errors import Refusal
from protocols.wire.messages import RefusalReason
from synth_server.encoder_service.tasks import Task

MAX_QUEUED = 64
MAX_QUEUED_BYTES = 512 * 2**20


class Stopped(Exception):
    """Raised inside a computation that nobody waits for any more."""


@dataclass(eq=False)
class Job:
    """One request on its way to its answer.

    The I/O thread owns `waiters` and `unwanted_since`; it sets `stopped`, and the worker obeys. The
    worker sets the rest.

    Attributes:
        key: Of the request: its id and its contents.
        n_bytes: What it holds of the queue's memory.
        urgent: Goes before those that are not, in between their steps too.
        deadline: When nobody needs the answer any more, on the monotonic clock.
        waiters: Who asked → the request's id and session, as they have to be repeated.
        unwanted_since: When the last waiter went away.
        stopped: Why it is not to be computed (any further).
    """

    key: str
    task: Task
    n_bytes: int
    urgent: bool
    deadline: float = float("inf")
    waiters: dict[bytes, tuple[str, str]] = field(default_factory=dict)
    unwanted_since: float | None = None
    stopped: RefusalReason | None = None
    running: bool = False
    done: int = 0
    total: int = 0


class JobQueue:
    """Between the I/O thread that fills it and the worker that empties it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._urgent: deque[Job] = deque()
        self._patient: deque[Job] = deque()
        self._finished = False

    def put(self, job: Job) -> None:
        """Queue a job.

        Raises:
            Refusal: `busy`, if there is no room for it.
        """
        with self._changed:
            waiting = [*self._urgent, *self._patient]
            n_bytes = sum(one.n_bytes for one in waiting) + job.n_bytes
            if len(waiting) >= MAX_QUEUED or (waiting and n_bytes > MAX_QUEUED_BYTES):
                raise Refusal(
                    RefusalReason.BUSY,
                    "too many requests are waiting",
                    expected=f"at most {MAX_QUEUED} requests, {MAX_QUEUED_BYTES} bytes",
                    got=f"{len(waiting)} requests; with this one, {n_bytes} bytes",
                    remedy="ask again in a while",
                )
            (self._urgent if job.urgent else self._patient).append(job)
            self._changed.notify()

    def take(self) -> Job | None:
        """Wait for the next job; None once `finish` was called."""
        with self._changed:
            self._changed.wait_for(lambda: self._finished or self._urgent or self._patient)
            if self._finished:
                return None
            return (self._urgent or self._patient).popleft()

    def take_urgent(self) -> Job | None:
        """The next urgent job, if there is one."""
        with self._changed:
            return self._urgent.popleft() if self._urgent and not self._finished else None

    def ahead_of(self, job: Job) -> int:
        """How many waiting jobs are taken before `job`."""
        with self._changed:
            if job in self._urgent:
                return self._urgent.index(job)
            if job in self._patient:
                return len(self._urgent) + self._patient.index(job)
            return 0

    def drop(self, job: Job) -> bool:
        """Take `job` out; False if it is not waiting (any more)."""
        with self._changed:
            queue = self._urgent if job.urgent else self._patient
            if job not in queue:
                return False
            queue.remove(job)
            return True

    def finish(self) -> None:
        """Let `take` return None from now on."""
        with self._changed:
            self._finished = True
            self._changed.notify_all()
