"""Independent computations on all cores, each on one torch thread: the bits are those of one core.

Threads share the networks, and torch computes without the interpreter's lock. A sum that one thread
makes keeps its order, however many others work beside it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import ParamSpec, TypeVar

import torch

from encoders.backbones.one_thread import one_thread

T = TypeVar("T")
P = ParamSpec("P")


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_parallel(tasks: Sequence[Callable[[], T]], workers: int = 1) -> list[T]:
    """The results of `tasks`, in their order.

    Args:
        tasks: They depend on nothing that another of them changes.
        workers: How many are computed at a time, each on one torch thread. With 1, they are computed
            one after another on the calling thread, with the torch threads that it has.

    Raises:
        Exception: The first that a task raised; tasks that have not begun then never do.
    """
    if workers <= 1 or len(tasks) <= 1:
        return [task() for task in tasks]
    with one_thread(), ThreadPoolExecutor(workers, initializer=_on_one_torch_thread) as pool:
        futures = [pool.submit(task) for task in tasks]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = [each for each in futures if each in done and each.exception() is not None]
        if failed:
            pool.shutdown(wait=True, cancel_futures=True)
            failed[0].result()
        return [each.result() for each in futures]


def one_at_a_time(function: Callable[P, None]) -> Callable[P, None]:
    """`function`, which several threads may call, and which none enters while another is in it."""
    lock = threading.Lock()

    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        with lock:
            function(*args, **kwargs)

    return guarded


def _on_one_torch_thread() -> None:
    torch.set_num_threads(1)
