"""Panels of a thread's page: its curve, its test, and similarity against responses."""

from __future__ import annotations

from typing import Any

import numpy as np

from synth_server.readers.evolution.similarity import Correlation, Measure, Similarity
from synth_server.readers.evolution.thread_result import ThreadResult
from synth_server.readers.figures.paper import (
    FAINT,
    SMALL,
    interval,
    probability,
)
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE

COUNTED = ("site", "mean_of_sites")
"""Objectives whose score is the mean count itself."""
MANY_GENERATIONS = 80
"""Curves of more are drawn finer."""


def unit(result: ThreadResult) -> str:
    """What counts are measured in."""
    return f"spikes, {result.count_start_ms:g}–{result.count_stop_ms:g} ms"


def draw_curve(axes: Any, result: ThreadResult, *, small: bool = False) -> None:
    """Evolved and reference images by generation: mean ± SEM over images; `small`: no words."""
    is_count = result.objective in COUNTED
    numbers = [each.generation for each in result.generations]
    width = 0.7 if small or len(numbers) > MANY_GENERATIONS else 1.3
    for name, label, colour in (
        ("evolved", "evolved", EVOLVED),
        ("reference", "references", REFERENCE),
    ):
        kind = f"{name}_count" if is_count else f"{name}_score"
        found = [getattr(each, kind) for each in result.generations]
        mean = np.array([np.nan if s.mean is None else s.mean for s in found])
        sem = np.array([s.sem or 0 for s in found])
        if np.isfinite(mean).any():
            axes.plot(numbers, mean, color=colour, lw=width, label=label)
            axes.fill_between(numbers, mean - sem, mean + sem, color=colour, alpha=0.22, lw=0)
    axes.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if is_count:
        _draw_best_natural(axes, result)
        axes.set_ylim(0, axes.get_ylim()[1] * (1 if small else 1.22))
    if small:
        axes.tick_params(labelsize=SMALL - 1, length=1.5, pad=1.5)
        return
    axes.set_xlabel("generation")
    axes.set_ylabel(unit(result) if is_count else f"objective: {result.objective}")
    axes.legend(
        fontsize=SMALL,
        frameon=False,
        loc="upper left",
        ncols=3,
        handlelength=1.4,
        columnspacing=1.0,
        borderaxespad=0.1,
        handletextpad=0.5,
    )


def _draw_best_natural(axes: Any, result: ThreadResult) -> None:
    found = result.comparison
    if found is not None and found.best_natural.value is not None:
        label = "best natural image" + (" (test)" if result.in_test else "")
        style: Any = {"color": REFERENCE, "lw": 1, "ls": (0, (2, 2)), "label": label}
        axes.axhline(found.best_natural.value, **style)


def draw_similarity(
    axes: Any, result: ThreadResult, found: Similarity, measure: Measure, *, first: bool
) -> None:
    """Similarity to the evolved images against mean counts: a point an image."""
    images = [each for each in found.images if getattr(each, f"in_{measure}") is not None]
    for natural_set, colour in (("start", FAINT), ("references", REFERENCE)):
        chosen = [each for each in images if each.natural_set == natural_set]
        if chosen:
            x = np.array([getattr(each, f"in_{measure}") for each in chosen])
            y = np.array([each.mean_count for each in chosen])
            axes.plot(x, y, "o", ms=3, color=colour, alpha=0.8, mew=0)
            _draw_line(axes, x, y, colour)
    said = [
        _correlation(each, of_set=len({image.natural_set for image in images}) > 1)
        for each in found.correlations
        if each.measure == measure
    ]
    axes.set_ylim(0, axes.get_ylim()[1] * (1.1 + 0.22 * len(said)))
    axes.text(
        0.02,
        1.0,
        "\n".join(said),
        transform=axes.transAxes,
        fontsize=SMALL,
        color=EVOLVED,
        ha="left",
        va="top",
    )
    axes.locator_params(axis="x", nbins=3)
    axes.set_xlabel(f"similarity (r), {measure}")
    if first:
        axes.set_ylabel(unit(result))
    else:
        axes.tick_params(labelleft=False)


def _correlation(found: Correlation, *, of_set: bool) -> str:
    name = {"references": "references: ", "start": "start: "}[found.natural_set] if of_set else ""
    return f"{name}r = {interval(found.pearson)}\nn = {found.n_images}, {probability(found.p)}"


def _draw_line(axes: Any, x: Any, y: Any, colour: str) -> None:
    if len(x) > 2 and np.ptp(x) > 0:
        slope, offset = np.polyfit(x, y, 1)
        ends = np.array([x.min(), x.max()])
        axes.plot(ends, offset + slope * ends, color=colour, lw=1)


def nothing(axes: Any, why: str) -> None:
    """Says why a panel is empty."""
    axes.axis("off")
    axes.text(0.5, 0.5, why, transform=axes.transAxes, color=INK, ha="center", va="center")
