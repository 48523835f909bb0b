"""A campaign from its file to its table: computes what is missing, however often it was broken off."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from protocols.errors import DataError, SettingsError
from protocols.replacing import replace_file
from synth_server.campaign.cell_run import Row, Task, task_of
from synth_server.campaign.cells import Cell, distinct_cells
from synth_server.campaign.document import CampaignSettings
from synth_server.campaign.engine import SchedulerLost, compute, n_workers
from synth_server.campaign.figure import draw_campaign
from synth_server.campaign.rows import Rows, only_writer
from synth_server.campaign.summary import CampaignSummary, check_compare, summarise
from synth_server.campaign.table import Table

logger = logging.getLogger(__name__)
SUMMARY, LOGS = "campaign.json", "logs"
RESTARTS = 20
"""How often a lost scheduler is looked for again, each time for half a minute."""
Connect: TypeAlias = Callable[[], AbstractContextManager[Any]]


class Progress(NamedTuple):
    """How far a campaign is; `workers` when it began, or began again."""

    n_cells: int
    n_done: int
    n_failed: int
    dashboard: str = ""
    workers: int = 0


Tell: TypeAlias = Callable[[Progress], None]


class Campaign:
    """One campaign and its folder.

    Args:
        settings: Which cells.
        folder: Gets `cells/`, one file a result; `table.parquet`, `campaign.json`, `campaign.png`.

    Raises:
        StimloopError: If a cell's settings are wrong, or the comparison asks for what no cell has.
    """

    def __init__(self, settings: CampaignSettings, folder: Path) -> None:
        self.settings, self.folder = settings, folder
        self.cells: list[Cell] = distinct_cells(settings.dry_runs())
        check_compare(settings, Table(self.cells, {}))
        if not self.cells:
            raise SettingsError("this campaign has no cells", expected="[grid] or [[cells]]")

    def run(self, connect: Connect, tell: Tell = lambda _progress: None) -> CampaignSummary:
        """Compute what is missing, then write the results.

        Args:
            connect: Gives a Dask client; see `engine.connected`.
            tell: Told after every cell.

        Raises:
            SettingsError: If another campaign writes into the folder.
            ResultNotKept: If a result cannot be written; those before it are kept.
            SchedulerLost: If the scheduler is gone for good; likewise.
        """
        rows = Rows(self.folder)
        with only_writer(self.folder):
            try:
                self._compute(rows, connect, tell)
            finally:
                summary = self.write(rows)
        return summary

    def _compute(self, rows: Rows, connect: Connect, tell: Tell) -> None:
        names = [cell.name for cell in self.cells]
        done, failed = rows.done(names), set[str]()
        for attempt in range(RESTARTS + 1):
            left = [c for c in self.cells if c.name not in done and c.name not in failed]
            if not left:
                tell(Progress(len(names), len(done), len(failed)))
                return
            try:
                with connect() as client:
                    state = _Noting(rows, done, failed, len(names), client, tell)
                    compute(client, self._tasks(left), state.note)
            except (SchedulerLost, SettingsError) as error:
                lost = isinstance(error, SchedulerLost) or attempt > 0
                if attempt == RESTARTS or not lost:
                    raise
                logger.warning("the scheduler is gone, and is looked for again: %s", error.what)

    def _tasks(self, cells: list[Cell]) -> Iterator[Task]:
        logs = (self.folder / LOGS).absolute()
        for cell in cells:
            kept = str(logs / f"{cell.name}.sqlite") if self.settings.keep_logs else ""
            yield task_of(cell, kept)

    def write(self, rows: Rows) -> CampaignSummary:
        """Write table, summary and figure from the results so far.

        Raises:
            DataError: If a file cannot be written.
        """
        known = {c.name: row for c in self.cells if (row := rows.read(c.name)) is not None}
        table = Table(self.cells, known)
        table.write(self.folder)
        summary = summarise(self.settings, table)
        document = {**summary.model_dump(), "settings": self.settings.model_dump(mode="json")}
        part = self.folder / f".{SUMMARY}.part"
        try:
            part.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
            replace_file(part, self.folder / SUMMARY)
            draw_campaign(summary, table, self.folder)
        except OSError as error:
            raise DataError(
                "the campaign's results cannot be written",
                where=str(self.folder),
                got=error.strerror or error,
                remedy="the cells are kept: free disk space, then give the same command again",
            ) from None
        return summary


class _Noting:
    """Keeps each result, and counts."""

    def __init__(
        self,
        rows: Rows,
        done: set[str],
        failed: set[str],
        n_cells: int,
        client: Any,
        tell: Tell,
    ) -> None:
        self._rows, self._done, self._failed = rows, done, failed
        self._n, self._tell = n_cells, tell
        self._dashboard, self._workers = client.dashboard_link or "", n_workers(client)
        self._say()

    def note(self, row: Row) -> None:
        """The row is on the disk before it counts."""
        self._rows.write(row)
        (self._done if row.state == "done" else self._failed).add(row.name)
        self._say()

    def _say(self) -> None:
        so_far = len(self._done), len(self._failed)
        self._tell(Progress(self._n, *so_far, self._dashboard, self._workers))
