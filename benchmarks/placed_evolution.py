"""What it is worth to know where a site looks: evolution at the screen's centre and at the mapped place.

One simulated site whose field lies in a corner of the screen, 6° right and 4° up (σ 1°). A session maps
it; then two evolutions with the same seed show 4° images at the screen's centre, and images at the place
that the session's `fields.json` gives. All sessions run in one process with the whole loop.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np

from benchmarks.in_process import rehearse
from benchmarks.results import table, write_section
from protocols.documents import SessionSettings, ThreadSettings
from protocols.fields import FieldMap, FieldPlace
from protocols.vocabulary import Placement
from synth_server.readers.fields.mapped_fields import mapped_fields
from synth_server.readers.figures.style import INK
from synth_server.readers.log.session_record import read_record
from synth_server.session.products import products_folder

TRUE = (6.0, 4.0, 1.0)
CENTRE = Placement(x_deg=0, y_deg=0, size_deg=4)
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "placed-evolution.png"
COLOURS = {"screen's centre": "#64748b", "mapped place": "#c2410c"}


class Story(NamedTuple):
    """A mapping and two evolutions.

    Attributes:
        found: `fields.json`.
        place: Where the second evolution's images were shown.
        curves: Where → `(n_generations,)` mean spikes of evolved images.
        references: Where → the same of the reference images.
    """

    found: FieldMap
    place: Placement
    curves: dict[str, list[float]]
    references: dict[str, list[float]]


def story(folder: Path, seed: int, *, showings: int, generations: int, population: int) -> Story:
    """Play all three sessions in `folder`."""
    subject = {
        "name": "placed",
        "options": {
            "population": {"name": "gabor_energy", "options": {"n_sites": 1}},
            "fields_deg": [TRUE],
            "view_px": 32,
        },
    }
    grid = {"showings": showings, "most_showings": showings}
    mapping = {"coarse": grid, "fine": grid, "image_size_px": 64}
    mapping["estimate"] = {"n_permutations": 400, "n_bootstrap": 0}
    threads = ThreadSettings(name="fields", protocol="map_fields", settings=mapping)
    session = SessionSettings(session_id="fields", seed=seed, threads=(threads,))
    log = rehearse(session, folder / "fields", {"subject": subject})
    fields = FieldPlace(fields=str(products_folder(log) / "fields.json"))
    curves, references = {}, {}
    for where, place in (("screen's centre", CENTRE), ("mapped place", fields)):
        evolution: dict[str, Any] = {
            "n_generations": generations,
            "n_references": 4,
            "test_repetitions": 0,
            "generator": {"name": "pixels", "options": {"size_px": 32, "grid": 8}},
            "optimizer": {
                "name": "genetic",
                "options": {"preset": "xdream", "population": population},
            },
            "objective": {"name": "site", "options": {"site": "site-00"}},
        }
        thread = ThreadSettings(name="evolve", protocol="evolve", place=place, settings=evolution)
        session = SessionSettings(session_id="evolve", seed=seed, threads=(thread,))
        name = where.replace("'", "").replace(" ", "-")
        played = rehearse(session, folder / name, {"subject": subject})
        shown = read_record(played).threads["evolve"]
        measured = [shown.generations[number] for number in shown.measured]
        curves[where] = [float(np.nanmean(each.evolved)) for each in measured]
        references[where] = [float(np.nanmean(each.reference)) for each in measured]
    found = mapped_fields(log)["fields"]
    return Story(found, found.place(), curves, references)


def draw(told: Story, out: Path) -> None:
    """The screen with field and places; the two evolutions."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Circle, Rectangle

    figure, (screen, curves) = plt.subplots(
        1, 2, figsize=(9, 3.6), layout="constrained", width_ratios=(1, 1.5)
    )
    x, y, sigma = TRUE
    screen.add_patch(Circle((x, y), sigma, color="#0f766e", alpha=0.35, lw=0))
    for name, place in (("screen's centre", CENTRE), ("mapped place", told.place)):
        corner = (place.x_deg - place.size_deg / 2, place.y_deg - place.size_deg / 2)
        square = Rectangle(
            corner, place.size_deg, place.size_deg, fill=False, ec=COLOURS[name], lw=1.5
        )
        screen.add_patch(square)
    (field,) = told.found.fields
    screen.plot(field.x_deg, field.y_deg, "x", color=INK, ms=7)
    screen.plot(0, 0, "+", color=INK, ms=9)
    screen.set(
        xlim=(-9, 10), ylim=(-8, 9), aspect="equal", xlabel="degrees right", ylabel="degrees up"
    )
    screen.set_title("field (σ), × as mapped; images", fontsize=9, loc="left")
    for name, curve in told.curves.items():
        curves.plot(curve, color=COLOURS[name], lw=2, label=f"evolved, {name}")
        curves.plot(told.references[name], color=COLOURS[name], lw=1, ls=":")
    curves.set(xlabel="generation", ylabel="spikes in the count window", ylim=(0, None))
    curves.set_title("solid: evolved images; dotted: references", fontsize=9, loc="left")
    curves.legend(frameon=False, fontsize=8)
    for axes in (screen, curves):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(out, dpi=130)
    plt.close(figure)


def main() -> None:
    """Measure, draw, write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draft", action="store_true", help="print, and write nothing")
    draft = parser.parse_args().draft
    with tempfile.TemporaryDirectory() as folder:
        told = story(Path(folder), 1, showings=10, generations=25, population=20)
    rows = []
    for name, curve in told.curves.items():
        last, reference = np.mean(curve[-5:]), np.mean(told.references[name])
        rows.append([name, f"{np.mean(curve[:1]):.2f}", f"{last:.2f}", f"{last / reference:.2f}"])
    (field,) = told.found.fields
    head = ("images at the", "spikes, generation 0", "last 5 generations", "÷ references")
    text = (
        f"{__doc__ or ''}\n{table(head, rows)}\n\nThe field was found at ({field.x_deg:.2f}, "
        f"{field.y_deg:.2f})°, σ {field.sigma_deg:.2f}°; images of {told.place.size_deg:g}° cover it."
        f"\n\n![Evolution at both places](../docs/images/{FIGURE.name})"
    )
    if draft:
        print(text)
        return
    draw(told, FIGURE)
    write_section("Evolution at the mapped place", "python -m benchmarks.placed_evolution", text)


if __name__ == "__main__":
    main()
