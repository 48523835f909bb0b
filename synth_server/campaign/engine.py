"""Cells on many workers, by Dask distributed: a local cluster, or a scheduler that is there already."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from itertools import islice
from typing import Any

from protocols.errors import LinkLost, SettingsError
from synth_server.campaign.cell_run import Row, Task, run_cell

CONNECT_S = 30
AHEAD = 2
"""Cells that are submitted for each worker: one is computed, one waits."""
LEAST_AHEAD, MOST_AHEAD = 4, 2000
LOOK_AFTER = 20
"""Results, after which workers are counted again: some may have joined."""
DEATHS_ALLOWED = 10
"""Of workers that hold a cell, until it is the cell's fault; of a local cluster."""
LOCAL = {
    "distributed.scheduler.allowed-failures": DEATHS_ALLOWED,
    "distributed.worker.memory.terminate": 0.98,
    "distributed.worker.daemon": False,
    "distributed.admin.low-level-log-length": 100,
    "distributed.scheduler.dashboard.tasks.task-stream-length": 1000,
}


class SchedulerLost(LinkLost):
    """The scheduler is gone, and with it what was under way; results so far are kept."""


@contextmanager
def connected(workers: int | None, scheduler: str = "") -> Iterator[Any]:
    """A Dask client: of `scheduler`, or of a local cluster of `workers` processes; None: one a core.

    Workers have one thread each, and so have torch and BLAS in them: a worker is a core.

    Raises:
        ModuleNotFoundError: Without the extra `campaign`.
        SettingsError: If nobody answers at `scheduler`.
    """
    dask, distributed = import_module("dask"), _distributed()

    logging.getLogger("distributed").setLevel(logging.ERROR)
    with ExitStack() as stack:
        if scheduler:
            yield stack.enter_context(_client_of(scheduler))
            return
        stack.enter_context(dask.config.set(LOCAL))
        cluster = distributed.LocalCluster(
            n_workers=workers or import_module("dask.system").CPU_COUNT,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=logging.ERROR,
        )
        stack.enter_context(cluster)
        yield stack.enter_context(distributed.Client(cluster))


def _distributed() -> Any:
    """Dask distributed, which has no types; imported when a campaign needs it."""
    return import_module("distributed")


def _client_of(scheduler: str) -> Any:
    try:
        return _distributed().Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SettingsError(
            "no Dask scheduler answers",
            where=f"--scheduler {scheduler}",
            expected="the address that it printed when it began, such as tcp://10.0.0.5:8786",
            got=error,
            remedy="start it (dask scheduler; or dask-jobqueue), or leave --scheduler away",
        ) from None


def compute(client: Any, tasks: Iterable[Task], note: Callable[[Row], None]) -> None:
    """Compute `tasks` and give each result to `note`, as they come.

    At any time only some tasks are known to the scheduler, so that neither it nor this process grows
    with the length of a campaign.

    Raises:
        SchedulerLost: If the scheduler is gone: what has not been noted is still to be computed.
    """
    waiting = iter(tasks)
    coming = _distributed().as_completed(loop=client.loop)
    n_ahead = _ahead(client)
    for task in islice(waiting, n_ahead):
        coming.add(_submitted(client, task))
    for n_noted, future in enumerate(coming, 1):
        note(_row(future))
        if n_noted % LOOK_AFTER == 0:
            n_ahead = _ahead(client)
        for task in islice(waiting, max(1, n_ahead - coming.count())):
            coming.add(_submitted(client, task))


def _ahead(client: Any) -> int:
    """How many cells the scheduler should know of now.

    Raises:
        SchedulerLost: If it does not say how many workers it has.
    """
    return min(MOST_AHEAD, max(LEAST_AHEAD, AHEAD * n_workers(client)))


def n_workers(client: Any) -> int:
    """Cells that can be computed at a time now; 0: workers are still to come.

    Raises:
        SchedulerLost: If the scheduler does not answer.
    """
    try:
        return int(sum(client.nthreads().values()))
    except Exception as error:
        raise SchedulerLost("the scheduler does not answer", got=error) from error


def _submitted(client: Any, task: Task) -> Any:
    try:
        return client.submit(run_cell, task, key=f"stimloop-cell-{task.name}", pure=False)
    except Exception as error:
        raise SchedulerLost("the scheduler takes no cells", got=error) from error


def _row(future: Any) -> Row:
    """The result of a finished future; what killed its workers is the cell's failure.

    Raises:
        SchedulerLost: If the future was given up, not computed.
    """
    name = future.key.removeprefix("stimloop-cell-")
    if future.status == "finished":
        try:
            return Row.model_validate(future.result())
        except Exception as error:
            raise SchedulerLost("a result did not arrive", got=error) from error
    if future.status != "error":
        raise SchedulerLost("the scheduler has dropped a cell", got=future.status)
    failure = future.exception()
    what = type(failure).__name__
    told = (
        "every worker that took this cell died: out of memory?"
        if what == "KilledWorker"
        else f"{what}: {failure}"[:2000]
    )
    return Row(name=name, state="failed", error=told)
