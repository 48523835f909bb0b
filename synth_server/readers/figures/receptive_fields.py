"""The figure of a mapping: all receptive fields over the screen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

from protocols.errors import SettingsError
from protocols.fields import FieldMap
from synth_server.readers.figures.style import INK, save

EXCITED, SUPPRESSED, EDGE, FAINT, PLACE = "#0f766e", "#7c3aed", "#b8bec6", "#d9dee4", "#c2410c"
SIZE_IN = 6.5
LABELLED = 40
"""Sites beyond this many have no names in the figure."""


def draw_fields(
    found: FieldMap, out: Path, *, formats: Sequence[str] = ("png",), simulated: bool = False
) -> None:
    """Draw `out`, with each of `formats` at its end.

    A circle of one σ for each field, its centre with the 95 % intervals; dashed where the centre is at
    the grid's edge. The square is the place that covers all usable fields, the cross the fixation
    point's usual place, straight ahead.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(SIZE_IN, SIZE_IN), layout="constrained")
    try:
        _draw_grid(axes, found)
        for field in found.significant:
            _draw_field(axes, plt, field, labelled=len(found.significant) <= LABELLED)
        _draw_place(axes, plt, found)
        n, n_all = len(found.significant), len(found.fields)
        axes.set_title(
            f"{n} of {n_all} sites have a receptive field (p < {found.alpha:g}); circles: σ",
            fontsize=9, color=INK, loc="left",
        )  # fmt: skip
        axes.set_aspect("equal")
        axes.set_xlabel("degrees right", fontsize=8)
        axes.set_ylabel("degrees up", fontsize=8)
        axes.tick_params(labelsize=7, colors=INK)
        axes.spines[["top", "right"]].set_visible(False)
        save(figure, out, formats, simulated=simulated)
    finally:
        plt.close(figure)


def _draw_grid(axes: Any, found: FieldMap) -> None:
    left, bottom, right, top = found.grid_deg
    axes.plot(
        [left, right, right, left, left], [bottom, bottom, top, top, bottom], color=FAINT, lw=1
    )
    margin = 0.08 * (right - left)
    axes.set_xlim(left - margin, right + margin)
    axes.set_ylim(bottom - margin, top + margin)
    axes.plot(0, 0, "+", color=INK, ms=9)


def _draw_field(axes: Any, plt: Any, field: Any, *, labelled: bool) -> None:
    colour = EXCITED if (field.amplitude or 0) > 0 else SUPPRESSED
    if field.at_edge:
        colour = EDGE
    x, y = field.x_deg, field.y_deg
    style = "--" if field.at_edge else "-"
    circle = plt.Circle((x, y), field.sigma_deg, fill=False, color=colour, lw=1, ls=style)
    axes.add_patch(circle)
    if field.x_interval and field.y_interval:
        axes.plot(field.x_interval, (y, y), color=colour, lw=0.8)
        axes.plot((x, x), field.y_interval, color=colour, lw=0.8)
    axes.plot(x, y, ".", color=colour, ms=4)
    if labelled:
        axes.annotate(field.site, (x, y), fontsize=6, color=INK, xytext=(2, 2),
                      textcoords="offset points")  # fmt: skip


def _draw_place(axes: Any, plt: Any, found: FieldMap) -> None:
    try:
        place = found.place()
    except SettingsError:
        return
    corner = (place.x_deg - place.size_deg / 2, place.y_deg - place.size_deg / 2)
    axes.add_patch(
        plt.Rectangle(
            corner, place.size_deg, place.size_deg, fill=False, color=PLACE, lw=1.2, ls=":"
        )
    )
