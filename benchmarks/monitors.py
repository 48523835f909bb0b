"""How long a rig waits with nobody watching and with ten monitors: processes, real time, one run.

One thread, so that every generation is waited for: 100 ms on, 100 ms off, the bundled generator. Each
monitor is a process, and each has a browser's connection that takes what it is sent. The two take
turns, so that a busy minute of the machine meets both.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.loopback import LOG, rig_report, served
from benchmarks.results import table, write_section
from protocols.documents import SessionSettings, ThreadSettings

SITE = "site-00"


def session(n_generations: int) -> SessionSettings:
    """The session's settings."""
    settings = {
        "n_generations": n_generations,
        "optimizer": {"name": "sphere_ascent", "options": {"population": 20}},
        "objective": {"name": "site", "options": {"site": SITE}},
        "n_references": 5,
    }
    thread = ThreadSettings(name=SITE, protocol="evolve", settings=settings)
    return SessionSettings(session_id="watched", seed=0, threads=(thread,))


@contextlib.contextmanager
def watched(n_monitors: int, log: Path) -> Iterator[None]:
    """So many monitors, each with a page that listens, until the block ends."""
    command = [sys.executable, "-m", "synth_server.cli", "monitor", str(log), "--port=0"]
    monitors = [
        subprocess.Popen([*command, "--no-open"], stdout=subprocess.PIPE, text=True)
        for _ in range(n_monitors)
    ]
    for monitor in monitors:
        url = monitor.stdout.readline().strip() if monitor.stdout else ""
        threading.Thread(target=_listen, args=(url,), daemon=True).start()
    try:
        yield
    finally:
        for monitor in monitors:
            monitor.terminate()
            monitor.wait()


def _listen(url: str) -> None:
    """Take what a page is sent, and ask for what it would ask for."""
    with (
        contextlib.suppress(OSError, ValueError),
        urllib.request.urlopen(f"{url}events") as events,
    ):
        for line in events:
            if line.startswith(b"data:"):
                urllib.request.urlopen(f"{url}threads/{SITE}").read()


def measure(n_monitors: int, n_generations: int) -> dict[str, float]:
    """The rig's own report of one session."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            served(folder, session(n_generations)) as addresses,
            watched(n_monitors, folder / LOG),
        ):
            return rig_report(folder, addresses["work"])


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generations", type=int, default=8)
    parser.add_argument("--monitors", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    found: dict[int, list[dict[str, float]]] = {0: [], chosen.monitors: []}
    for _ in range(chosen.repeats):
        for n_monitors, reports in found.items():
            reports.append(measure(n_monitors, chosen.generations))
    rows = []
    for n_monitors, reports in found.items():
        shares = [report["waited_s"] / report["presented_s"] for report in reports]
        rows.append(
            [
                str(n_monitors),
                f"{median(report['presented_s'] for report in reports):.1f}",
                f"{median(report['waited_s'] for report in reports):.2f}",
                ", ".join(f"{share:.1%}" for share in shares),
                f"**{median(shares):.1%}**",
            ]
        )
    shown, waited = (
        median(b[what] / a[what] for a, b in zip(*found.values(), strict=True))
        for what in ("presented_s", "waited_s")
    )
    text = (
        f"{table(['monitors', 'shown, s', 'waited, s', 'waited ÷ shown, runs', 'median'], rows)}\n\n"
        f"With {chosen.monitors} monitors ÷ without, median of {chosen.repeats} pairs: waited × "
        f"**{waited:.2f}**, shown × **{shown:.3f}**. One thread, {chosen.generations} generations of "
        "20 + 5 images, the bundled generator; medians."
    )
    write_section("Monitors", "python -m benchmarks.monitors", text)


if __name__ == "__main__":
    main()
