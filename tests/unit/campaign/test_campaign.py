"""Campaigns on real workers: the same table however many there are, whatever dies, and from wherever on."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.seeds import random_stream
from synth_server.campaign.cell_run import Row, run_cell, task_of
from synth_server.campaign.document import CampaignSettings
from synth_server.campaign.rows import ResultNotKept, Rows
from synth_server.campaign.run import Campaign, Progress
from synth_server.campaign.summary import summarise
from synth_server.campaign.table import Table

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
parquet = pytest.importorskip("pyarrow.parquet")

TINY: dict[str, Any] = {
    "subject": "gabor_energy",
    "generator": "pixels",
    "optimizer": "random_search",
    "sites": 1,
    "generations": 1,
    "population": 3,
    "changes": {
        "n_references": 0,
        "test_repetitions": 0,
        "generator": {"options": {"size_px": 8, "grid": 2}},
    },
}
N_SEEDS = 5
N_KILLS = 5


def settings(**more: Any) -> CampaignSettings:
    """Ten cells of some 0.05 s, of which none fails."""
    values: dict[str, Any] = {
        "name": "tiny",
        "shared": TINY,
        "grid": {"noise": ["none", "poisson"], "seed": list(range(N_SEEDS))},
        "compare": {"setting": "noise", "baseline": "none", "measure": "true_chosen"},
    }
    return CampaignSettings.model_validate({**values, **more})


FAILING = {"cells": ({"changes": {"objective": {"options": {"site": "site-09"}}}},)}
"""A site that nobody records: found when the rig is attached."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Worker processes that are forked, so that they begin at once."""
    with (
        dask.config.set(
            {
                "distributed.worker.multiprocessing-method": "forkserver",
                "distributed.scheduler.allowed-failures": 100,
            }
        ),
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=50,
        ) as made,
    ):
        yield made


@contextmanager
def threads() -> Iterator[Any]:
    """One worker in this process, for what needs no other."""
    with (
        distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as made,
        distributed.Client(made, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table of a campaign that nothing has happened to."""
    folder = tmp_path_factory.mktemp("reference")
    made = Campaign(settings(**FAILING), folder)
    rows = Rows(folder)
    for cell in made.cells:
        rows.write(Row.model_validate(run_cell(task_of(cell))))
    made.write(rows)
    return (folder / "table.parquet").read_bytes()


@pytest.mark.parametrize("n_workers", [1, 2, 4])
def test_the_table_does_not_know_how_many_workers_made_it(
    tmp_path: Path, cluster: Any, reference: bytes, n_workers: int
) -> None:
    cluster.scale(n_workers)
    told: list[Progress] = []

    @contextmanager
    def connect() -> Iterator[Any]:
        with distributed.Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(n_workers)
            yield client

    Campaign(settings(**FAILING), tmp_path).run(connect, told.append)
    assert (tmp_path / "table.parquet").read_bytes() == reference
    assert (told[-1].n_cells, told[-1].n_done, told[-1].n_failed) == (11, 10, 1)


def test_workers_may_die_at_any_moment(tmp_path: Path, cluster: Any, reference: bytes) -> None:
    cluster.scale(2)
    random = random_stream(0, "kills")
    moments = set(random.choice(range(1, 10), size=N_KILLS, replace=False).tolist())
    killed: list[int] = []

    def kill(progress: Progress) -> None:
        """A worker with a process; one that has just died is being replaced, the other is taken."""
        if progress.n_done + progress.n_failed not in moments:
            return
        moments.discard(progress.n_done + progress.n_failed)
        for pid in random.permutation([n.pid for n in cluster.workers.values() if n.pid]).tolist():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
                return

    @contextmanager
    def connect() -> Iterator[Any]:
        with distributed.Client(cluster, set_as_default=False) as client:
            yield client

    Campaign(settings(**FAILING), tmp_path).run(connect, kill)
    assert (tmp_path / "table.parquet").read_bytes() == reference
    assert len(killed) == N_KILLS
    assert len(list((tmp_path / "cells").iterdir())) == 11


def test_a_lost_scheduler_loses_what_was_under_way_and_no_more(
    tmp_path: Path, reference: bytes
) -> None:
    connections: list[Any] = []

    @contextmanager
    def connect() -> Iterator[Any]:
        with threads() as client:
            connections.append(client)
            yield client

    def end_it(progress: Progress) -> None:
        if progress.n_done == 3 and len(connections) == 1:
            connections[0].cluster.close()

    Campaign(settings(**FAILING), tmp_path).run(connect, end_it)
    assert len(connections) == 2
    assert (tmp_path / "table.parquet").read_bytes() == reference


def test_a_failed_cell_is_a_row_and_is_tried_again(tmp_path: Path) -> None:
    made = Campaign(settings(grid={"seed": [0]}, compare=None, **FAILING), tmp_path)
    summary = made.run(threads)
    assert (summary.n_done, summary.n_failed, summary.n_missing) == (1, 1, 0)
    table = parquet.read_table(tmp_path / "table.parquet").to_pylist()
    assert [row["state"] for row in table] == ["done", "failed"]
    assert "site-09" in table[1]["error"]
    assert str(tmp_path) not in table[1]["error"]
    assert table[1]["changes.objective.options.site"] == "site-09"
    assert len(table[0]["session_digest"]) == 64
    assert sum(summary.errors.values()) == 1
    told: list[Progress] = []
    made.run(threads, told.append)
    assert (told[0].n_done, told[0].n_failed) == (1, 0)


def test_a_campaign_that_is_started_again_computes_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: bytes
) -> None:
    """The disk was full; a file was damaged; and the campaign has grown meanwhile."""
    first = Campaign(settings(), tmp_path)
    rows = Rows(tmp_path)
    (tmp_path / "cells" / f".{first.cells[6].name}.part").symlink_to("/dev/full")
    with pytest.raises(ResultNotKept, match="cannot be written"):
        first.run(threads)
    kept = rows.done(cell.name for cell in first.cells)
    assert 0 < len(kept) < 10
    states = parquet.read_table(tmp_path / "table.parquet")["state"].to_pylist()
    assert states.count("done") == len(kept)
    assert states.count("missing") == 10 - len(kept)
    damaged = sorted(kept)[0]
    rows.path(damaged).write_text(rows.path(damaged).read_text("utf-8")[:40], "utf-8")
    written: list[str] = []
    write = Rows.write
    monkeypatch.setattr(
        Rows, "write", lambda self, row: (written.append(row.name), write(self, row))
    )
    grown = Campaign(settings(**FAILING), tmp_path)
    grown.run(threads)
    assert sorted(written) == sorted({cell.name for cell in grown.cells} - (kept - {damaged}))
    assert (tmp_path / "table.parquet").read_bytes() == reference


def test_a_worker_with_other_versions_or_files_says_so(tmp_path: Path) -> None:
    (cell, *_) = Campaign(settings(), tmp_path).cells
    other = task_of(cell)._replace(versions={"stimloop": "0"})
    assert "other versions" in run_cell(other)["error"]
    file = tmp_path / "photographs.zip"
    gone = task_of(cell)._replace(files={str(file): "0" * 64})
    assert "not there on the worker" in run_cell(gone)["error"]
    file.write_bytes(b"")
    assert "not what it was" in run_cell(gone)["error"]


def test_logs_are_kept_if_they_are_wanted(tmp_path: Path) -> None:
    from synth_server.session.recovery import verify_replay

    made = Campaign(settings(grid={"seed": [0]}, compare=None, keep_logs=True), tmp_path)
    made.run(threads)
    (log,) = (tmp_path / "logs").glob("*.sqlite")
    assert log.stem == made.cells[0].name
    assert verify_replay(log).end == "finished"


def test_the_summary_pairs_and_resamples(tmp_path: Path) -> None:
    """Against numbers drawn here: a difference that is exact in every pair has an interval of no width."""
    chosen = settings(
        grid={
            "noise": ["none", "poisson"],
            "neurons.subject.options.seed": [0, 1, 2],
            "seed": [0, 1, 2],
            "population": [3, 4],
        },
        compare={
            "setting": "noise",
            "baseline": "none",
            "measure": "gain",
            "units": ["neurons.subject.options.seed"],
        },
    )
    cells = Campaign(chosen, tmp_path).cells
    random = random_stream(1, "test")
    units, rows = random.normal(size=3) * 10, {}
    for cell in cells:
        columns = cell.columns
        gain = units[columns["neurons.subject.options.seed"]] + columns["seed"]
        gain += (columns["noise"] == "poisson") * (2.0 if columns["population"] == 3 else -1.0)
        rows[cell.name] = Row(name=cell.name, state="done", measures={"gain": float(gain)})
    rows[cells[0].name] = Row(name=cells[0].name, state="failed", error="x")
    found = summarise(chosen, Table(cells, rows))
    levels = {(level.among["population"], level.value): level for level in found.levels}
    assert len(levels) == 4
    better = levels["3", "poisson"]
    assert better.n_pairs == 8
    assert better.difference.value == pytest.approx(2)
    assert (better.difference.low, better.difference.high) == (pytest.approx(2), pytest.approx(2))
    worse = levels["4", "poisson"]
    assert worse.difference.value == pytest.approx(-1)
    assert worse.mean.value == pytest.approx(units.mean() + 1 - 1)
    assert worse.mean.low is not None
    assert worse.mean.high is not None
    spread = worse.mean.high - worse.mean.low
    assert spread > np.ptp(units) / 2, "units are resampled, not only their runs"
    assert levels["4", "none"].difference.value is None


def test_a_figure_is_drawn(tmp_path: Path, reference: bytes) -> None:
    made = Campaign(settings(grid={"noise": ["none", "poisson"], "seed": [0]}), tmp_path)
    made.run(threads)
    assert (tmp_path / "campaign.png").read_bytes().startswith(b"\x89PNG")
