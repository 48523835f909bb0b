"""Time and memory of one generation of 40: optimizer step and images, beside other ways and the limit.

One thread. *One at a time* is how XDREAM's code draws: a batch of one for each code. The limit is
this machine's own matrix product, 2048 × 2048, in the same precision; a generator's share of it is
its floating point operations (counted by torch) ÷ time ÷ that limit. Ways are timed in turn, again
and again; medians.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.results import table, write_section
from protocols import plugins
from protocols.experiments.evolve import EvolveSettings
from protocols.interfaces import ImageGenerator
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.vocabulary import Codes

POPULATION = 40
SIDE = 2048
TO_MIB = 1 / 1024


class Way(NamedTuple):
    """A generator, and how its images are counted."""

    name: str
    options: Mapping[str, Any]
    precision: str = "float32"


WAYS = {
    "deep": Way("deep", {}),
    "deep, bfloat16": Way("deep", {"precision": "bfloat16"}, "bfloat16"),
    "deep, one at a time": Way("deep", {"batch_size": 1}),
    "DeePSiM fc6 (random weights)": Way("deepsim_fc6", {"weights": "random"}),
    "DeePSiM fc6, one at a time": Way("deepsim_fc6", {"weights": "random", "batch_size": 1}),
    "Fourier": Way("fourier", {}),
}


def main() -> None:
    """`python -m benchmarks.generation_time [--repeats 7]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--draft", action="store_true", help="print only")
    parser.add_argument("--memory-of", choices=tuple(WAYS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory_of:
        print(_growth_mib(WAYS[chosen.memory_of]))
        return
    text = f"{_generators(chosen.repeats)}\n\n{_optimizers(chosen.repeats)}"
    if chosen.draft:
        print(text)
    else:
        write_section("Time of a generation", "python -m benchmarks.generation_time", text)


def _generators(repeats: int) -> str:
    made = {label: _made(way) for label, way in WAYS.items()}
    codes = {label: _codes(generator) for label, generator in made.items()}
    calls: dict[str, Callable[[], object]] = {
        label: lambda label=label: made[label](codes[label])  # type: ignore[misc]
        for label in WAYS
    }
    peaks = {
        str(dtype).split(".")[-1]: _product(dtype) for dtype in (torch.float32, torch.bfloat16)
    }
    seconds = _medians({**calls, **peaks}, repeats)
    rows = []
    for label, way in WAYS.items():
        peak = 2 * SIDE**3 / seconds[way.precision]
        with FlopCounterMode(display=False) as counter:
            made[label](codes[label])
        share = counter.get_total_flops() / seconds[label] / peak
        rows.append(
            (
                label,
                f"{1000 * seconds[label]:.0f} ms",
                f"{seconds['deep'] / seconds[label]:.2f} ×",
                f"{counter.get_total_flops() / POPULATION / 1e9:.2f}",
                f"{100 * share:.0f} %" if share > 0.005 else "–",
                f"{_memory(label):.0f} MiB",
            )
        )
    head = ("40 images", "time", "speed of deep = 1", "GFLOP an image", "of the limit", "memory")
    limits = ", ".join(
        f"{2 * SIDE**3 / seconds[name] / 1e9:.0f} GFLOP/s in {name}" for name in peaks
    )
    return (
        f"{table(head, rows)}\n\nThe limit: {limits}. Memory is the growth of the process's largest "
        "size by making the generator and drawing once."
    )


def _optimizers(repeats: int) -> str:
    default = EvolveSettings()
    generator: ImageGenerator = plugins.create("stimloop.generators", default.generator)
    choices = {
        f"{default.optimizer.name} (default)": default.optimizer,
        "genetic, wang_ponce": PluginChoice(name="genetic", options={"preset": "wang_ponce"}),
        "sphere_cma": PluginChoice(name="sphere_cma"),
        "diagonal_cma": PluginChoice(name="diagonal_cma"),
        "cholesky_cma": PluginChoice(name="cholesky_cma"),
    }
    calls = {name: _step(choice, generator) for name, choice in choices.items()}
    seconds = _medians(calls, 3 * repeats)
    rows = [(name, f"{1000 * value:.2f} ms") for name, value in seconds.items()]
    return table((f"tell and ask, {generator.code_dim} numbers, population 40", "time"), rows)


def _step(choice: PluginChoice, generator: ImageGenerator) -> Callable[[], object]:
    random = random_stream(0, "optimizer", choice.name)
    options = {**choice.options, "population": POPULATION}
    optimizer = plugins.create(
        "stimloop.optimizers",
        PluginChoice(name=choice.name, options=options),
        generator.sample_codes,
        random,
    )
    asked: list[Codes] = [optimizer.ask()]

    def step() -> None:
        codes = asked.pop()
        optimizer.tell(codes, codes[:, :32].sum(axis=1).astype(np.float64))
        asked.append(optimizer.ask())

    return step


def _made(way: Way) -> ImageGenerator:
    generator: ImageGenerator = plugins.create(
        "stimloop.generators", PluginChoice(name=way.name, options=dict(way.options))
    )
    return generator


def _codes(generator: ImageGenerator) -> Codes:
    return generator.sample_codes(POPULATION, random_stream(0, "codes"))


def _product(dtype: torch.dtype) -> Callable[[], object]:
    matrix = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(dtype)
    return lambda: matrix @ matrix


def _medians(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Each call's median CPU seconds, all calls in turn; the first round is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            started = time.thread_time()
            call()
            if repeat:
                taken[name].append(time.thread_time() - started)
    return {name: float(np.median(values)) for name, values in taken.items()}


def _memory(label: str) -> float:
    command = [sys.executable, "-m", "benchmarks.generation_time", "--memory-of", label]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _growth_mib(way: Way) -> float:
    """From the memory in use now to the most that was in use (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the largest size so far begins anew
    before = _status_mib("VmRSS")
    generator = _made(way)
    generator(_codes(generator))
    return _status_mib("VmHWM") - before


def _status_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * TO_MIB for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
