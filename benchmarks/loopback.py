"""Sessions in real time on one computer: server and rig as processes of their own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import tomli_w

from protocols.documents import SessionSettings

LOG = "session.sqlite"


@contextlib.contextmanager
def served(folder: Path, session: SessionSettings, *options: str) -> Iterator[dict[str, str]]:
    """A server of `session`, and the addresses of its sockets; it ends with the block.

    Args:
        folder: For its files, `LOG` among them.
        session: What is served.
        options: More of `synth-server serve`.
    """
    (folder / "session.toml").write_text(tomli_w.dumps(session.model_dump(mode="json")))
    serve = ["serve", "session.toml", "--log", LOG, "--announce", "server.json"]
    ports = [f"--{kind}-port=0" for kind in ("work", "control", "events")]
    server = subprocess.Popen(
        [sys.executable, "-m", "synth_server.cli", *serve, *ports, *options], cwd=folder
    )
    try:
        while not (folder / "server.json").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise RuntimeError(f"the server ended at once: {server.wait(0.1)}")
        yield json.loads((folder / "server.json").read_text())
    finally:
        server.terminate()
        server.wait(60)


def rig_report(folder: Path, address: str) -> dict[str, float]:
    """What a rig says of the session at `address`, shown to neurons that cost next to nothing."""
    settings = {
        "server": address,
        "display": {"name": "headless", "options": {"clock": "real"}},
        "acquisition": {
            "name": "simulated",
            "options": {"subject": {"name": "gabor_energy", "options": {"n_sites": 2}}},
        },
    }
    (folder / "rig.toml").write_text(tomli_w.dumps(settings))
    run = ["run", "--config", "rig.toml", "--report", "report.json"]
    subprocess.run([sys.executable, "-m", "rig_client.cli", *run], cwd=folder, check=True)
    report: dict[str, float] = json.loads((folder / "report.json").read_text())
    return report
