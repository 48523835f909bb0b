"""Optimizers against each other, in the design of Wang & Ponce 2022 (Table 1).

3,000 evaluations (75 generations of 40), responses `score · max(0, 1 + σ · randn)` with σ 0, 0.2,
0.5, scores normalised to the best of their unit. Written are noise-free scores: of the images of the
last generation on average, and of the one image that measured best in the whole evolution.

All optimizers of a unit go through their generations together, so that images are drawn in large
batches. Every finished unit is appended to a file; a second run goes on from there.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.optimizer_units import SPLITS, Layer, Unit, units_of
from benchmarks.results import table, write_section
from protocols import plugins
from protocols.errors import InstallationError
from protocols.interfaces import ImageGenerator, Optimizer
from protocols.seeds import random_stream
from protocols.settings import PluginChoice

POPULATION, N_GENERATIONS = 40, 75
NOISES = (0.0, 0.2, 0.5)
OURS = "sphere_ascent"
PRESETS = ("wang_ponce", "poncelab", "xdream")
OPTIMIZERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "sphere_ascent": ("sphere_ascent", {"n_generations": N_GENERATIONS}),
    "sphere_cma, exp": ("sphere_cma", {"n_generations": N_GENERATIONS}),
    "sphere_cma, inv": ("sphere_cma", {"schedule": "inv"}),
    "diagonal_cma": ("diagonal_cma", {}),
    "cholesky_cma": ("cholesky_cma", {}),
    **{f"genetic, {name}": ("genetic", {"preset": name}) for name in PRESETS},
    "random_search": ("random_search", {}),
}
N_RESAMPLES = 10_000
RUNS = Path(tempfile.gettempdir()) / "stimloop-optimizers.jsonl"


class Run(NamedTuple):
    """One optimizer at one unit; noise-free scores."""

    generator: str
    split: str
    unit: str
    noise: float
    seed: int
    optimizer: str
    last_mean: float
    """Over the images of the last generation."""
    chosen: float
    """Of the image that measured best in the whole evolution."""


class Evolution:
    """One optimizer on its way.

    Args:
        optimizer: Its name in `OPTIMIZERS`.
        noise: σ.
        seed: Of the run.
        unit: What is driven.
        generator: Draws the first codes.
    """

    def __init__(
        self, optimizer: str, noise: float, seed: int, unit: Unit, generator: ImageGenerator
    ) -> None:
        self.name, self.noise, self.seed, self.unit = optimizer, noise, seed, unit
        self._random = random_stream(seed, "noise", unit.name, optimizer, str(noise))
        stream = random_stream(seed, "optimizer", unit.name, optimizer, str(noise))
        self.optimizer = made(optimizer, generator.sample_codes, stream)
        self._best_measured = -np.inf
        self.last_mean = self.chosen = 0.0

    def tell(self, codes: NDArray[np.float32], scores: NDArray[np.float64]) -> None:
        """Measure `scores` `(population,)` with noise, and tell."""
        factors = 1 + self.noise * self._random.standard_normal(len(scores))
        measured = scores * np.maximum(0, factors)
        if measured.max() > self._best_measured:
            self._best_measured = float(measured.max())
            self.chosen = float(scores[measured.argmax()])
        self.last_mean = float(scores.mean())
        self.optimizer.tell(codes, measured)


def made(name: str, sample_codes: Any, stream: np.random.Generator) -> Optimizer:
    """The optimizer `name` of `OPTIMIZERS`, all with the same population."""
    plugin, options = OPTIMIZERS[name]
    values = {"population": POPULATION, **options}
    optimizer: Optimizer = plugins.create(
        "stimloop.optimizers", PluginChoice(name=plugin, options=values), sample_codes, stream
    )
    return optimizer


def evolve_unit(
    unit: Unit, layer: Layer, generator: ImageGenerator, seed: int, names: Sequence[str]
) -> list[Evolution]:
    """All `names` at all noises, side by side."""
    evolutions = [Evolution(n, noise, seed, unit, generator) for n in names for noise in NOISES]
    for _ in range(N_GENERATIONS):
        asked = [each.optimizer.ask() for each in evolutions]
        ends = np.cumsum([len(codes) for codes in asked])[:-1]
        images = generator(np.concatenate(asked))
        scores = np.split(layer.responses(images)[:, unit.channel], ends)
        for each, codes, some in zip(evolutions, asked, scores, strict=True):
            each.tell(codes, some)
    return evolutions


def measure(arguments: argparse.Namespace, names: Sequence[str]) -> None:
    """Evolve at every unit that the file of runs has not yet; a layer after the other, in turn."""
    split, path = SPLITS[arguments.split], arguments.runs
    choice = PluginChoice(name=arguments.generator, options=json.loads(arguments.options))
    generator: ImageGenerator = plugins.create("stimloop.generators", choice)
    layers = {name: Layer(split.network, name, arguments.peers) for name in split.layers}
    per_layer = [
        units_of(layer, generator, arguments.units, split.seed) for layer in layers.values()
    ]
    done = {(r.unit, r.seed, r.optimizer) for r in read_runs(path, arguments)}
    for seed in range(arguments.seeds):
        for unit in (unit for some in zip(*per_layer, strict=False) for unit in some):
            left = [name for name in names if (unit.name, seed, name) not in done]
            if not left:
                continue
            start = time.perf_counter()
            evolutions = evolve_unit(unit, layers[unit.layer], generator, seed, left)
            _append(path, arguments, evolutions)
            print(f"{unit.name}, seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)


def _append(path: Path, arguments: argparse.Namespace, evolutions: Sequence[Evolution]) -> None:
    with path.open("a", encoding="utf-8") as file:
        for e in evolutions:
            run = Run(
                arguments.generator, arguments.split, e.unit.name, e.noise, e.seed, e.name,
                e.last_mean, e.chosen,
            )  # fmt: skip
            file.write(json.dumps(run._asdict()) + "\n")


def read_runs(path: Path, arguments: argparse.Namespace) -> list[Run]:
    """What was measured with this generator and split."""
    if not path.is_file():
        return []
    runs = [Run(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]
    wanted = (arguments.generator, arguments.split)
    return [run for run in runs if (run.generator, run.split) == wanted]


class Scores:
    """Normalised scores of finished runs.

    Args:
        runs: Every unit and seed with all optimizers and noises.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        best: dict[str, float] = {}
        for run in runs:
            best[run.unit] = max(best.get(run.unit, 0.0), run.last_mean, run.chosen)
        self.names = [name for name in OPTIMIZERS if any(run.optimizer == name for run in runs)]
        self.units = list(dict.fromkeys(run.unit for run in runs))
        self.seeds = sorted({run.seed for run in runs})
        self._values = {
            (r.optimizer, r.noise, r.unit, r.seed): (
                r.last_mean / best[r.unit],
                r.chosen / best[r.unit],
            )
            for r in runs
        }

    def of(self, optimizer: str, noise: float, which: int) -> NDArray[np.float64]:
        """`(n_units, n_seeds)`, NaN where not run; `which` 0: last generation, 1: chosen image."""
        nothing = (np.nan, np.nan)
        return np.array(
            [
                [self._values.get((optimizer, noise, u, s), nothing)[which] for s in self.seeds]
                for u in self.units
            ]
        )


def interval(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95 % interval of `(n_units, n_seeds)`: units resampled, and seeds within units."""
    random = random_stream(0, "bootstrap")
    differences = differences[np.isfinite(differences).any(axis=1)]
    n_units, n_seeds = differences.shape
    units = random.integers(n_units, size=(N_RESAMPLES, n_units, 1))
    seeds = random.integers(n_seeds, size=(N_RESAMPLES, n_units, n_seeds))
    means = np.nanmean(differences[units, seeds], axis=(1, 2))
    low, high = np.nanquantile(means, (0.025, 0.975))
    return float(np.nanmean(differences)), float(low), float(high)


def score_table(scores: Scores, which: int) -> str:
    """Optimizers by noise: the score, and how much ours has above it."""
    rows = []
    for name in scores.names:
        n_runs = int(np.isfinite(scores.of(name, 0.0, which)).sum())
        row = [f"**{name}**" if name == OURS else name, str(n_runs)]
        for noise in NOISES:
            values = scores.of(name, noise, which)
            cell = f"{np.nanmean(values):.3f}"
            if name != OURS:
                mean, low, high = interval(scores.of(OURS, noise, which) - values)
                cell += f" ({mean:+.3f}: {low:+.3f} to {high:+.3f})"
            row.append(cell)
        rows.append(row)
    return table(["optimizer", "runs", *(f"σ = {noise:g}" for noise in NOISES)], rows)


def report(runs: Sequence[Run], arguments: argparse.Namespace) -> str:
    """Both tables, and what they are of."""
    scores = Scores(runs)
    ours, baseline = (
        float(np.nanmean(scores.of(name, 0.0, 0))) for name in (OURS, "genetic, wang_ponce")
    )
    return (
        f"Generator `{arguments.generator}` {arguments.options}; {arguments.split} units of "
        f"{SPLITS[arguments.split].network}: {', '.join(scores.units)}; {len(scores.seeds)} seed(s). "
        f"{N_GENERATIONS} × {POPULATION} evaluations. Noise-free scores ÷ the unit's best in any run. "
        "In parentheses: ours minus this, with the 95 % interval of a paired bootstrap over units and "
        f"seeds.\n\nMean over the images of the last generation:\n\n{score_table(scores, 0)}\n\n"
        "The one image that measured best in the whole evolution:\n\n"
        f"{score_table(scores, 1)}\n\n"
        f"Without noise, ours ÷ the GA of Wang & Ponce: **{ours / baseline:.2f}** (last generation)."
    )


def times(code_dims: Sequence[int] = (512, 4096), n_generations: int = 20) -> str:
    """Median processor time of tell and ask, optimizers in turn; waiting for a busy core is not in it."""
    rows = {name: [name] for name in OPTIMIZERS}
    for dim in code_dims:

        def sample(n: int, random: np.random.Generator, dim: int = dim) -> NDArray[np.float32]:
            return random.standard_normal((n, dim), dtype=np.float32)

        optimizers = {n: made(n, sample, random_stream(0, "times", n)) for n in OPTIMIZERS}
        taken: dict[str, list[float]] = {name: [] for name in OPTIMIZERS}
        for _ in range(n_generations):
            for name, optimizer in optimizers.items():
                start = time.process_time()
                codes = optimizer.ask()
                asked = time.process_time()
                fitness = codes[:, :8].sum(axis=1).astype(np.float64)
                told = time.process_time()
                optimizer.tell(codes, fitness)
                taken[name].append(time.process_time() - told + asked - start)
        for name in OPTIMIZERS:
            rows[name].append(f"{1000 * float(np.median(taken[name])):.1f}")
    head = ["optimizer", *(f"{dim} numbers, ms" for dim in code_dims)]
    what = f"Processor time, medians of {n_generations} generations of {POPULATION} codes."
    return f"{table(head, list(rows.values()))}\n\n{what}"


def main() -> None:
    """Measure, and write the sections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=SPLITS, default="reported")
    parser.add_argument("--generator", default="deep")
    parser.add_argument("--options", default="{}", help="of the generator, JSON")
    parser.add_argument("--units", type=int, default=3, help="a layer")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="optimizers; then nothing is written")
    parser.add_argument("--peers", type=Path, help="folder of MobileNetV2's weights")
    parser.add_argument("--runs", type=Path, default=RUNS, help="file of finished runs")
    parser.add_argument("--parts", nargs="*", default=["scores", "times"])
    parser.add_argument("--as-is", action="store_true", help="write what the file has, run nothing")
    arguments = parser.parse_args()
    if "times" in arguments.parts:
        write_section("Optimizers: time", "python -m benchmarks.optimizers --parts times", times())
    if "scores" not in arguments.parts:
        return
    if not arguments.as_is:
        try:
            measure(arguments, arguments.only or list(OPTIMIZERS))
        except InstallationError as error:
            print(error)
            return
    text = report(read_runs(arguments.runs, arguments), arguments)
    if arguments.only or arguments.split != "reported":
        print(text)
        return
    command = f"python -m benchmarks.optimizers --generator {arguments.generator}"
    if arguments.options != "{}":
        command += f" --options '{arguments.options}'"
    command += f" --units {arguments.units} --seeds {arguments.seeds}"
    write_section(f"Optimizers: scores with the {arguments.generator} generator", command, text)


if __name__ == "__main__":
    main()
