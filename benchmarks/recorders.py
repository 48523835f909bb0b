"""Whether counts can be trusted: recorders with default settings, sent to as their vendors do.

96 neurons fire 40 times a second all the time; emulators send them in blocks (Open Ephys) or writes
(RHX) of several lengths, byte for byte, to the adapters with default settings. Two hundred
presentations, 100 ms on, 100 ms off, counted from 70 to 170 ms, four to a trial, the first right after
the start. The clock stands still while they work: figures do not depend on the machine.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from benchmarks.recorder_sender import STEP_S, Bench
from benchmarks.results import table, write_section
from protocols.errors import RecorderGap
from protocols.vocabulary import Block, Cue, Role, Timing

N_SITES, RATE, N_SHOWN, PER_TRIAL = 96, 40.0, 200, 4
ON_S = OFF_S = 0.1
WINDOW_S = (0.07, 0.17)
TIMING = Timing(on_ms=100, off_ms=100, count_start_ms=70, count_stop_ms=170)
BLOCKS_MS = (5, 23.2, 46, 93, 136)
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"Event Broadcaster, blocks of {ms:g} ms": ("open-ephys-events", {"block_ms": ms})
       for ms in BLOCKS_MS},
    **{f"ZMQ Interface, blocks of {ms:g} ms": ("open-ephys-zmq", {"block_ms": ms, "n_channels": 2})
       for ms in BLOCKS_MS},
    **{f"Intan RHX, writes of {n} blocks": ("intan", {"blocks_per_write": n})
       for n in (1, 10, 30)},
    **{f"Cerebus, {name}": ("cerebus", {"protocol": protocol})
       for name, protocol in (("protocol 3.11", "3.11"), ("protocol 4.0", "4.0"),
                              ("protocol 4.1", "4.1"), ("Gemini", "gemini"))},
    **{f"LSL, ids as {ids}": ("lsl", {"ids": ids}) for ids in ("strings", "floats")},
}  # fmt: skip


class Result(NamedTuple):
    """What became of the presentations of one case."""

    n_wrong: int
    faults: Counter[str]
    wait_ms: float
    cost_ms: float
    last_cost_ms: float


def measure(kind: str, options: dict[str, Any], n_shown: int = N_SHOWN) -> Result:
    """Show, count, and compare with what the neurons did."""
    bench = Bench(kind, options, N_SITES, RATE)
    recorder = bench.recorder
    images = np.zeros((1, 8, 8, 3), np.uint8)
    block = Block.of(images, roles=Role.CONTROL, order=[0] * n_shown, timing=TIMING).at(0, "b")
    cues = [cue.model_copy(update={"trial": n // PER_TRIAL}) for n, cue in enumerate(block.cues())]
    words = {cue: number % 255 + 1 for number, cue in enumerate(cues)}
    recorder.stage(block)
    counts: dict[Cue, list[float]] = {}
    faults: Counter[str] = Counter()
    costs_s = []
    for first in range(0, n_shown, PER_TRIAL):
        trial = cues[first : first + PER_TRIAL]
        recorder.trouble()
        for cue in trial:
            now_s = bench.clock.now_s
            recorder.mark(cue, now_s, words[cue])
            bench.advance(ON_S, [(words[cue], now_s)])
            bench.advance(OFF_S, [(0, bench.clock.now_s)])
        over_s = bench.clock.now_s
        for cue in trial:
            try:
                counts[cue] = _counted(bench, cue)
            except RecorderGap as gap:
                faults[gap.fault] += 1
        costs_s.append((bench.clock.now_s - over_s) / PER_TRIAL)
        _withdraw(recorder.late(), counts, faults)
    bench.advance(1.0)
    _withdraw(recorder.late(), counts, faults)
    n_wrong = sum(
        counted != bench.neurons.counts(words[cue], WINDOW_S) for cue, counted in counts.items()
    )
    wait_ms = 1000 * recorder.recording.wait_s
    cost_ms, last_ms = 1000 * np.mean(costs_s), 1000 * np.mean(costs_s[len(costs_s) // 2 :])
    return Result(n_wrong, faults, wait_ms, float(cost_ms), float(last_ms))


def _counted(bench: Bench, cue: Cue) -> list[float]:
    while (found := bench.recorder.recording.judged(cue, WINDOW_S)) is None:
        bench.advance(STEP_S)
    return [float(count) for count in found.counts]


def _withdraw(late: tuple[Cue, ...], counts: dict[Cue, list[float]], faults: Counter[str]) -> None:
    for cue in late:
        del counts[cue]
        faults["late_spikes"] += 1


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presentations", type=int, default=N_SHOWN, help="of each, 255 at most")
    parser.add_argument(
        "--only", default="", help="cases whose name has this; printed, not written"
    )
    given = parser.parse_args()
    rows = []
    for name, (kind, options) in CASES.items():
        if given.only not in name:
            continue
        found = measure(kind, options, given.presentations)
        told = ", ".join(f"{n} {fault}" for fault, n in found.faults.items()) or "0"
        figures = [f"{ms:.0f}" for ms in (found.wait_ms, found.cost_ms, found.last_cost_ms)]
        rows.append([name, str(given.presentations), str(found.n_wrong), told, *figures])
        print(rows[-1], flush=True)
    if given.only:
        return
    head = ["recorder", "presentations", "wrong counts", "shown again", "wait, ms"]
    head += ["ms a presentation", "in the second half"]
    command = "python -m benchmarks.recorders"
    write_section("Counts that can be trusted", command, TEXT + table(head, rows))


TEXT = """\
96 neurons that fire 40 times a second, default settings of each acquisition, emulators that send as the
vendors' sources do. *Wrong* is a count that differs from what the neurons did in the window of 70 to 170
ms after the word, and that nobody was told of. *Wait* is how far past a window the stream must be at the
end of the run, as it was measured (250 ms before that, which the first trials pay); it is not needed
where the format says that a window is complete (ZMQ Interface, RHX). *ms a presentation* is the time
after a trial's end that its counts were waited for, by presentation. Simulated time: emulator and
adapter run on a clock that stands still while they work, so that these figures are those of formats and
rules, without a machine's own delays or load; only Cerebus's datagrams go through a socket.

"""


if __name__ == "__main__":
    main()
