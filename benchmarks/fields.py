"""How exactly `map_fields` finds receptive fields, and how often it finds one that is not there.

The plan's own blocks are driven in this process. Sites answer by a model that shares no code with the
estimator: a cloud of points drawn from each field's Gaussian, and the patch's opacity at each point,
read off the pixels that the block shows. Counts are negative binomial (Fano 1.5) in 100 ms, baseline 5
spikes/s, texture gains log-normal (SD 0.5), σ = (1 + 0.6 · eccentricity) / 4. The sites of an array lie
around a common centre (SD 0.7°, within 5° of the screen's). `peak` is the rate that a patch over the
whole field evokes on average, baseline included.
"""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import table, write_section
from protocols.documents import SessionSettings, ThreadSettings
from protocols.fields import EstimateSettings, FieldMap, FieldShowings
from protocols.vocabulary import Block, BlockResponses, Outcome
from synth_server.receptive_fields.estimating import estimate_fields
from synth_server.session.build import build_plans, resolved
from synth_server.session.equipment import Equipment

N_ARRAYS, N_SITES, N_FLAT = 2, 32, 200
BASELINE, FANO, WINDOW_S, EDGE_DEG = 5.0, 1.5, 0.1, 0.5
CELLS = ("coarse × 10", "coarse × 20", "fine × 10", "fine × 20")
Floats = NDArray[np.float64]


class Array(NamedTuple):
    """Sites of one animal."""

    fields: Floats
    """`(n_sites, 3)` x, y, σ."""
    points: Floats
    """`(n_sites, n_points, 2)` drawn from each field."""
    gains: Floats
    """`(n_sites, n_textures)`"""
    drive: float
    """Spikes/s above baseline."""

    @classmethod
    def drawn(cls, random: np.random.Generator, peak: float) -> Array:
        """An array somewhere within 5°."""
        angle, far = random.uniform(0, 2 * np.pi), 5 * np.sqrt(random.uniform())
        middle = far * np.array((np.cos(angle), np.sin(angle)))
        centres = middle + 0.7 * random.standard_normal((N_SITES, 2))
        sigma = (1 + 0.6 * np.hypot(*centres.T)) / 4
        cloud = random.standard_normal((N_SITES, 400, 2))
        cloud -= cloud.mean(axis=1, keepdims=True)
        gains = random.lognormal(0, 0.5, (N_SITES, 6))
        gains /= gains.mean(axis=1, keepdims=True)
        points = centres[:, None] + cloud * sigma[:, None, None]
        return cls(np.column_stack([centres, sigma]), points, gains, peak - BASELINE)

    def rates(self, block: Block, opacity: Floats) -> Floats:
        """`(n_stimuli, n_sites)` spikes/s."""
        found = np.full((len(block.stimuli), N_SITES), BASELINE)
        size = len(opacity)
        for row, stimulus in enumerate(block.stimuli):
            if not stimulus.label.startswith("texture") or stimulus.place is None:
                continue
            place = stimulus.place
            at = (self.points - (place.x_deg, place.y_deg)) / place.size_deg + 0.5
            pixel = np.floor(at * size).astype(int)
            inside = ((pixel >= 0) & (pixel < size)).all(axis=2)
            column, line = np.clip(pixel, 0, size - 1).transpose(2, 0, 1)
            part = np.where(inside, opacity[line, column], 0.0).mean(axis=1)
            found[row] += self.drive * self.gains[:, int(stimulus.label.split()[1])] * part
        return found


def opacity_of(block: Block) -> Floats:
    """`(h, w)` 0..1, from the pixels: how far from gray each place of a patch gets in any texture."""
    patches = np.stack(list(block.distinct_images().values())).astype(np.float64)
    spread = np.abs(patches - 128).max(axis=(0, 3))
    size = len(spread)
    ring = np.hypot(*(np.indices(spread.shape) - (size - 1) / 2)).round().astype(int)
    mean = np.bincount(ring.ravel(), spread.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    smooth: Floats = np.clip(mean[ring] / np.median(mean[1 : size // 4]), 0, 1)
    return smooth


def counted(block: Block, rates: Floats, random: np.random.Generator) -> BlockResponses:
    """Negative binomial counts of every showing."""
    shown = []
    for cue in block.cues():
        expected = rates[cue.stimulus_index] * WINDOW_S
        counts = random.poisson(random.gamma(expected / (FANO - 1), FANO - 1))
        shown.append(
            cue.presentation(
                onset_s=0.0,
                outcome=Outcome.COMPLETED,
                spike_counts=tuple(map(float, counts)),
            )
        )
    sites = tuple(f"site-{number:03d}" for number in range(rates.shape[1]))
    return BlockResponses(block_index=block.index, site_ids=sites, presentations=tuple(shown))


class NoFit:
    """Stands for the estimation while the plan is driven: the grids are all that is wanted of it."""

    def __init__(self, centre: tuple[float, float]) -> None:
        self._centre = centre

    def __call__(self, shown: FieldShowings, *, intervals: bool) -> Any:  # noqa: ARG002
        """A map that says where the array is."""
        centre = self._centre

        class Known:
            fields = significant = ()

            @staticmethod
            def centre_deg(_sites: Any) -> tuple[float, float]:
                return centre

        return Known()

    def publish(self, found: Any) -> None:
        """Nothing to keep."""


def showings(array: Array, random: np.random.Generator, seed: int) -> dict[str, FieldShowings]:
    """All showings of a mapping with 20 of each place, by cell."""
    grids = {"showings": 20, "most_showings": 20}
    settings = {"coarse": grids, "fine": grids, "image_size_px": 64}
    thread = ThreadSettings(name="t", protocol="map_fields", settings=settings)
    session = resolved(SessionSettings(session_id="s", seed=seed, threads=(thread,)))
    equipment = Equipment()
    centre = np.median(array.fields[:, :2], axis=0) + random.normal(0, 0.2, 2)
    equipment.fields = lambda *_: NoFit((float(centre[0]), float(centre[1])))  # type: ignore[method-assign]
    plan = build_plans(session, equipment)["t"]
    parts: list[FieldShowings] = []
    block = next(plan)
    opacity: dict[str, Floats] = {}
    while True:
        block = block.at(len(parts), "t")
        kind = block.label.split()[0]
        opacity.setdefault(kind, opacity_of(block))
        responses = counted(block, array.rates(block, opacity[kind]), random)
        parts.append(FieldShowings.of(block.stimuli, responses))
        try:
            block = plan.send(responses)
        except StopIteration:
            break
    every = FieldShowings.all_of
    return {
        CELLS[0]: every(parts[:10]),
        CELLS[1]: every(parts[:20]),
        CELLS[2]: every(parts[:10] + parts[20:30]),
        CELLS[3]: every(parts[:10] + parts[20:40]),
    }


def estimated(shown: FieldShowings) -> FieldMap:
    """With as many permutations as the default alpha needs."""
    settings = EstimateSettings(n_permutations=400, n_bootstrap=0)
    return estimate_fields(shown, (0.07, 0.17), EDGE_DEG, settings, intervals=False)


def accuracy(peak: float) -> list[list[str]]:
    """A row a cell: error median and 90 %, sites found."""
    errors: dict[str, list[float]] = {cell: [] for cell in CELLS}
    for number in range(N_ARRAYS):
        random = np.random.default_rng((int(peak), number))
        array = Array.drawn(random, peak)
        for cell, shown in showings(array, random, number).items():
            for field, true in zip(estimated(shown).fields, array.fields, strict=True):
                if field.is_usable:
                    errors[cell].append(
                        float(np.hypot(field.x_deg - true[0], field.y_deg - true[1]))
                    )
        print(f"peak {peak:g}, array {number}", flush=True)
    n = N_ARRAYS * N_SITES
    rows = []
    for cell, found in errors.items():
        median, most = np.quantile(found, (0.5, 0.9)) if found else (np.nan, np.nan)
        rows.append([f"{peak:g}", cell, f"{median:.2f}", f"{most:.2f}", f"{len(found) / n:.0%}"])
    return rows


def false_fields() -> str:
    """Flat sites with a field: coarse × 10 and fine × 10 together."""
    random = np.random.default_rng(5)
    shown = showings(Array.drawn(random, BASELINE), random, 9)[CELLS[2]]
    expected = BASELINE * WINDOW_S
    mean = random.gamma(expected / (FANO - 1), FANO - 1, (len(shown.texture), N_FLAT))
    names = tuple(f"site-{number:03d}" for number in range(N_FLAT))
    flat = shown._replace(counts=random.poisson(mean).astype(np.float64), site_ids=names)
    n = len(estimated(flat).significant)
    return f"Flat sites with a field (coarse × 10 + fine × 10, alpha 0.005): {n} of {N_FLAT}."


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draft", action="store_true", help="print, and leave RESULTS.md alone")
    parser.add_argument("--peak", type=float, help="with --draft: this one only; 0: flat sites")
    asked = parser.parse_args()
    draft = asked.draft
    if asked.peak is not None:
        print("\n".join(map(str, accuracy(asked.peak))) if asked.peak else false_fields())
        return
    rows = [row for peak in (25.0, 10.0) for row in accuracy(peak)]
    head = ("peak, sp/s", "shown", "error °, median", "90 %", "found, centre within the grid")
    text = f"{__doc__ or ''}\n{table(head, rows)}\n\n{false_fields()}\nFine rows: with coarse × 10."
    if draft:
        print(text)
    else:
        write_section("Receptive fields", "python -m benchmarks.fields", text)


if __name__ == "__main__":
    main()
