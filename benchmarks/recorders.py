"""Whether counts can be trusted: recorders with default settings, sent to as their vendors do.

Each is an emulator in a process of its own, with 96 neurons that fire 40 times a second all the time,
in blocks (Open Ephys) or writes (RHX) of several lengths. Two hundred presentations, 100 ms on, 100 ms
off, counted from 70 to 170 ms, four to a trial. What `late()` withdraws is shown again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.recorder_sender import send
from benchmarks.results import table, write_section
from protocols import plugins
from protocols.errors import RecorderGap
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Cue, Role, Timing

N_SITES, RATE, N_SHOWN, PER_TRIAL, STEP_S = 96, 40.0, 200, 4, 0.2
WINDOW_S = (0.07, 0.17)
SESSION = SessionInfo(session_id="benchmark", seed=0)
OPEN_EPHYS_MS = (5, 23.2, 46, 93, 136)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"Event Broadcaster, blocks of {ms:g} ms": ("open-ephys-events", {"block_ms": ms})
       for ms in OPEN_EPHYS_MS},
    **{f"ZMQ Interface, blocks of {ms:g} ms": ("open-ephys-zmq", {"block_ms": ms, "n_channels": 4})
       for ms in OPEN_EPHYS_MS},
    **{f"Intan RHX, writes of {n} blocks": ("intan", {"blocks_per_write": n})
       for n in (1, 10, 30)},
    "Blackrock Cerebus 3.11": ("cerebus", {}),
    "LSL": ("lsl", {}),
}  # fmt: skip


class Result(NamedTuple):
    """What became of the presentations of one case."""

    n_shown: int
    n_wrong: int
    faults: dict[str, int]
    wait_ms: float
    cost_ms: float
    says: str


def measure(kind: str, options: dict[str, Any], n_shown: int, seed: int = 0) -> Result:
    """Show, count, and compare with what the neurons did."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    arguments = (theirs, kind, options, N_SITES, RATE, seed)
    process = context.Process(target=send, args=arguments, daemon=True)
    process.start()
    recorder = plugins.create(
        "stimloop.acquisitions", PluginChoice.model_validate(ours.recv()), SESSION
    )
    try:
        while recorder.trouble():
            time.sleep(0.05)
        counts, faults = _shown(recorder, ours, n_shown)
        ours.send(("truth", WINDOW_S))
        truth = ours.recv()
    finally:
        recorder.close()
        process.join()
    n_wrong = sum(counted.tolist() != truth[word] for word, counted in counts.items())
    recording = recorder.recording
    cost_ms = 1000 * recording._progress.mean_wait_s
    return Result(
        n_shown, n_wrong, dict(faults), 1000 * recording.wait_s, cost_ms, recording.disorder()
    )


def _shown(recorder: Any, sender: Any, n_shown: int) -> tuple[dict[int, np.ndarray], Counter[str]]:
    images = np.zeros((1, 8, 8, 3), np.uint8)
    timing = Timing(on_ms=100, off_ms=100, count_start_ms=70, count_stop_ms=170)
    block = Block.of(images, roles=Role.CONTROL, order=[0] * n_shown, timing=timing).at(0, "b")
    recorder.stage(block)
    counts: dict[int, np.ndarray] = {}
    faults: Counter[str] = Counter()
    words: dict[Cue, int] = {}

    def withdraw() -> None:
        for cue in recorder.late():
            counts.pop(words[cue], None)
            faults["late_spikes"] += 1

    cues = [cue.model_copy(update={"trial": n // PER_TRIAL}) for n, cue in enumerate(block.cues())]
    for first in range(0, n_shown, PER_TRIAL):
        trial = cues[first : first + PER_TRIAL]
        recorder.trouble()
        for place, cue in enumerate(trial):
            word = first + place + 1
            words[cue] = word
            onset_s = time.perf_counter()
            sender.send(("word", word, onset_s))
            recorder.mark(cue, onset_s, word)
            time.sleep(STEP_S / 2)
            sender.send(("word", 0, time.perf_counter()))
            time.sleep(STEP_S / 2)
        for cue in trial:
            try:
                counts[words[cue]] = recorder.spike_counts(cue, WINDOW_S).counts
            except RecorderGap as gap:
                faults[gap.fault] += 1
        withdraw()
    time.sleep(1)
    withdraw()
    return counts, faults


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--presentations", type=int, default=N_SHOWN, help="of each case, up to 255"
    )
    parser.add_argument(
        "--only", default="", help="cases whose name has this; printed, not written"
    )
    parser.add_argument("--keep", type=Path, help="file that keeps finished cases, to go on later")
    given = parser.parse_args()
    kept: dict[str, Any] = {}
    if given.keep and given.keep.exists():
        kept = json.loads(given.keep.read_text())
    for name, (kind, options) in CASES.items():
        if given.only not in name or name in kept:
            continue
        kept[name] = measure(kind, options, given.presentations)._asdict()
        print(name, kept[name], flush=True)
        if given.keep:
            given.keep.write_text(json.dumps(kept, indent=1))
    if given.only:
        return
    rows = [
        [
            name,
            str(found["n_shown"]),
            str(found["n_wrong"]),
            ", ".join(f"{n} {fault}" for fault, n in found["faults"].items()) or "0",
            f"{found['wait_ms']:.0f}",
            f"{found['cost_ms']:.0f}",
        ]
        for name, found in kept.items()
    ]
    head = [
        "recorder",
        "presentations",
        "wrong counts",
        "shown again",
        "wait, ms",
        "ms a presentation",
    ]
    command = "python -m benchmarks.recorders"
    write_section("Counts that can be trusted", command, TEXT + table(head, rows))


TEXT = """\
96 neurons that fire 40 times a second, default settings of each acquisition, emulators that send as the
vendors' sources do, in a process of their own (`benchmarks/recorders.py`). *Wrong* is a count that
differs from what the neurons did in the window of 70 to 170 ms after the word, and that nobody was told
of. *Wait* is how far past a window the stream must be at the end of the run, by what was measured (250 ms
before that); it is not needed where the format says that a window is complete. *ms a presentation* is the
mean time that a count was waited for after its window's end, all presentations of a trial counted
together at its end.

"""


if __name__ == "__main__":
    main()
