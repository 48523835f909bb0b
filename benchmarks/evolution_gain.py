"""What the defaults gain on simulated V4-like sites, against the published presets and controls.

The plan itself (`evolve`), driven in this process. Populations of seeds 1 and 2: everything was
tuned on seeds of 100 and above. The figure is the true rate, averaged over all images of the last
five generations, over the true rate of the best of the 20 references.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.answers import answered
from benchmarks.results import table, write_section
from protocols import plugins
from protocols.documents import SessionSettings, ThreadSettings
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Counts, Role
from synth_server.session.build import build_plans, resolved
from synth_server.session.equipment import Equipment

POPULATION_SEEDS = (1, 2)
N_SITES = 6
SITE_IDS = tuple(f"site-{site:02d}" for site in range(N_SITES))
N_GENERATIONS = 60
LAST = 5
CONDITIONS: dict[str, dict[str, Any]] = {
    "stimloop": {},
    "stimloop, noise-free": {"noise": "none"},
    "poncelab": {"optimizer": {"name": "genetic", "options": {"preset": "poncelab"}}},
    "xdream": {"optimizer": {"name": "genetic", "options": {"preset": "xdream"}}},
    "random search": {"optimizer": {"name": "random_search", "options": {"population": 30}}},
    "stimloop in pixel space": {"generator": {"name": "pixels"}},
}


class TrueRates:
    """Rates of a population, each image computed once."""

    def __init__(self, seed: int) -> None:
        options = {"n_sites": N_SITES, "seed": seed}
        self._subject = plugins.create(
            "stimloop.subjects", PluginChoice(name="v4_like", options=options)
        )
        self._known: dict[str, Counts] = {}

    def of(self, block: Block) -> np.ndarray[Any, Any]:
        """`(n_stimuli, n_sites)` spikes/s."""
        ids = block.stimulus_ids
        new = [i for i, name in enumerate(ids) if name not in self._known]
        if new:
            rates = self._subject.rates(block.images[new])
            self._known.update(zip((ids[i] for i in new), rates, strict=True))
        return np.array([self._known[name] for name in ids])


def gain(rates: TrueRates, site: int, session: SessionInfo, condition: dict[str, Any]) -> float:
    """Evolve for one site; the true rate of the last generations over the best reference's."""
    name = f"site-{site:02d}"
    settings: dict[str, Any] = {
        "n_generations": N_GENERATIONS,
        "objective": {"name": "site", "options": {"site": name}},
        **{key: value for key, value in condition.items() if key != "noise"},
    }
    thread = ThreadSettings(name=name, protocol="evolve", settings=settings)
    chosen = resolved(
        SessionSettings(session_id=session.session_id, seed=session.seed, threads=(thread,))
    )
    plan = build_plans(chosen, Equipment())[name]
    random = np.random.default_rng(site)
    block: Block | None = next(plan).at(0, name)
    evolved: list[float] = []
    best_reference = 0.0
    while block is not None:
        true = rates.of(block)
        evolved.append(float(true[list(block.indices(Role.EVOLVED)), site].mean()))
        best_reference = float(true[list(block.indices(Role.REFERENCE)), site].max())
        expected = true * 0.1
        counts = expected if condition.get("noise") == "none" else random.poisson(expected)
        try:
            block = plan.send(answered(block, SITE_IDS, counts.__getitem__)).at(
                block.index + 1, name
            )
        except StopIteration:
            block = None
    return float(np.mean(evolved[-LAST:])) / best_reference


def main() -> None:
    """Measure and write the section."""
    populations = {seed: TrueRates(seed) for seed in POPULATION_SEEDS}
    rows = []
    for name, condition in CONDITIONS.items():
        gains = np.array(
            [
                gain(rates, site, SessionInfo(session_id="gain", seed=seed), condition)
                for seed, rates in populations.items()
                for site in range(N_SITES)
            ]
        )
        low, middle, high = np.quantile(gains, (0.2, 0.5, 0.8))
        above = f"{(gains > 1).sum()} of {len(gains)}"
        rows.append([name, f"{middle:.2f}", f"{low:.2f}–{high:.2f}", above])
        print(rows[-1], flush=True)
    head = ["condition", "median", "20th–80th percentile", "sites above 1"]
    text = (
        f"{table(head, rows)}\n\nPopulation 30, {N_GENERATIONS} generations, one Poisson count of "
        "100 ms an image unless said otherwise. One run a site."
    )
    write_section("Gain on simulated V4-like sites", "python -m benchmarks.evolution_gain", text)


if __name__ == "__main__":
    main()
