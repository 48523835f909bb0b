"""The figure: a panel a measure, a curve a network over depth, ceilings as lines, chance as a band."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from synth_server.compare.documents import Comparison, NetworkScore
from synth_server.readers.figures.style import INK, save

PANELS = (
    ("r_noise_corrected", "predictivity\n(noise-corrected r, median site)"),
    ("cka", "CKA, debiased"),
    ("rsa", "RSA (Spearman)"),
)
HUES = ("#1f6f8b", "#c0562f", "#5b8c3a", "#7a4fa3", "#b3872a", "#a33a5e")
"""A network each; weights change the line."""
LINES: dict[str, tuple[Any, str]] = {"robust": ("-", "o"), "default": ((0, (4, 2)), "s")}
RANDOM: tuple[Any, str] = ((0, (1, 1.5)), "^")
CHANCE = "#d9dde2"


def draw_comparison(
    found: Comparison, file: Path, *, formats: Sequence[str] = ("png", "svg")
) -> None:
    """Draw `file` with each of `formats` at its end; a filled mark is a network's best layer."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(13.5, 4.9), layout="constrained", facecolor="white")
    try:
        panels = figure.subplots(1, len(PANELS))
        for axes, (measure, title) in zip(panels, PANELS, strict=True):
            _draw_panel(axes, found, measure, title)
        handles, labels = panels[0].get_legend_handles_labels()
        known = dict(zip(labels, handles, strict=True))
        for axes in panels[1:]:
            known |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        figure.legend(
            known.values(),
            known.keys(),
            loc="outside lower center",
            ncols=5,
            fontsize=8,
            frameon=False,
        )
        figure.suptitle(_head(found), fontsize=9, color=INK, x=0.01, ha="left")
        save(figure, file, formats)
    finally:
        plt.close(figure)


def _draw_panel(axes: Any, found: Comparison, measure: str, title: str) -> None:
    colours = {name: HUES[i % len(HUES)] for i, name in enumerate(_names(found.networks))}
    plotted = measure
    if measure == "r_noise_corrected" and found.reliability is None:
        plotted, title = "r", "predictivity\n(r, median site)"
    for network in found.networks:
        style, marker = LINES.get(network.weights, RANDOM)
        points = [
            (each.depth, value)
            for each in network.layers
            if (value := getattr(each, plotted)) is not None
        ]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        colour = colours[network.network]
        axes.plot(x, y, color=colour, ls=style, lw=1.5, marker=marker, ms=3.5, mfc="white",
                  label=network.label)  # fmt: skip
        best = network.best.get(measure)
        chosen = [p for p, each in zip(points, _shown(network, plotted), strict=True)
                  if best and each.layer == best.layer]  # fmt: skip
        axes.plot(*zip(*chosen, strict=True), marker=marker, ms=6.5, color=colour, ls="")
    _draw_chance(axes, found, measure)
    if (ceiling := found.ceilings.get(measure)) is not None:
        axes.axhline(ceiling.mean, color=INK, lw=1, ls="-.", label="half of the trials, other half")
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    longest = max(found.networks, key=lambda network: network.layers[-1].depth)
    axes.set_xticks([each.depth for each in longest.layers],
                    [each.layer for each in longest.layers],
                    rotation=60, ha="right", fontsize=7)  # fmt: skip
    axes.set_xlim(-0.03, 1.03)
    axes.tick_params(axis="y", labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_chance(axes: Any, found: Comparison, measure: str) -> None:
    """From the lowest to the highest of all layers with images shuffled."""
    bands = [
        band
        for network in found.networks
        for layer in network.layers
        if (band := layer.shuffled.get(measure)) is not None
    ]
    if bands:
        low, high = min(band.low for band in bands), max(band.high for band in bands)
        axes.axhspan(low, high, color=CHANCE, lw=0, zorder=0, label="images shuffled, all layers")


def _shown(network: NetworkScore, measure: str) -> list[Any]:
    return [each for each in network.layers if getattr(each, measure) is not None]


def _names(networks: Sequence[NetworkScore]) -> list[str]:
    return list(dict.fromkeys(network.network for network in networks))


def _head(found: Comparison) -> str:
    reliability = (
        "" if found.reliability is None else f", median reliability {found.reliability:.2f}"
    )
    return (
        f"{found.n_sites} sites, {found.n_images} images{reliability}; readout: {found.readout}; filled: "
        "the layer that one half of the images puts first"
    )
