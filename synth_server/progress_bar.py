"""A bar on the terminal for work of a known length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from protocols.command_line import stderr


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Gives a function that takes (steps done, steps in all, what is being done)."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr) as shown:
        task = shown.add_task(what, total=None)

        def step(done: int, total: int, doing: str) -> None:
            shown.update(task, completed=done, total=total, description=f"{what} {doing}".strip())

        yield step
