"""The figure of time courses: PSTH of each site by role, a raster of spikes below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from synth_server.readers.figures.style import INK, save
from synth_server.readers.time_courses.psth_and_latency import (
    BIN_MS,
    Course,
    SiteCourse,
    TimeCourses,
)

COLOURS = ("#0f766e", "#c2410c", "#7c3aed", "#1d4ed8", "#b45309", "#64748b")
MAX_SITES, COLUMNS, RASTER_ROWS = 24, 4, 60
LATENCY, WINDOW = "#b91c1c", "#e8edf2"


def draw_time_courses(
    course: Course,
    found: TimeCourses,
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
    simulated: bool = False,
) -> None:
    """Draw `out`, with each of `formats` at its end: up to 24 sites.

    Lines: mean rate by role of the image. Dots: bins with a spike in up to 60 showings, spread over
    the session. Shaded: the session's count window. Red: latency.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sites = found.sites[:MAX_SITES]
    n_rows = -(-len(sites) // COLUMNS)
    n_columns = min(COLUMNS, len(sites))
    figure, grid = plt.subplots(
        n_rows, n_columns, figsize=(3.2 * n_columns, 2.4 * n_rows + 0.4), squeeze=False,
        layout="constrained", sharex=True,
    )  # fmt: skip
    roles = list(dict.fromkeys(course.role))
    try:
        for axes in grid.ravel()[len(sites) :]:
            axes.axis("off")
        for number, (axes, site) in enumerate(zip(grid.ravel(), sites, strict=False)):
            _draw_site(axes, course, found, site, number, roles)
        if len(roles) > 1:
            grid[0, 0].legend(fontsize=6, frameon=False)
        for axes in grid[-1]:
            axes.set_xlabel("ms after onset", fontsize=7)
        save(figure, out, formats, simulated=simulated)
    finally:
        plt.close(figure)


def _draw_site(
    axes: Any,
    course: Course,
    found: TimeCourses,
    site: SiteCourse,
    number: int,
    roles: Sequence[str],
) -> None:
    middles = course.edges_ms[:-1] + BIN_MS / 2
    axes.axvspan(*found.count_window_ms, color=WINDOW, lw=0)
    for role, colour in zip(roles, COLOURS * len(roles), strict=False):
        rows = np.array([each == role for each in course.role])
        axes.plot(middles, course.psth(rows)[number], color=colour, lw=1, label=role)
    top = axes.get_ylim()[1]
    shown = np.unique(np.linspace(0, len(course.stimulus) - 1, RASTER_ROWS).astype(int))
    line, column = np.nonzero(course.binned[shown, number])
    axes.plot(middles[column], -top * 0.6 * (line + 1) / len(shown), ".", color=INK, ms=1.5, mew=0)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= top])
    axes.set_ylim(-0.62 * top, top)
    axes.axvline(0, color=INK, lw=0.6)
    if site.latency_ms is not None:
        axes.axvline(site.latency_ms, color=LATENCY, lw=0.8)
    latency = "no answer" if site.latency_ms is None else f"{site.latency_ms:g} ms"
    axes.set_title(f"{site.site}   {latency}", fontsize=8, color=INK, loc="left")
    axes.tick_params(labelsize=6, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
