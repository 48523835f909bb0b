"""A loop that learns, on digital twins of V4 neurons: gain over presentations.

Whole sessions as a server would run them, with the protocols' defaults (1,200 natural images shown
once, rounds, test): the plan itself, its fits and syntheses. Only the rig is missing: a block is
answered by twins with noisy counts. A count has the expectation
`20 · (z − z_min) / (z_best − z_min)`: z_best is the best of the session's images, which gives 20
spikes, z_min the worst, which gives none. It is Poisson, or of a larger variance.

What is reported is the twins' noise-free answer to the images of each round, and to those of the
test, ÷ their answer to the best of the 1,200: median over a site's images. With the objective of
one-hot population it is the softmax score among the session's twins, ÷ that of the natural image
with the best score. No encoder sees a twin, and defaults were chosen on `DEVELOPED` neurons (the
parting is that of `transfer`).

A session's twins are its population, and all of them are targets, or one: `--neurons developed` is
one session of 11, `--neurons reported` are two of 11. The rows come in the order of their weight,
and each is written to RESULTS.md when it is done. Everything that took long is kept in `--kept`, so
that a run that was broken off goes on; `--as-is` writes what is there, and says how far it is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoder_data import recording_or_leave, with_weights
from benchmarks.learning_twins import Noise, Twins, natural_answers
from benchmarks.results import table, write_section
from benchmarks.transfer import DEVELOPED, REPORTED
from benchmarks.twins import SESSION, data_folder
from encoders.features import FeatureStore
from encoders.fitting import FitSettings
from encoders.parallel import n_cores
from protocols import plugins
from protocols.digests import array_digest
from protocols.experiments.rounds import LearningSettings, round_of
from protocols.vocabulary import Block, Role
from synth_server.session import encoders
from synth_server.session.apparatus import ThreadApparatus
from synth_server.session.equipment import Equipment
from synth_server.session.products import Products

N_IMAGES = 1200
AT_ONCE = 11
"""Twins in a session."""
SINGLE = 4
"""Every so manieth twin is the target of a session of its own."""
DEFAULT = LearningSettings()
AGAIN = DEFAULT.rounds * DEFAULT.repetitions
"""Showings of round 1's images, where no others are made."""
UNTRAINED = with_weights(FitSettings(), "random").model_dump(mode="json")["taps"]


class Condition(NamedTuple):
    """What one row of the table is about.

    Attributes:
        changes: Settings in place of the protocol's defaults.
        protocol: Whose session it is.
        noise: Of the counts.
        single: Whether a session has one target.
    """

    changes: Mapping[str, Any] = {}
    protocol: str = "stretch"
    noise: Noise = Noise()
    single: bool = False


ALONE = {"rounds": 9, "n_images": 100}
CONDITIONS: Mapping[str, Condition] = {
    "rounds": Condition(),
    "one shot: no rounds": Condition({"learning": {"rounds": 0}}),
    "rounds, Fano factor 1.5": Condition(noise=Noise(fano=1.5)),
    "one-hot population": Condition(protocol="one_hot_population"),
    "control: shuffled counts": Condition(noise=Noise(shuffled=True)),
    "control: round 1's images again": Condition({"learning": {"rounds": 1, "repetitions": AGAIN}}),
    "control: untrained networks": Condition(
        {"fit": {"name": "two_stage", "options": {"taps": UNTRAINED}}}
    ),
    "one target, 1,800 presentations": Condition({"learning": ALONE}, single=True),
}
"""In the order in which they are run."""


class Row(NamedTuple):
    """Some of a site's images: how many presentations came before, and the twin's gain."""

    kind: str
    site: str
    n_before: int
    gain: float


class Run(NamedTuple):
    """One session of a condition, and where it is kept."""

    name: str
    condition: Condition
    units: tuple[int, ...]
    targets: tuple[int, ...]
    seed: int
    folder: Path

    @property
    def is_done(self) -> bool:
        """Whether it went to its end."""
        return (self.folder / "done").is_file()

    def rows(self) -> list[Row]:
        """What is known so far."""
        path = self.folder / "rows.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.is_file() else []
        return [Row(*json.loads(line)) for line in lines]


def main() -> None:
    """`python -m benchmarks.learning [--neurons reported] [--only …] [--kept FOLDER] [--as-is]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", choices=("reported", "developed"), default="reported")
    parser.add_argument("--only", nargs="+", choices=list(CONDITIONS), help="conditions by name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kept", type=Path, default=Path(gettempdir()) / "stimloop-learning")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "stimloop-features")
    parser.add_argument("--as-is", action="store_true", help="run nothing, write what --kept has")
    parser.add_argument("--draft", action="store_true", help="print only, leave RESULTS.md alone")
    chosen = parser.parse_args()
    images = recording_or_leave(SESSION, repeats=False).images
    natural = natural_answers(chosen.cache, images)
    _keep_features(chosen.cache)
    wanted = chosen.only or list(CONDITIONS)
    for name in wanted:
        for run in _runs(name, chosen.neurons, chosen.seed, chosen.kept):
            if not (chosen.as_is or run.is_done):
                noise = run.condition.noise
                _run(run, Twins(run.units, natural, images, chosen.seed, noise, run.folder))
        text = _text(list(CONDITIONS), chosen.neurons, chosen.seed, chosen.kept)
        if not chosen.draft and (not chosen.as_is or name == wanted[-1]):
            command = f"python -m benchmarks.learning --neurons {chosen.neurons}"
            write_section(f"A loop that learns: {chosen.neurons} neurons", command, text)
    if chosen.draft:
        print(text)


def _runs(name: str, neurons: str, seed: int, kept: Path) -> Iterator[Run]:
    """The sessions of a condition."""
    units, condition = REPORTED if neurons == "reported" else DEVELOPED, CONDITIONS[name]
    for at in range(0, len(units), AT_ONCE):
        some = units[at : at + AT_ONCE]
        for targets in [(unit,) for unit in some[::SINGLE]] if condition.single else [some]:
            label = f"{name}-{'-'.join(map(str, some))}-{targets}-{seed}"
            key = array_digest(np.frombuffer(label.encode(), np.uint8))[:16]
            yield Run(name, condition, some, targets, seed, kept / key)


def _keep_features(cache: Path) -> None:
    """Sessions of this process share the features of natural images: on disk, once computed."""

    def store(*args: Any, **options: Any) -> FeatureStore:
        return FeatureStore(cache, *args, **options)

    vars(encoders)["FeatureStore"] = store


def _run(run: Run, twins: Twins) -> None:
    """One session up to its test's first pass, which shows every image; more counts add nothing.

    Each block's gains go into `rows.jsonl`, what it took to know the next into `times.jsonl`.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    n_before, number, rows, started = 0, 0, [], time.perf_counter()
    plan = _plan(run)
    block = next(plan)
    while "test" not in block.label or "repetition 0" in block.label:
        block = block.at(number, run.condition.protocol)
        rows += _rows(block, twins, n_before, run.condition.protocol)
        _write(run.folder / "rows.jsonl", rows)
        minutes = (time.perf_counter() - started) / 60
        print(
            f"{run.name}, {len(run.targets)} target(s) from {run.targets[0]}: {block.label}, "
            f"{n_before:,} presentations before, {minutes:.0f} min",
            flush=True,
        )
        answer = twins.responses(block)
        told = time.perf_counter()
        n_before, number = n_before + len(block.order), number + 1
        block = plan.send(answer)
        with (run.folder / "times.jsonl").open("a") as file:
            file.write(json.dumps([block.label, n_cores(), time.perf_counter() - told]) + "\n")
    (run.folder / "done").touch()


def _plan(run: Run) -> Any:
    settings = {
        "images": str(data_folder() / "v4" / f"images_{SESSION}.zip"),
        "n_images": N_IMAGES,
        "mapping": {"repetitions": 1},
        **({"targets": [str(unit) for unit in run.targets]} if run.condition.single else {}),
        **run.condition.changes,
    }
    experiment = plugins.load("stimloop.protocols", run.condition.protocol)
    equipment = Equipment(Products(run.folder / "products"))
    apparatus = ThreadApparatus(equipment, run.seed, run.condition.protocol)
    return experiment(experiment.Settings(**settings), apparatus)


def _rows(block: Block, twins: Twins, n_before: int, protocol: str) -> list[Row]:
    """The block's images that were made: one row each; each image of a round once."""
    if not block.label.startswith(("round", "test")) or "repetition 0" not in block.label:
        return []
    number = round_of(block.label)
    kind = f"round {number}" if number else "test"
    z = twins.answers(block.images)
    gains = z / twins.best if protocol == "stretch" else _singled_out(z, twins.natural)
    return [
        Row(kind, target, n_before, float(gains[place, column]))
        for place, stimulus in enumerate(block.stimuli)
        for column, target in enumerate(twins.site_ids)
        if stimulus.role in (Role.STRETCH, Role.ONE_HOT_POPULATION) and target in stimulus.targets
    ]


def _singled_out(z: NDArray[np.float64], natural: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(n, n_units)`: each twin's softmax score among all, ÷ that of its best natural image."""
    mean, sd = natural.mean(axis=0), natural.std(axis=0)

    def scores(answers: NDArray[np.float64]) -> NDArray[np.float64]:
        powers = np.exp((answers - mean) / sd)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    return np.asarray(scores(z) / scores(natural).max(axis=0))


def _write(path: Path, rows: Sequence[Row]) -> None:
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    part.replace(path)


def _text(names: Sequence[str], neurons: str, seed: int, kept: Path) -> str:
    """A row for each condition and round: median over sites of the sites' median gains."""
    lines, told = [], []
    for name in names:
        runs = list(_runs(name, neurons, seed, kept))
        rows = [row for run in runs for row in run.rows()]
        lines += [
            (name, kind, *_cells([row for row in rows if row.kind == kind]))
            for kind in dict.fromkeys(row.kind for row in rows)
        ]
        missing = [str(run.targets) for run in runs if rows and not run.is_done]
        if missing:
            told.append(f"{name}: not finished for {', '.join(missing)}.")
    head = (
        "condition", "images", "sites", "presentations before", "median gain", "95 % CI", "mean",
        "above 1", "least",
    )  # fmt: skip
    return "\n\n".join([table(head, lines), *told])


def _cells(rows: Sequence[Row]) -> tuple[str, ...]:
    sites = sorted({row.site for row in rows}, key=int)
    gains = np.array([np.median([r.gain for r in rows if r.site == s]) for s in sites])
    low, high = _interval(gains)
    return (
        str(len(sites)),
        f"{min(row.n_before for row in rows):,}",
        f"**{np.median(gains):.2f}**",
        f"{low:.2f}–{high:.2f}",
        f"{gains.mean():.2f}",
        f"{np.sum(gains > 1)} of {len(gains)}",
        f"{gains.min():.2f}",
    )


def _interval(gains: NDArray[np.float64]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = np.median(gains[random.integers(0, len(gains), (10_000, len(gains)))], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main()
