"""How exactly `map_fields` finds receptive fields, and how often it finds one that is not there.

Whole sessions in one process: server, log, plan, presenter and simulated recorder. The sites share no
code with the estimator: each field is a cloud of points drawn from its Gaussian, and a patch drives it
by the patch's opacity at each point, read off the pixels that are shown. Counts are negative binomial
(Fano 1.5), baseline 5 spikes/s, texture gains log-normal (SD 0.5), σ = (1 + 0.6 · eccentricity) / 4.
The sites of an array lie around a common centre (SD 0.7°) within 5° of the screen's. `peak` is the mean
rate that a patch over the whole field evokes, baseline included. The rate is that of the count window.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.in_process import rehearse
from benchmarks.results import table, write_section
from protocols.digests import image_id
from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.experiments.textures import textures
from protocols.fields import EstimateSettings, FieldMap, FieldShowings
from protocols.vocabulary import Images, Placement, Rates, Stimulus
from synth_server.readers.fields.mapped_fields import mapped_fields
from synth_server.receptive_fields.estimating import estimate_fields
from synth_server.session.log import SessionLog

N_ARRAYS, N_SITES, N_FLAT = 4, 48, 400
BASELINE, FANO, EDGE_DEG = 5.0, 1.5, 0.5
WINDOW_S = (0.07, 0.17)
IMAGE_PX, N_TEXTURES, PATCHES_DEG = 64, 6, (4.0, 2.0)
N_POINTS = 400
CELLS = ("coarse × 10", "coarse × 20", "fine × 10", "fine × 20")
WHOLE = "fields.json, coarse × 20 and fine × 20"
PEAKS = (25.0, 10.0)
AIMS = {
    (25.0, CELLS[0]): (0.38, 0.77, 83), (25.0, CELLS[1]): (0.31, 0.58, 96),
    (25.0, CELLS[2]): (0.22, 0.45, 89), (25.0, CELLS[3]): (0.17, 0.34, 100),
    (10.0, CELLS[0]): (0.62, 1.06, 13), (10.0, CELLS[1]): (0.53, 0.91, 42),
    (10.0, CELLS[2]): (0.26, 0.77, 34), (10.0, CELLS[3]): (0.23, 0.47, 60),
}  # fmt: skip
"""What issue 18 asks for: error in degrees, median and 90 %; sites found, %."""
Floats = NDArray[np.float64]


class FieldSites:
    """Sites with known fields on the screen (a `PlacedPopulation`).

    Args:
        random: Draws the fields.
        n_sites: How many.
        drive: Spikes/s above the baseline that a patch over the whole field evokes on average.
    """

    def __init__(self, random: np.random.Generator, n_sites: int, drive: float) -> None:
        angle, far = random.uniform(0, 2 * np.pi), 5 * np.sqrt(random.uniform())
        middle = far * np.array((np.cos(angle), np.sin(angle)))
        centres = middle + 0.7 * random.standard_normal((n_sites, 2))
        sigma = (1 + 0.6 * np.hypot(*centres.T)) / 4
        cloud = random.standard_normal((n_sites, N_POINTS, 2))
        cloud -= cloud.mean(axis=1, keepdims=True)
        gains = random.lognormal(0, 0.5, (n_sites, N_TEXTURES))
        self.fields = np.column_stack([centres, sigma])
        self.site_ids = tuple(f"site-{number:03d}" for number in range(n_sites))
        self._points = centres[:, None] + cloud * sigma[:, None, None]
        self._gains = gains / gains.mean(axis=1, keepdims=True)
        self._drive = drive
        self._parts: dict[Placement, Floats] = {}

    def rates(self, images: Images) -> Rates:
        """Nothing is known of where they are."""
        return np.full((len(images), len(self.site_ids)), BASELINE)

    def rates_on_screen(self, images: Images, places: Sequence[Placement]) -> Rates:
        """`(n, n_sites)` spikes/s to patches at their places."""
        found = np.full((len(images), len(self.site_ids)), BASELINE)
        for row, (image, place) in enumerate(zip(images, places, strict=True)):
            number = self._textures.get(image_id(image))
            if number is not None:
                found[row] += self._drive * self._gains[:, number] * self._part(place)
        return found

    def _part(self, place: Placement) -> Floats:
        """`(n_sites,)`: how much of each field a patch there covers."""
        if place not in self._parts:
            opacity = self._opacity[place.size_deg]
            size = len(opacity)
            at = (self._points - (place.x_deg, place.y_deg)) / place.size_deg + 0.5
            pixel = np.floor(at * size).astype(int)
            inside = ((pixel >= 0) & (pixel < size)).all(axis=2)
            column, line = np.clip(pixel, 0, size - 1).transpose(2, 0, 1)
            self._parts[place] = np.where(inside, opacity[line, column], 0.0).mean(axis=1)
        return self._parts[place]

    @cached_property
    def _drawn(self) -> dict[float, Images]:
        return {size: textures(N_TEXTURES, IMAGE_PX, size, EDGE_DEG, 0) for size in PATCHES_DEG}

    @cached_property
    def _textures(self) -> dict[str, int]:
        """Pixels → which texture they show."""
        return {
            image_id(image): number
            for images in self._drawn.values()
            for number, image in enumerate(images)
        }

    @cached_property
    def _opacity(self) -> dict[float, Floats]:
        return {size: opacity_of(images) for size, images in self._drawn.items()}


def opacity_of(patches: Images) -> Floats:
    """`(h, w)` 0..1, from the pixels: how far from gray each place of a patch gets in any texture."""
    spread = np.abs(patches.astype(np.float64) - 128).max(axis=(0, 3))
    size = len(spread)
    ring = np.hypot(*(np.indices(spread.shape) - (size - 1) / 2)).round().astype(int)
    mean = np.bincount(ring.ravel(), spread.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    smooth: Floats = np.clip(mean[ring] / np.median(mean[1 : size // 4]), 0, 1)
    return smooth


def mapped(sites: FieldSites, folder: Path, seed: int, *, n: int = 20) -> Path:
    """The log of a mapping with `n` showings of each place; the rate is all that drives the sites."""
    grid = {"showings": n, "most_showings": n}
    estimate = {"n_permutations": 400}
    settings = {"coarse": grid, "fine": grid, "image_size_px": IMAGE_PX, "estimate": estimate}
    thread = ThreadSettings(name="fields", protocol="map_fields", settings=settings)
    session = SessionSettings(session_id="s", seed=seed, threads=(thread,))
    recorder = {
        "noise": "overdispersed",
        "fano": FANO,
        "baseline_rate": BASELINE,
        "latency_ms": 1000 * WINDOW_S[0],
    }
    return rehearse(session, folder, recorder, sites)


def showings_of(path: Path) -> list[FieldShowings]:
    """Block by block."""
    log = SessionLog(path)
    try:
        blocks = [event.document for event in log.events(EventKind.BLOCK_PROPOSED)]
        answers = [log.responses(event) for event in log.events(EventKind.RESPONSES_RECEIVED)]
    finally:
        log.close()
    return [
        FieldShowings.of([Stimulus.model_validate(each) for each in block["stimuli"]], answer)
        for block, answer in zip(blocks, answers, strict=True)
    ]


def estimated(parts: Sequence[FieldShowings]) -> FieldMap:
    """With as many permutations as the default alpha needs."""
    settings = EstimateSettings(n_permutations=400, n_bootstrap=0)
    return estimate_fields(
        FieldShowings.all_of(parts), WINDOW_S, EDGE_DEG, settings, intervals=False
    )


def array_result(peak: float, number: int, folder: Path) -> dict[str, Any]:
    """Errors of the fields found, by cell; how many true centres lie within their intervals."""
    random = np.random.default_rng((int(peak), number))
    sites = FieldSites(random, N_SITES, peak - BASELINE)
    log = mapped(sites, folder, number)
    parts = showings_of(log)
    maps = {
        CELLS[0]: estimated(parts[:10]),
        CELLS[1]: estimated(parts[:20]),
        CELLS[2]: estimated(parts[:10] + parts[20:30]),
        CELLS[3]: estimated(parts[:10] + parts[20:40]),
        WHOLE: mapped_fields(log)["fields"],
    }
    found: dict[str, Any] = {
        cell: [
            float(np.hypot(field.x_deg - true[0], field.y_deg - true[1]))
            for field, true in zip(each.fields, sites.fields, strict=True)
            if field.is_usable and field.x_deg is not None and field.y_deg is not None
        ]
        for cell, each in maps.items()
    }
    covered = [
        low <= truth <= high
        for field, true in zip(maps[WHOLE].fields, sites.fields, strict=True)
        if field.is_usable
        for (low, high), truth in zip(
            (field.x_interval or (0, 0), field.y_interval or (0, 0)), true[:2], strict=True
        )
    ]
    return {**found, "covered": [int(each) for each in covered]}


def flat_result(folder: Path) -> dict[str, Any]:
    """Flat sites with a field: coarse × 10 and fine × 10 together."""
    sites = FieldSites(np.random.default_rng(5), N_FLAT, 0.0)
    found = mapped_fields(mapped(sites, folder, 9, n=10))["fields"]
    return {"n": len(found.significant)}


def kept(cache: Path, name: str, make: Any) -> Any:
    """A result that was there already, or a new one."""
    file = cache / f"{name}.json"
    if not file.exists():
        folder = cache / name
        shutil.rmtree(folder, ignore_errors=True)
        result = make(folder)
        shutil.rmtree(folder)
        file.write_text(json.dumps(result), "utf-8")
        print(name, flush=True)
    return json.loads(file.read_text("utf-8"))


def rows_of(peak: float, arrays: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row a cell: error median and 90 %, sites found; beside what issue 18 asks for."""
    n = len(arrays) * N_SITES
    rows = []
    for cell in (*CELLS, WHOLE):
        errors = [error for each in arrays for error in each[cell]]
        median, most = np.quantile(errors, (0.5, 0.9)) if errors else (np.nan, np.nan)
        aim = AIMS.get((peak, cell))
        asked = "–" if aim is None else f"{aim[0]:.2f}, {aim[1]:.2f}, {aim[2]} %"
        share = f"{100 * len(errors) / n:.0f} %"
        rows.append([f"{peak:g}", cell, f"{median:.2f}", f"{most:.2f}", share, asked])
    return rows


def main() -> None:
    """Measure and write the section; what a run before was cut off in is taken up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draft", action="store_true", help="print, and leave RESULTS.md alone")
    parser.add_argument("--arrays", type=int, default=N_ARRAYS, help="of 48 sites, for each peak")
    default = Path(tempfile.gettempdir()) / "stimloop-fields"
    parser.add_argument("--cache", type=Path, default=default, help="results so far")
    asked = parser.parse_args()
    asked.cache.mkdir(parents=True, exist_ok=True)
    rows, covered = [], []
    for peak in PEAKS:
        arrays = [
            kept(
                asked.cache,
                f"peak-{peak:g}-{number}",
                lambda folder, p=peak, n=number: array_result(p, n, folder),
            )
            for number in range(asked.arrays)
        ]
        rows += rows_of(peak, arrays)
        covered += [inside for each in arrays for inside in each["covered"]]
    n_false = kept(asked.cache, "flat", flat_result)["n"]
    head = (
        "peak, sp/s", "shown", "error °, median", "90 %", "found, centre within the grid",
        "issue 18 asks for (± 20 %)",
    )  # fmt: skip
    text = (
        f"{__doc__ or ''}\n{table(head, rows)}\n\n"
        f"{asked.arrays * N_SITES} sites for each peak. Rows of the fine grid: with coarse × 10. True "
        f"coordinates of centres within their 95 % intervals: {100 * np.mean(covered):.0f} % of "
        f"{len(covered)}. Flat sites with a field (coarse × 10 and fine × 10, alpha 0.005): {n_false} "
        f"of {N_FLAT}."
    )
    if asked.draft:
        print(text)
    else:
        write_section("Receptive fields", "python -m benchmarks.fields", text)


if __name__ == "__main__":
    main()
