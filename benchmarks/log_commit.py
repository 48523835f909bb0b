"""What it costs to make a block durable, against writing and syncing the same bytes to a file."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.results import quantiles, table, write_section
from protocols.documents import (
    LOG_VERSION,
    EventKind,
    SessionSettings,
    SessionStarted,
    ThreadSettings,
)
from protocols.vocabulary import Block, Role
from protocols.wire import WIRE_VERSION
from synth_server.session.log import SessionLog

REPEATS = 60
CASES = ((40, 256, "fc6, population 40"), (50, 128, "Fourier, 30 + 20 references"))


def empty_log(folder: Path) -> SessionLog:
    """A log with nothing but its start."""
    thread = ThreadSettings(name="a", protocol="evolve")
    start = SessionStarted(
        log_version=LOG_VERSION,
        wire_version=WIRE_VERSION,
        settings=SessionSettings(session_id="benchmark", seed=0, threads=(thread,)),
        equipment={},
        versions={},
        device="cpu",
    )
    return SessionLog.create(folder / "session.sqlite", start)


def measure(n_images: int, size_px: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds to commit a block, to commit responses' worth of text, and to write plain bytes."""
    random = np.random.default_rng(0)
    block_s, text_s, plain_s = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        log = empty_log(folder)
        for index in range(REPEATS):
            images = random.integers(0, 256, (n_images, size_px, size_px, 3), dtype=np.uint8)
            block = Block.of(images, roles=Role.EVOLVED).at(index, "a")
            arrays = dict(zip(block.stimulus_ids, block.images, strict=True))
            started = time.perf_counter()
            log.append(EventKind.BLOCK_PROPOSED, block.document(), arrays)
            block_s.append(time.perf_counter() - started)
            started = time.perf_counter()
            log.append(EventKind.CONTROL, {"command": "annotate", "text": "x" * 10_000})
            text_s.append(time.perf_counter() - started)
            started = time.perf_counter()
            with (folder / "plain").open("wb") as file:
                file.write(images.data)
                file.flush()
                os.fsync(file.fileno())
            plain_s.append(time.perf_counter() - started)
        log.close()
    return block_s, text_s, plain_s


def main() -> None:
    """Measure and write the section."""
    rows = []
    for n_images, size_px, name in CASES:
        block_s, text_s, plain_s = measure(n_images, size_px)
        megabytes = n_images * size_px**2 * 3 / 2**20
        ratio = float(np.median(np.array(block_s) / np.array(plain_s)))
        rows += [
            [f"{name}: {megabytes:.1f} MiB", "commit", *quantiles(block_s).split(" | ")],
            ["", "plain write + fsync", *quantiles(plain_s).split(" | ")],
            ["", "commit ÷ plain", f"{ratio:.2f}", ""],
            ["", "commit of 10 kB of responses", *quantiles(text_s).split(" | ")],
        ]
    text = table(["block", "", "p50, ms", "p99, ms"], rows)
    write_section("Making a block durable", "python -m benchmarks.log_commit", text)


if __name__ == "__main__":
    main()
