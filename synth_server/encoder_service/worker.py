"""The thread that computes: one request at a time, and predictions in between a synthesis' steps."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import torch

from protocols.errors import Refusal, SettingsError, StimloopError
from protocols.wire.codec import refusal
from protocols.wire.messages import RefusalReason
from synth_server.encoder_service.jobs import Job, JobQueue, Stopped
from synth_server.encoder_service.tasks import Answer

logger = logging.getLogger(__name__)

WHY_STOPPED = {
    RefusalReason.CANCELLED: "the request was cancelled",
    RefusalReason.TOO_LATE: "the answer was not ready within deadline_s",
}


class Worker(threading.Thread):
    """Empties the queue.

    Args:
        answered: Told of every job that is done, with its answer; called in this thread.
        n_threads: That torch may use.
    """

    def __init__(
        self, queue: JobQueue, answered: Callable[[Job, Answer], None], n_threads: int
    ) -> None:
        super().__init__(name="encoders", daemon=True)
        self._queue, self._answered, self._n_threads = queue, answered, n_threads

    def run(self) -> None:
        """Work until the queue is finished."""
        torch.set_num_threads(self._n_threads)
        while (job := self._queue.take()) is not None:
            self._do(job)

    def _do(self, job: Job) -> None:
        job.running = True
        try:
            answer = job.task(lambda done, total: self._between_steps(job, done, total))
        except Stopped:
            answer = stopped(job.stopped or RefusalReason.CANCELLED)
        except Refusal as error:
            answer = Answer(refusal(error, RefusalReason(error.reason)))
        except SettingsError as error:
            answer = Answer(refusal(error, RefusalReason.SETTINGS_REFUSED))
        except Exception as error:
            logger.exception("a request failed")
            answer = Answer(refusal(failure(error), RefusalReason.SERVER_FAILED))
        self._answered(job, answer)

    def _between_steps(self, job: Job, done: int, total: int) -> None:
        job.done, job.total = done, total
        while not job.urgent and (urgent := self._queue.take_urgent()) is not None:
            self._do(urgent)
        if job.stopped is None and time.monotonic() > job.deadline:
            job.stopped = RefusalReason.TOO_LATE
        if job.stopped is not None:
            raise Stopped


def stopped(reason: RefusalReason) -> Answer:
    """What those are told whose request was not computed (to its end)."""
    return Answer(refusal(StimloopError(WHY_STOPPED[reason]), reason))


def failure(error: Exception) -> StimloopError:
    """An error of any kind as one that a client can be told."""
    if isinstance(error, StimloopError):
        return error
    return StimloopError(
        "the encoder could not compute this",
        got=f"{type(error).__name__}: {error}",
        remedy="see the server's output",
    )
