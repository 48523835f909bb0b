"""Live progress in the terminal: how evolved images do against references, and the time left."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from protocols.documents import EventKind
from synth_server.readers.evolution.stability import warnings
from synth_server.readers.log.session_record import EvolutionRecord, EvolvedThread
from synth_server.readers.statistics.scores import scores
from synth_server.session.log import SessionLog
from synth_server.session.products import products_folder, read_progress

LINES = 12


class LiveProgress:
    """Redraws as the log grows; reads the log, and what lies beside it, so it can disturb nothing.

    Args:
        total_blocks: How many blocks the session will have, if it is known beforehand.
    """

    def __init__(self, console: Console, total_blocks: int | None) -> None:
        self.record = EvolutionRecord()
        self._last_seq = -1
        self._started = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("blocks, time left"),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._bar.add_task("session", total=total_blocks)
        self._computing = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=console
        )
        self._computed = self._computing.add_task("", total=None)
        self._is_computing = False
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._live = Live(self._picture(), console=console, refresh_per_second=4)

    def __enter__(self) -> LiveProgress:
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.record.end is not None:
            self._bar.update(self._task, total=self.record.n_answered)
        self._live.update(self._picture())
        self._live.stop()
        self._live.console.line()

    def read(self, log: SessionLog) -> bool:
        """Take in what is new in the log; True once the session has ended."""
        for event in log.events(after=self._last_seq):
            self._last_seq = event.seq
            self.record.feed(event)
            if event.kind is EventKind.RESPONSES_RECEIVED:
                self._bar.update(self._task, completed=self.record.n_answered)
                name = self.record.digests[-1][0]["thread"]
                self._warnings[name] = warnings(self.record.threads[name])
        self._look_at_computing(log)
        self._live.update(self._picture())
        return self.record.end is not None

    def _look_at_computing(self, log: SessionLog) -> None:
        """What the server computes between two blocks, if it takes long enough to say so."""
        progress = read_progress(products_folder(log.path))
        self._is_computing = progress is not None
        if progress is not None:
            what, done, total = progress
            self._computing.update(self._computed, description=what, completed=done, total=total)

    def _picture(self) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("thread", "generation", "evolved mean", "best", "reference mean", "best"):
            table.add_column(name, justify="left" if name == "thread" else "right")
        evolving = [thread for thread in self.record.threads.values() if thread.generations]
        for thread in evolving[:LINES]:
            table.add_row(*_cells(thread))
        parts: list[RenderableType] = [table, self._bar] if evolving else [self._bar]
        said = [line for lines in self._warnings.values() for line in lines]
        parts += [Text(line, style="yellow") for line in said[:LINES]]
        return Group(*parts, self._computing) if self._is_computing else Group(*parts)


def _cells(thread: EvolvedThread) -> tuple[str, ...]:
    number = max(thread.generations)
    generation = thread.generations[number]
    evolved, reference = scores(generation.evolved), scores(generation.reference)
    figures = (evolved.mean, evolved.best, reference.mean, reference.best)
    return (thread.name, str(number), *("–" if f is None else f"{f:.2f}" for f in figures))
