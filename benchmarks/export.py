"""How long a session of 10,000 presentations takes to export, and how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.log_commit import empty_log
from benchmarks.results import table, write_section
from protocols.documents import EventKind, RigAttached
from protocols.rig_description import RigDescription
from protocols.vocabulary import Block, BlockResponses, Outcome, Role
from synth_server.session.log import SessionLog

N_PRESENTATIONS, IMAGES_PER_BLOCK, SIZE_PX, N_SITES, CODE_DIM = 10_000, 40, 128, 96, 512
CASES = (
    (1, "10,000 images, each shown once"),
    (5, "2,000 images, each shown five times"),
)
COMMANDS = (("export-nwb", "out.nwb"), ("export-csv", "out.csv"), ("export-csv", "out.parquet"))


def main() -> None:
    """Measure and write the section."""
    rows = []
    for repetitions, name in CASES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            make_session(folder, repetitions)
            log_mb = (folder / "session.sqlite").stat().st_size / 1e6
            rows.append([name, "the log itself", "", "", "", f"{log_mb:.0f} MB"])
            for command, out in COMMANDS:
                seconds, cpu_s, peak_mb = export(folder, command, out)
                size_mb = (folder / out).stat().st_size / 1e6
                figures = [f"{seconds:.1f} s", f"{cpu_s:.1f} s"]
                figures += [f"{peak_mb:.0f} MB", f"{size_mb:.0f} MB"]
                rows.append(["", f"{command} {out}", *figures])
    text = table(["session", "", "time", "of the processor", "memory", "file"], rows)
    note = (
        f"{N_PRESENTATIONS:,} presentations, {N_SITES} sites, images of {SIZE_PX} px that don't "
        f"compress (noise), codes of {CODE_DIM}. Time and memory are those of the whole command; "
        "memory is the largest resident size, in 10⁶ bytes. On a busy machine, compare the "
        "processor's seconds: time has whatever the others took."
    )
    write_section("Exporting a session", "python -m benchmarks.export", f"{text}\n\n{note}")


def make_session(folder: Path, repetitions: int) -> None:
    """A log in `folder`, as a server writes it, of images shown `repetitions` times each."""
    random = np.random.default_rng(0)
    log = empty_log(folder)
    sites = tuple(f"site-{number:02d}" for number in range(N_SITES))
    log.append(
        EventKind.RIG_ATTACHED,
        RigAttached(rig_id="rig", site_ids=sites, software="none", rig=RigDescription()),
    )
    onset_s = 0.0
    for index in range(N_PRESENTATIONS // (IMAGES_PER_BLOCK * repetitions)):
        shape = (IMAGES_PER_BLOCK, SIZE_PX, SIZE_PX, 3)
        block = Block.of(
            random.integers(0, 256, shape, dtype=np.uint8),
            roles=Role.EVOLVED,
            codes=random.standard_normal((IMAGES_PER_BLOCK, CODE_DIM), dtype=np.float32),
            order=np.repeat(np.arange(IMAGES_PER_BLOCK), repetitions),
            generation=index,
            label=f"generation {index}",
        ).at(index, "a")
        onset_s = _log_block(log, block, sites, random, onset_s)
    log.close()


def _log_block(
    log: SessionLog,
    block: Block,
    sites: tuple[str, ...],
    random: np.random.Generator,
    onset_s: float,
) -> float:
    """Log a block and its responses; returns when the next may begin."""
    arrays = dict(zip(block.stimulus_ids, block.images, strict=True))
    if block.codes is not None and block.codes_digest is not None:
        arrays[block.codes_digest] = block.codes
    log.append(EventKind.BLOCK_PROPOSED, block.document(), arrays)
    shown = []
    for cue in block.cues():
        onset_s += 0.2 + 0.01 * random.random()
        counts = tuple(random.poisson(3, len(sites)).astype(float).tolist())
        shown.append(
            cue.presentation(
                onset_s=onset_s,
                onset_clock="virtual",
                outcome=Outcome.COMPLETED,
                spike_counts=counts,
            )
        )
    responses = BlockResponses(block_index=block.index, site_ids=sites, presentations=tuple(shown))
    log.append(EventKind.RESPONSES_RECEIVED, responses)
    return onset_s


def export(folder: Path, command: str, out: str) -> tuple[float, float, float]:
    """Seconds, seconds of the processor, largest resident size in MB; in a process of its own."""
    if sys.platform == "win32":
        raise SystemExit("what a process used can't be asked on Windows")
    arguments = [sys.executable, "-m", "synth_server.cli", command, "session.sqlite", out]
    started = time.perf_counter()
    process = subprocess.Popen(arguments, cwd=folder, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} ended with {os.waitstatus_to_exitcode(status)}")
    seconds = time.perf_counter() - started
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    main()
