"""What both commands do around their work: look for collisions, log, and tell errors to people."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from protocols.errors import StimloopError
from protocols.installation import check_no_name_collision, missing_extra
from protocols.parent_process import end_with_parent

stderr = Console(stderr=True)
QUIET_S = 30.0
"""Where output goes to a file, work that takes long says so at such intervals."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[..., None]]:
    """A bar on standard error with the time left; no terminal: a line every half minute.

    Yields:
        A function of (steps done, steps in all, and in words what is done now if that changes).
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        told_s = time.monotonic()

        def step(done: int, total: int, doing: str = "") -> None:
            nonlocal told_s
            description = f"{what} {doing}".strip()
            bar.update(task, completed=done, total=total, description=description)
            if not stderr.is_terminal and time.monotonic() > told_s + QUIET_S:
                told_s = time.monotonic()
                stderr.print(f"{what}: {done} of {total}", highlight=False)

        yield step


def _tell(error: StimloopError) -> None:
    stderr.print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
    sys.exit(1)


def run(command: Callable[[], object]) -> None:
    """Run a command; a named error becomes a message and exit status 1, never a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        end_with_parent()
        check_no_name_collision()
        command()
    except StimloopError as error:
        _tell(error)
    except ModuleNotFoundError as error:
        if (missing := missing_extra(error)) is None:
            raise
        _tell(missing)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
