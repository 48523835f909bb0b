"""The figure of category selectivity: a panel a site, a bar a category."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from synth_server.readers.evolution.categories import CategoryResponse
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE, save

MAX_SITES, N_COLUMNS = 24, 4


def draw_categories(
    found: Sequence[CategoryResponse],
    file: Path,
    *,
    formats: Sequence[str] = ("png",),
    simulated: bool = False,
) -> None:
    """Draw `file` with each of `formats`: mean ± SEM over the images of a category."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sites = list(dict.fromkeys(each.site for each in found))[:MAX_SITES]
    n_rows = -(-len(sites) // N_COLUMNS)
    figure = plt.figure(figsize=(11, 0.3 + 2.2 * n_rows), layout="constrained", facecolor="white")
    try:
        panels = figure.subplots(n_rows, N_COLUMNS, squeeze=False, sharey=False)
        for axes in panels.flat:
            axes.set_visible(False)
        for axes, site in zip(panels.flat, sites, strict=False):
            axes.set_visible(True)
            bars = [each for each in found if each.site == site]
            best = max(bars, key=lambda each: each.mean)
            for place, each in enumerate(bars):
                colour = EVOLVED if each is best else REFERENCE
                axes.bar(place, each.mean, yerr=each.sem, color=colour, alpha=0.85, ecolor=INK)
            names = [f"{each.category} ({each.n_images})" for each in bars]
            axes.set_xticks(range(len(bars)), names, rotation=40, ha="right", fontsize=7)
            axes.set_title(site, fontsize=9, color=INK, loc="left")
            axes.set_ylabel("mean spikes", fontsize=8)
            axes.tick_params(axis="y", labelsize=7, colors=INK)
            axes.spines[["top", "right"]].set_visible(False)
        save(figure, file, formats, simulated=simulated)
    finally:
        plt.close(figure)
