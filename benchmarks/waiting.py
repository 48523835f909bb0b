"""How long the rig waits for images: server and rig as processes, 100 ms on, 100 ms off, real time.

The fc6 network at population 40 with 20 references; one thread, then two. With two, one thread's
images are made while the other's are on screen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.results import table, write_section
from protocols.documents import SessionSettings, ThreadSettings


def session(n_threads: int, n_generations: int) -> dict[str, Any]:
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
    return SessionSettings(session_id="waiting", seed=0, threads=threads).model_dump(mode="json")


def rig(address: str) -> dict[str, Any]:
    """The rig's settings: real time, simulated neurons that cost next to nothing."""
    return {
        "server": address,
        "display": {"name": "headless", "options": {"clock": "real"}},
        "acquisition": {
            "name": "simulated",
            "options": {"subject": {"name": "gabor_energy", "options": {"n_sites": 2}}},
        },
    }


def measure(n_threads: int, n_generations: int) -> dict[str, float]:
    """The rig's own report of one session."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "session.toml").write_text(tomli_w.dumps(session(n_threads, n_generations)))
        serve = ["serve", "session.toml", "--announce", "server.json", "--exit-when-over"]
        ports = [f"--{kind}-port=0" for kind in ("work", "control", "events")]
        server = subprocess.Popen(
            [sys.executable, "-m", "synth_server.cli", *serve, *ports], cwd=folder
        )
        while not (folder / "server.json").exists():
            try:
                server.wait(0.1)
                raise RuntimeError("the server ended before it was ready")
            except subprocess.TimeoutExpired:
                continue
        address = json.loads((folder / "server.json").read_text())["work"]
        (folder / "rig.toml").write_text(tomli_w.dumps(rig(address)))
        run = ["run", "--config", "rig.toml", "--report", "report.json"]
        subprocess.run([sys.executable, "-m", "rig_client.cli", *run], cwd=folder, check=True)
        server.wait(60)
        report: dict[str, float] = json.loads((folder / "report.json").read_text())
    return report


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
