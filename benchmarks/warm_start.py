"""What a start from photographs gains over a start from the generator's prior, at equal cost.

The plan itself (`evolve`), driven in this process, with simulated sites and Poisson counts. The
photographs that a warm start shows first cost presentations; the cold evolution gets them as
further generations. Figures are true rates: the mean image of the first generation, and of the last
five, over the best of the photographs that are shown.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.answers import answered
from benchmarks.results import table, write_section
from protocols import plugins
from protocols.documents import SessionSettings, ThreadSettings
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role
from synth_server.session.build import build_plans, resolved
from synth_server.session.equipment import Equipment
from synth_server.session.products import Products
from synth_server.synthesis.photographs import load_photographs

N_SITES, POPULATION, N_GENERATIONS, LAST = 8, 30, 20, 5
N_PHOTOGRAPHS, PASSES = 150, 2
WINDOW_S = 0.1
SIZE_PX = 64
GENERATOR = {"name": "pixels", "options": {"size_px": SIZE_PX}}
"""It inverts exactly: what is measured is the start and not the inversion."""
GENETIC = {"name": "genetic", "options": {"population": POPULATION}}
ASCENT = {"name": "sphere_ascent", "options": {"population": POPULATION}}
NARROW = {"name": "sphere_ascent", "options": {"population": POPULATION, "first_deg": 35}}
CONDITIONS: tuple[tuple[str, dict[str, Any], float | None], ...] = (
    ("genetic", GENETIC, None),
    ("genetic", GENETIC, 0.5),
    ("sphere_ascent", ASCENT, None),
    ("sphere_ascent", ASCENT, 0.5),
    ("sphere_ascent, first_deg 35", NARROW, 0.5),
    ("genetic", GENETIC, 0.0),
    ("genetic", GENETIC, 1.0),
)
"""Optimizer, and the spread of a start from photographs; None: from the prior."""
Floats = NDArray[np.float64]


def evolved(site: int, settings: dict[str, Any], subject: Any, products: Path) -> Floats:
    """Mean true counts of the first generation, and of the last ones: `(2,)`."""
    name = f"site-{site:02d}"
    values = {"objective": {"name": "site", "options": {"site": name}}, **settings}
    thread = ThreadSettings(name=name, protocol="evolve", settings=values)
    session = resolved(SessionSettings(session_id="warm", seed=site, threads=(thread,)))
    plan = build_plans(session, Equipment(Products(products)))[name]
    random = np.random.default_rng(site)
    block: Block | None = next(plan).at(0, name)
    means = []
    while block is not None:
        rates = subject.rates(block.images)[:, site] * WINDOW_S
        if block.generation is not None:
            means.append(rates[list(block.indices(Role.EVOLVED))].mean())
        try:
            responses = answered(block, (name,), partial(_poisson, rates, random))
            block = plan.send(responses).at(block.index + 1, name)
        except StopIteration:
            block = None
    return np.array([means[0], np.mean(means[-LAST:])])


def _poisson(rates: Floats, random: np.random.Generator, image: int) -> tuple[float]:
    return (float(random.poisson(rates[image])),)


def main() -> None:
    """Measure and write the section."""
    options = {"n_sites": N_SITES, "seed": 1}
    subject = plugins.create(
        "stimloop.subjects", PluginChoice(name="gabor_energy", options=options)
    )
    photographs = load_photographs("embedded", N_PHOTOGRAPHS, SIZE_PX).images
    best = subject.rates(photographs).max(axis=0)[:, None] * WINDOW_S
    n_cold = N_GENERATIONS + N_PHOTOGRAPHS * PASSES // POPULATION
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for optimizer, choice, spread in CONDITIONS:
            settings = {"generator": GENERATOR, "optimizer": choice, "n_references": 1}
            settings["n_generations"] = n_cold if spread is None else N_GENERATIONS
            if spread is not None:
                images = {"n_images": N_PHOTOGRAPHS, "repetitions": PASSES}
                settings["start"] = {**images, "spread": spread}
            found = [evolved(site, settings, subject, Path(folder)) for site in range(N_SITES)]
            first, last = (np.array(found) / best).T
            start = "prior" if spread is None else f"photographs, spread {spread:g}"
            low, middle, high = np.quantile(last, (0.2, 0.5, 0.8))
            ends = f"{middle:.2f} ({low:.2f}–{high:.2f})"
            rows.append([optimizer, start, f"{np.median(first):.2f}", ends])
            print(rows[-1], flush=True)
    head = ["optimizer", "start", "first generation", "last five"]
    text = (
        f"{table(head, rows)}\n\n{N_SITES} sites of `gabor_energy`, generator `pixels`, population "
        f"{POPULATION}; {N_GENERATIONS} generations after {N_PHOTOGRAPHS} photographs shown "
        f"{PASSES} times, or {n_cold} from the prior: as many presentations of images that can "
        "win. One Poisson count of 100 ms each. True rates over that of the best photograph; "
        "medians over sites, with 20th and 80th percentile."
    )
    write_section("A start from photographs", "python -m benchmarks.warm_start", text)


if __name__ == "__main__":
    main()
