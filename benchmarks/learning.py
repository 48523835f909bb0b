"""A loop that learns, on digital twins of V4 neurons: gain over presentations.

Whole sessions of `stretch` as a server would run them, with the protocol's defaults (1,200 natural
images shown once, rounds, test): the plan itself, its fits and syntheses. Only the rig is missing: a
block is answered by twins with noisy counts. A count has the expectation
`20 · (z − z_min) / (z_best − z_min)`: z_best is the best of the session's images, which gives 20
spikes, z_min the worst, which gives none. It is Poisson, or (`--fano`) of a larger variance.

What is reported is the twins' noise-free answer to the images of each round, and to the new images
of the test, ÷ their answer to the best of the 1,200: median over a site's images. No encoder sees
a twin, and defaults were chosen on `DEVELOPED` neurons (the parting is that of `transfer`).

A session's twins are its population, and all of them are targets: `--neurons developed` is one
session of 11, `--neurons reported` are two of 11. Everything that took long is kept in `--kept`, so
that a run that was broken off goes on; `--as-is` writes what is there, and says how far it is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.encoder_data import recording_or_leave
from benchmarks.evolution_twins import SPIKES_AT_BEST
from benchmarks.results import table, write_section
from benchmarks.transfer import DEVELOPED, REPORTED
from benchmarks.twins import SESSION, TwinPopulation, data_folder, seen_by_twin
from encoders.backbones import pixels_of
from encoders.backbones.device import device_named
from encoders.parallel import n_cores
from protocols import plugins
from protocols.digests import array_digest
from protocols.experiments.rounds import round_of
from protocols.seeds import random_stream
from protocols.vocabulary import Block, BlockResponses, Images, Outcome, Role
from synth_server.session.apparatus import ThreadApparatus
from synth_server.session.equipment import Equipment
from synth_server.session.products import Products

N_IMAGES = 1200
AT_ONCE = 11
"""Twins in a session."""
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "rounds (default)": {},
    "one shot: no rounds": {"learning": {"rounds": 0}},
}


class Row(NamedTuple):
    """Some of a site's images: how many presentations came before, and the twin's median gain."""

    kind: str
    site: str
    n_before: int
    gain: float


class Twins:
    """Some twins as a rig: noisy counts for the plan, noise-free answers for the report.

    Args:
        units: Which twins; their numbers are the names of sites.
        natural: `(1200, 33)`: the twins' answers to the session's images.
        images: Those images.
        seed: Of the counts.
        fano: Variance ÷ mean of a count.
        kept: Where answers are kept.
    """

    def __init__(
        self,
        units: Sequence[int],
        natural: NDArray[np.float64],
        images: Images,
        seed: int,
        fano: float,
        kept: Path,
    ) -> None:
        self.units, self._seed, self._fano, self._kept = units, seed, fano, kept
        self.site_ids = tuple(str(unit) for unit in units)
        chosen = natural[:, list(units)]
        self.best, self._worst = chosen.max(axis=0), chosen.min(axis=0)
        keys = [array_digest(image) for image in images]
        self._known = dict(zip(keys, chosen, strict=True))
        population = TwinPopulation(data_folder() / "v4" / "compact_models")
        self._twins = [population.twin(unit) for unit in units]
        for path in sorted(kept.glob("answers-*.npz")):
            with np.load(path, allow_pickle=False) as file:
                self._known |= zip(file["keys"].tolist(), file["z"], strict=True)

    def answers(self, images: Images) -> NDArray[np.float64]:
        """`(n, h, w, 3) uint8` → `(n, n_units)` z-scores, without noise."""
        keys = [array_digest(image) for image in images]
        missing = {key: row for row, key in enumerate(keys) if key not in self._known}
        if missing:
            values = seen_by_twin(pixels_of(images[list(missing.values())], device_named("cpu")))
            new = np.concatenate([_answered(twin, values) for twin in self._twins], axis=1)
            self._known |= zip(missing, new, strict=True)
            name = array_digest(np.array(sorted(missing)).view(np.uint8))[:16]
            np.savez(self._kept / f"answers-{name}.npz", keys=list(missing), z=new)
        return np.stack([self._known[key] for key in keys])

    def responses(self, block: Block) -> BlockResponses:
        """What a rig would send: one count a site for every showing."""
        z = self.answers(block.images)
        expected = SPIKES_AT_BEST * ((z - self._worst) / (self.best - self._worst)).clip(0)
        shown = []
        for cue in block.cues():
            random = random_stream(self._seed, "counts", *map(str, cue.seed_path))
            counts = self._noisy(expected[cue.stimulus_index], random)
            shown.append(
                cue.presentation(
                    onset_s=0.0, outcome=Outcome.COMPLETED, spike_counts=tuple(counts.tolist())
                )
            )
        return BlockResponses(
            block_index=block.index, site_ids=self.site_ids, presentations=tuple(shown)
        )

    def _noisy(
        self, expected: NDArray[np.float64], random: np.random.Generator
    ) -> NDArray[np.float64]:
        """Poisson; or, with a Fano factor above 1, Poisson of a rate that varies (gamma)."""
        if self._fano > 1:
            excess = self._fano - 1
            expected = random.gamma(np.maximum(expected / excess, 1e-9), excess)
        return random.poisson(expected).astype(np.float64)


def main() -> None:
    """`python -m benchmarks.learning [--neurons reported] [--only …] [--kept FOLDER] [--as-is]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", choices=("reported", "developed"), default="reported")
    parser.add_argument("--only", nargs="+", choices=list(CONDITIONS), help="conditions by name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fano", type=float, default=1.0, help="variance ÷ mean of a count")
    parser.add_argument("--kept", type=Path, default=Path(gettempdir()) / "stimloop-learning")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "stimloop-features")
    parser.add_argument("--as-is", action="store_true", help="run nothing, write what --kept has")
    parser.add_argument("--draft", action="store_true", help="print only, leave RESULTS.md alone")
    chosen = parser.parse_args()
    units = REPORTED if chosen.neurons == "reported" else DEVELOPED
    images = recording_or_leave(SESSION, repeats=False).images
    natural = _natural(chosen.cache, images)
    found: dict[str, list[Row]] = {}
    told = []
    for name in chosen.only or CONDITIONS:
        for at in range(0, len(units), AT_ONCE):
            some = units[at : at + AT_ONCE]
            label = f"{name}-{'-'.join(map(str, some))}-{chosen.seed}-{chosen.fano:g}"
            folder = chosen.kept / array_digest(np.frombuffer(label.encode(), np.uint8))[:16]
            folder.mkdir(parents=True, exist_ok=True)
            if not chosen.as_is:
                twins = Twins(some, natural, images, chosen.seed, chosen.fano, folder)
                _run(CONDITIONS[name], twins, chosen.seed, folder, f"{name}, from unit {at}")
            rows, is_done = _kept_rows(folder)
            found.setdefault(name, []).extend(rows)
            if not is_done:
                told.append(f"{name}: the session of units {some} is not finished")
    text = "\n\n".join([_table(found), *told])
    command = f"python -m benchmarks.learning --neurons {chosen.neurons} --fano {chosen.fano:g}"
    print(text)
    if not chosen.draft:
        heading = f"A loop that learns: {chosen.neurons} neurons, Fano factor {chosen.fano:g}"
        write_section(heading, command, text)


def _run(changes: Mapping[str, Any], twins: Twins, seed: int, folder: Path, label: str) -> None:
    """One session; each block's gains go into `rows.jsonl`, its times into `times.jsonl`."""
    settings = {
        "images": str(data_folder() / "v4" / f"images_{SESSION}.zip"),
        "n_images": N_IMAGES,
        "mapping": {"repetitions": 1},
        **changes,
    }
    experiment = plugins.load("stimloop.protocols", "stretch")
    equipment = Equipment(Products(folder / "products"))
    plan = experiment(experiment.Settings(**settings), ThreadApparatus(equipment, seed, "stretch"))
    rows: list[Row] = []
    n_before, number, block = 0, 0, next(plan)
    while True:
        block = block.at(number, "stretch")
        kind = f"round {round_of(block.label)}" if round_of(block.label) else "test"
        if block.label.startswith(("round", "test, repetition 0")):
            rows += _rows(kind, block, twins, n_before)
        _write(folder / "rows.jsonl", rows)
        print(f"{label}: {block.label}, {n_before} presentations before", flush=True)
        started = time.perf_counter()
        answer = twins.responses(block)
        told = time.perf_counter()
        n_before, number = n_before + len(block.order), number + 1
        try:
            block = plan.send(answer)
        except StopIteration:
            break
        seconds = (told - started, time.perf_counter() - told)
        with (folder / "times.jsonl").open("a") as file:
            file.write(json.dumps([block.label, n_cores(), *seconds]) + "\n")
    (folder / "done").touch()


def _rows(kind: str, block: Block, twins: Twins, n_before: int) -> list[Row]:
    """The block's images that were made: one row each."""
    z = twins.answers(block.images)
    return [
        Row(kind, target, n_before, float(z[place, column] / twins.best[column]))
        for place, stimulus in enumerate(block.stimuli)
        for column, target in enumerate(twins.site_ids)
        if stimulus.role is Role.STRETCH and target in stimulus.targets
    ]


def _answered(twin: Any, values: Any) -> NDArray[np.float64]:
    import torch

    with torch.inference_mode():
        parts = [twin(some) for some in torch.split(values, 16)]
    return np.asarray(torch.cat(parts).numpy(), np.float64)


def _natural(cache: Path, images: Images) -> NDArray[np.float64]:
    """The twins' answers to the session's images, as `transfer` keeps them."""
    path = cache / f"twins-{array_digest(images)[:16]}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, TwinPopulation(data_folder() / "v4" / "compact_models").rates(images))
    return np.asarray(np.load(path, allow_pickle=False))


def _write(path: Path, rows: Sequence[Row]) -> None:
    part = path.with_suffix(".part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    part.replace(path)


def _kept_rows(folder: Path) -> tuple[list[Row], bool]:
    path = folder / "rows.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [Row(*json.loads(line)) for line in lines], (folder / "done").is_file()


def _table(found: Mapping[str, Sequence[Row]]) -> str:
    """A row for each condition and round: median over sites of the sites' median gains."""
    lines = []
    for name, rows in found.items():
        for kind in dict.fromkeys(row.kind for row in rows):
            some = [row for row in rows if row.kind == kind]
            sites = sorted({row.site for row in some}, key=int)
            gains = np.array([np.median([r.gain for r in some if r.site == s]) for s in sites])
            low, high = _interval(gains)
            lines.append(
                (
                    name,
                    kind,
                    str(len(sites)),
                    f"{min(row.n_before for row in some):,}",
                    f"**{np.median(gains):.2f}**",
                    f"{low:.2f}–{high:.2f}",
                    f"{gains.mean():.2f}",
                    f"{np.sum(gains > 1)} of {len(gains)}",
                    f"{gains.min():.2f}",
                )
            )
    head = (
        "condition", "images", "sites", "presentations before", "median gain", "95 % CI", "mean",
        "above 1", "least",
    )  # fmt: skip
    return table(head, lines)


def _interval(gains: NDArray[np.float64]) -> tuple[float, float]:
    random = np.random.default_rng(0)
    drawn = np.median(gains[random.integers(0, len(gains), (10_000, len(gains)))], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


if __name__ == "__main__":
    main()
