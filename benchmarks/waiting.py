"""How long the rig waits for images: server and rig as processes, 100 ms on, 100 ms off, real time.

The fc6 network at population 40 with 20 references; one thread, then two. With two, one thread's
images are made while the other's are on screen.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.loopback import rig_report, served
from benchmarks.results import table, write_section
from protocols.documents import SessionSettings, ThreadSettings


def session(n_threads: int, n_generations: int) -> SessionSettings:
    """The session's settings."""
    threads = tuple(
        ThreadSettings(
            name=f"site-{number:02d}",
            protocol="evolve",
            settings={
                "n_generations": n_generations,
                "generator": {"name": "deepsim_fc6", "options": {"weights": "random"}},
                "optimizer": {
                    "name": "genetic",
                    "options": {"preset": "wang_ponce", "population": 40},
                },
                "objective": {"name": "site", "options": {"site": f"site-{number:02d}"}},
            },
        )
        for number in range(n_threads)
    )
    return SessionSettings(session_id="waiting", seed=0, threads=threads)


def measure(n_threads: int, n_generations: int) -> dict[str, float]:
    """The rig's own report of one session."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(folder, session(n_threads, n_generations)) as addresses:
            return rig_report(folder, addresses["work"])


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=10)
    n_blocks = parser.parse_args().blocks
    rows = []
    for n_threads in (1, 2):
        found = measure(n_threads, n_blocks // n_threads)
        share = found["waited_s"] / found["presented_s"]
        rows.append(
            [
                str(n_threads),
                f"{found['blocks']:.0f}",
                f"{found['presentations']:.0f}",
                f"{found['presented_s']:.1f}",
                f"{found['waited_s']:.2f}",
                f"**{share:.2%}**",
            ]
        )
    head = ["threads", "blocks", "presentations", "shown, s", "waited, s", "waited ÷ shown"]
    text = f"{table(head, rows)}\n\nAim with two threads: below 1 %."
    write_section("Waiting at the rig", "python -m benchmarks.waiting", text)


if __name__ == "__main__":
    main()
