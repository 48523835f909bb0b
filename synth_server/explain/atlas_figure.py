"""The map: its cells drawn by the generator, and a panel a site with its responses on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from synth_server.explain.atlas import Atlas, Drawn
from synth_server.readers.figures.style import INK, mark_simulated

MAX_SITES, N_COLUMNS = 24, 6
CELL_PX = 48


def draw_atlas(
    drawn: Drawn, site_ids: tuple[str, ...], file: Path, *, simulated: bool = False
) -> None:
    """Draw `file` (PNG): the map, and below it the first `MAX_SITES` sites, measured and predicted."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sites = site_ids[:MAX_SITES]
    n_rows = -(-len(sites) // N_COLUMNS)
    figure = plt.figure(figsize=(13, 11 + 2.3 * n_rows), layout="constrained", facecolor="white")
    try:
        parts: Any = figure.subfigures(2, 1, height_ratios=(11, 2.3 * n_rows))
        top, bottom = parts
        axes = top.subplots()
        axes.imshow(_mosaic(drawn))
        side = drawn.atlas.side * CELL_PX
        for point in drawn.atlas.points:
            axes.plot(
                point.x * side, point.y * side, "o", ms=5, mfc="#f2c14e", mec="black", mew=0.6
            )
        axes.axis("off")
        axes.set_title(_head(drawn.atlas, len(site_ids)), fontsize=9, color=INK, loc="left")
        panels = list(bottom.subplots(n_rows, 2 * N_COLUMNS, squeeze=False).flat)
        for axes in panels:
            axes.axis("off")
        for number, site in enumerate(sites):
            _draw_site(panels[2 * number], drawn.atlas, site, "measured")
            _draw_site(panels[2 * number + 1], drawn.atlas, site, "predicted")
        mark_simulated(figure, simulated)
        figure.savefig(file, dpi=80, metadata={"Software": None})
    finally:
        plt.close(figure)


def _mosaic(drawn: Drawn) -> Any:
    from PIL import Image

    side = drawn.atlas.side
    canvas = np.full((side * CELL_PX, side * CELL_PX, 3), 255, np.uint8)
    for (row, column), picture in drawn.pictures.items():
        small = Image.fromarray(picture).resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
        top, left = row * CELL_PX, column * CELL_PX
        canvas[top : top + CELL_PX, left : left + CELL_PX] = np.asarray(small)
    return canvas


def _draw_site(axes: Any, atlas: Atlas, site: str, what: str) -> None:
    values = np.full((atlas.side, atlas.side), np.nan)
    for cell in atlas.cells:
        value = getattr(cell, what)[site]
        if value is not None:
            values[cell.row, cell.column] = value
    axes.imshow(values, cmap="magma", interpolation="nearest")
    known = values[np.isfinite(values)]
    span = f"{known.min():.3g} to {known.max():.3g}" if len(known) else "none"
    axes.set_title(f"{site} {what}\n{span}", fontsize=6.5, color=INK, pad=2)


def _head(atlas: Atlas, n_sites: int) -> str:
    points = "; points: images made for sites" if atlas.points else ""
    return (
        f"{atlas.n_images} photographs in {atlas.side} × {atlas.side} cells, drawn from their mean codes"
        f"{points}\n{atlas.n_held_out} held-out photographs: own cell nearest in features "
        f"{atlas.lands_top1:.0%} (chance {atlas.lands_chance:.1%}), mean rank {atlas.lands_mean_rank:.2f} "
        "(chance 0.50)"
        + (f"; below: the first {MAX_SITES} of {n_sites} sites" if n_sites > MAX_SITES else "")
    )
