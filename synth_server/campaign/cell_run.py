"""What a worker does: play one cell's session and measure it. Nothing that fails stops the campaign."""

from __future__ import annotations

import multiprocessing
import shutil
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field

from protocols import plugins
from protocols.digests import document_digest
from protocols.errors import InstallationError, SettingsError, StimloopError
from protocols.interfaces import SimulatedPopulation
from protocols.replacing import replace_file
from protocols.settings import Frozen, PluginChoice
from synth_server.campaign.cells import Cell, digest_of
from synth_server.campaign.measures import Measures, measure
from synth_server.campaign.versions import deciding_versions
from synth_server.dry_run_settings import DryRunSettings, rig_settings, session_settings
from synth_server.session.in_process import play_session

LAST_LINES = 6
"""Of the traceback of an error that stimloop has no name for."""
_kept_subject: dict[str, SimulatedPopulation] = {}
"""The worker's last simulated neurons: cells that come after another mostly share them."""


class Task(NamedTuple):
    """A cell as it travels to a worker: plain values.

    Attributes:
        settings: Of `DryRunSettings`.
        files: Absolute path → sha256, as whoever started the campaign found them.
        versions: As theirs are.
        keep_log: Where the session's log is kept; empty: nowhere.
    """

    name: str
    settings: Mapping[str, Any]
    files: Mapping[str, str]
    versions: Mapping[str, str]
    keep_log: str = ""


class Row(Frozen):
    """A cell's result.

    Attributes:
        name: The cell's.
        state: `done` or `failed`.
        error: What failed; empty if nothing did.
        measures: See `measures.MEANINGS`.
        seconds: How long the worker took; not in the table, which is the same whoever computes it.
        worker: Name of the worker's computer; likewise.
    """

    name: str
    state: Literal["done", "failed"]
    error: str = ""
    measures: Measures = Field(default_factory=dict)
    seconds: float = 0.0
    worker: str = ""


def task_of(cell: Cell, keep_log: str = "") -> Task:
    """What a worker needs to play `cell`."""
    settings = cell.settings.model_dump(mode="json")
    return Task(cell.name, settings, dict(cell.files), deciding_versions(), keep_log)


def run_cell(task: Task) -> dict[str, Any]:
    """Play the cell's session and measure it; an error becomes part of the row.

    Returns:
        A `Row` as plain values.
    """
    _one_thread()
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="stimloop-cell-") as folder:
        try:
            found: dict[str, Any] = {"state": "done", "measures": _played(task, Path(folder))}
        except Exception as error:
            found = {"state": "failed", "error": _told(error).replace(folder, "CELL")}
    took_s = round(time.perf_counter() - began_s, 3)
    row = Row(name=task.name, seconds=took_s, worker=socket.gethostname(), **found)
    return row.model_dump()


def _one_thread() -> None:
    """A worker process computes on one core, others beside it on theirs; no bit of a result changes.

    Dask sets `OMP_NUM_THREADS` for workers that it starts; this is for all others.
    """
    torch = sys.modules.get("torch")
    if torch is not None and multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)


def _played(task: Task, folder: Path) -> Measures:
    _check_same(task)
    settings = DryRunSettings.model_validate(task.settings)
    rig = rig_settings(settings)
    subject = _subject(rig["acquisition"]["options"]["subject"], task.files)
    log = play_session(session_settings(settings), rig, folder, subject)
    found = measure(log, subject)
    if task.keep_log:
        _keep(log, Path(task.keep_log))
    return found


def _subject(options: Mapping[str, Any], files: Mapping[str, str]) -> SimulatedPopulation:
    """The neurons; made once for all cells of this worker that share them and their files."""
    key = document_digest({"options": options, "files": files})
    if key not in _kept_subject:
        choice = PluginChoice.model_validate(options)
        made: SimulatedPopulation = plugins.create("stimloop.subjects", choice)
        _kept_subject.clear()
        _kept_subject[key] = made
    _one_thread()
    return _kept_subject[key]


def _check_same(task: Task) -> None:
    """This worker has the versions and the files of whoever started the campaign."""
    here = deciding_versions()
    if here != task.versions:
        names = sorted(set(here) | set(task.versions))
        other = [n for n in names if here.get(n) != task.versions.get(n)]
        raise InstallationError(
            "this worker has other versions than the computer that started the campaign",
            expected=", ".join(f"{n} {task.versions.get(n, 'not installed')}" for n in other),
            got=", ".join(f"{n} {here.get(n, 'not installed')}" for n in other),
            remedy="install the same on all workers, then start the campaign again",
        )
    for path, digest in task.files.items():
        if not Path(path).exists():
            raise SettingsError(
                "a file of this campaign is not there on the worker",
                where=path,
                remedy="put it where all workers see it under one path, then start again",
            )
        if (found := digest_of(path)) != digest:
            raise SettingsError(
                "a file is not what it was when the campaign was started",
                where=path,
                expected=f"sha256 {digest}",
                got=found,
                remedy="start the campaign again: its cells are named by their files",
            )


def _keep(log: Path, path: Path) -> None:
    """The log beside the results, whole or not at all."""
    from synth_server.session.log import fold

    fold(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    shutil.copyfile(log, part)
    replace_file(part, path)


def _told(error: Exception) -> str:
    if isinstance(error, StimloopError):
        return f"{type(error).__name__}: {error}"
    return "".join(traceback.format_exception(error)[-LAST_LINES:])[-2000:].strip()
