"""Campaigns: what a second worker brings, what a cell costs besides its session, what the client keeps.

- 2 workers ÷ 1: the same cells by one worker and by two, in turn on one cluster, each set of cells new;
  sessions of `--cell-s` seconds or more each.
- overhead: how long a cell takes by the client's clock on one worker that is busy all the time, minus
  what the worker says that it took; as a part of a cell of 10 s.
- memory: the client's resident memory after a tenth of `--cells` trivial cells and after all.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import table, write_section
from synth_server.campaign.cell_run import Row, run_cell, task_of
from synth_server.campaign.cells import Cell, distinct_cells
from synth_server.campaign.document import CampaignSettings
from synth_server.campaign.engine import compute, connected
from synth_server.campaign.rows import Rows

TRIVIAL: dict[str, Any] = {
    "subject": "gabor_energy",
    "generator": "pixels",
    "optimizer": "random_search",
    "sites": 1,
    "generations": 1,
    "population": 2,
    "changes": {
        "n_references": 0,
        "test_repetitions": 0,
        "generator": {"options": {"size_px": 8, "grid": 2}},
    },
}
A_CELL_S = 10.0


def cells(n: int, first_seed: int, **changes: Any) -> list[Cell]:
    """`n` cells that differ in their seed."""
    seeds = tuple(range(first_seed, first_seed + n))
    shared = {**TRIVIAL, **changes}
    settings = CampaignSettings(name="benchmark", shared=shared, grid={"seed": seeds})
    return distinct_cells(settings.dry_runs())


def timed(client: Any, some: Sequence[Cell]) -> tuple[float, float]:
    """Seconds by the client's clock, and by the workers' added up."""
    rows: list[Row] = []
    began = time.perf_counter()
    compute(client, map(task_of, some), rows.append)
    took = time.perf_counter() - began
    failed = [row.error for row in rows if row.state == "failed"]
    if failed:
        raise SystemExit(failed[0])
    return took, sum(row.seconds for row in rows)


def generations_for(seconds: float) -> int:
    """Generations of a session that lasts so long here, when nothing else runs."""
    for cell in cells(2, 0, generations=20, population=20):  # the first also imports
        row = run_cell(task_of(cell))
    return max(20, round(20 * seconds / float(row["seconds"])))


def speed_up(n: int, generations: int, rounds: int) -> list[float]:
    """Time of one worker ÷ time of two, for each round."""
    found = []
    with connected(1) as one, connected(2) as two:
        for client, n_workers in ((one, 1), (two, 2)):
            client.wait_for_workers(n_workers)
            _warm(client)
        for number in range(rounds):
            some = cells(n, 1000 * (number + 1), generations=generations, population=20)
            found.append(timed(one, some)[0] / timed(two, some)[0])
    return found


def _warm(client: Any) -> None:
    """Every worker has imported what it needs."""
    (cell,) = cells(1, 10_000_000)
    client.run(run_cell, task_of(cell))


def overhead_s(n: int) -> float:
    """Seconds a cell that are not the worker's."""
    with connected(1) as client:
        _warm(client)
        took, worked = timed(client, cells(n, 0))
    return (took - worked) / n


def resident_mb() -> float:
    """Of this process; Linux."""
    status = Path("/proc/self/status").read_text("utf-8")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return float(line.split()[1]) / 1024


def memory_mb(n: int) -> tuple[float, float]:
    """After a tenth of the cells, and after all; each row is written, as in a campaign."""
    some, found = cells(n, 0), list[float]()
    with tempfile.TemporaryDirectory() as folder, connected(2) as client:
        rows, n_noted = Rows(Path(folder)), 0

        def note(row: Row) -> None:
            nonlocal n_noted
            rows.write(row)
            n_noted += 1
            if n_noted in (n // 10, n):
                found.append(resident_mb())

        compute(client, map(task_of, some), note)
    return found[0], found[1]


def main() -> None:
    """`python -m benchmarks.campaign [--cells 10000] [--cell-s 10] [--draft]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=10_000, help="trivial ones, for memory")
    parser.add_argument("--timed", type=int, default=12, help="cells of --cell-s, for the ratio")
    parser.add_argument("--cell-s", type=float, default=A_CELL_S)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--draft", action="store_true", help="print only")
    chosen = parser.parse_args()
    ratios = speed_up(chosen.timed, generations_for(chosen.cell_s), chosen.rounds)
    print("1 worker ÷ 2:", [round(ratio, 2) for ratio in ratios], flush=True)
    over = overhead_s(max(20, chosen.cells // 50))
    print(f"overhead {over * 1000:.0f} ms", flush=True)
    tenth, all_ = memory_mb(chosen.cells)
    rows = [
        (f"time of 1 worker ÷ of 2, {chosen.timed} cells of {chosen.cell_s:g} s",
         " ".join(f"{ratio:.2f}" for ratio in ratios)),
        ("a cell's overhead", f"{over * 1000:.0f} ms: {100 * over / A_CELL_S:.2f} % of 10 s"),
        (f"client's memory after {chosen.cells // 10:,} and {chosen.cells:,} cells",
         f"{tenth:.0f} and {all_:.0f} MB"),
    ]  # fmt: skip
    text = table(("", "measured"), rows)
    if chosen.draft:
        print(text)
    else:
        write_section("Campaigns", "python -m benchmarks.campaign", text)


if __name__ == "__main__":
    main()
