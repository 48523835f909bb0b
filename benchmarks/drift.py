"""What drift does to the fitness that an optimizer is told, and what normalisation gives back.

The plan itself (`evolve`), driven in this process, with simulated V1-like sites whose gain changes
from block to block while the images are shown. Of the same sessions, the fitness is computed by
several normalisations, and compared with the true rate of each image: its rank among all images of
all generations, and how much better the last generations are than the first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.answers import answered
from benchmarks.results import table, write_section
from protocols import plugins
from protocols.documents import SessionSettings, ThreadSettings
from protocols.experiments.normalisation import NormalisationSettings, Normaliser
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role
from synth_server.session.build import build_plans, resolved
from synth_server.session.equipment import Equipment

N_SITES, N_GENERATIONS, ENDS = 12, 60, 10
WINDOW_S = 0.1
DRIFTS: dict[str, Callable[[float], float]] = {
    "none": lambda _: 1.0,
    "falls to half": lambda part: 1 - 0.5 * part,
    "oscillates by 40 %, twice": lambda part: 1 + 0.4 * float(np.sin(4 * np.pi * part)),
}
NORMALISATIONS = {
    "none": NormalisationSettings(),
    "mean, 1 block": NormalisationSettings(scale="mean", window_blocks=1),
    "mean, 3 blocks": NormalisationSettings(scale="mean", window_blocks=3),
    "mean, 5 blocks": NormalisationSettings(scale="mean"),
    "mean, 10 blocks": NormalisationSettings(scale="mean", window_blocks=10),
    "z-score, 5 blocks": NormalisationSettings(baseline="references", scale="sd"),
}
Floats = NDArray[np.float64]


class Course(NamedTuple):
    """One evolution: `(n_generations, n_images)` each."""

    true: Floats
    counts: Floats
    references: Floats


def evolved(site: int, drift: Callable[[float], float], subject: Any) -> Course:
    """Evolve for one site while its gain drifts."""
    name = f"site-{site:02d}"
    settings = {
        "n_generations": N_GENERATIONS,
        "generator": {"name": "fourier", "options": {"size_px": 64}},
        "objective": {"name": "site", "options": {"site": name}},
    }
    thread = ThreadSettings(name=name, protocol="evolve", settings=settings)
    session = resolved(SessionSettings(session_id="drift", seed=site, threads=(thread,)))
    plan, random = build_plans(session, Equipment())[name], np.random.default_rng(site)
    block: Block | None = next(plan).at(0, name)
    rows: list[tuple[Floats, Floats, Floats]] = []
    while block is not None:
        rates = subject.rates(block.images)[:, site] * WINDOW_S
        counts = random.poisson(drift(block.index / N_GENERATIONS) * rates).astype(float)
        is_evolved, is_reference = (list(block.indices(r)) for r in (Role.EVOLVED, Role.REFERENCE))
        rows.append((rates[is_evolved], counts[is_evolved], counts[is_reference]))
        try:
            responses = answered(block, (name,), counts[:, None].__getitem__)
            block = plan.send(responses).at(block.index + 1, name)
        except StopIteration:
            block = None
    return Course(*(np.array(part) for part in zip(*rows, strict=True)))


def fitness(course: Course, settings: NormalisationSettings) -> Floats:
    """What the optimizer is told, `(n_generations, n_images)`."""
    on_scale, found = Normaliser(settings), []
    for counts, references in zip(course.counts, course.references, strict=True):
        on_scale.learn(("site",), references[:, None], np.array([np.nan]))
        found.append(on_scale(counts[:, None])[:, 0])
    return np.array(found)


def rank_correlation(a: Floats, b: Floats) -> float:
    """Spearman's, over all images of all generations; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(a.ravel()), _ranks(b.ravel()))[0, 1])


def growth(values: Floats) -> float:
    """The last generations over the first."""
    return float(values[-ENDS:].mean() / values[:ENDS].mean())


def _ranks(values: Floats) -> Floats:
    _, places, n = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(n)
    return np.asarray((last - (n - 1) / 2)[places], np.float64)


def main() -> None:
    """Measure and write the section."""
    options = {"n_sites": N_SITES, "seed": 1}
    subject = plugins.create(
        "stimloop.subjects", PluginChoice(name="gabor_energy", options=options)
    )
    rows = []
    for drift, gain in DRIFTS.items():
        courses = [evolved(site, gain, subject) for site in range(N_SITES)]
        for name, settings in NORMALISATIONS.items():
            told = [fitness(course, settings) for course in courses]
            ranks = [rank_correlation(f, c.true) for f, c in zip(told, courses, strict=True)]
            row = [drift, name, f"{np.median(ranks):.3f}"]
            if settings.baseline == "none":
                grown = [growth(f) / growth(c.true) for f, c in zip(told, courses, strict=True)]
                low, middle, high = np.quantile(grown, (0.2, 0.5, 0.8))
                row += [f"{middle:.2f} ({low:.2f}–{high:.2f})"]
            else:
                row += ["–"]
            rows.append(row)
            print(row, flush=True)
    head = ["drift of the gain", "normalisation", "rank correlation", "growth ÷ true growth"]
    text = (
        f"{table(head, rows)}\n\n{N_SITES} sites of `gabor_energy`, {N_GENERATIONS} generations of "
        "30 images and 20 references, one Poisson count of 100 ms each. Rank correlation of fitness "
        "and true rate over all images of a session; growth: mean of the last ten generations over "
        "the first ten, in fitness over that in true rates (1 is right). Medians over sites, with "
        "20th and 80th percentile."
    )
    write_section("Drift, and normalisation by references", "python -m benchmarks.drift", text)


if __name__ == "__main__":
    main()
