"""Panels of a thread's page that show images: through the generations, at the end, references by rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from synth_server.readers.evolution.similarity import ImageOf
from synth_server.readers.evolution.thread_result import RankedReference, ThreadResult
from synth_server.readers.figures.paper import SMALL, Page
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.results.curve_panels import unit

N_COLUMNS, GAP_IN = 6, 0.06
N_RANKED = 20


def draw_evolved(
    page: Page,
    left: float,
    top: float,
    width: float,
    thread: EvolvedThread,
    result: ThreadResult,
    image_of: ImageOf,
) -> None:
    """Above, the best image of some generations; below, the images of the last one."""
    size = (width - (N_COLUMNS - 1) * GAP_IN) / N_COLUMNS
    row = size + 0.2
    columns = [left + place * (size + GAP_IN) for place in range(N_COLUMNS)]
    measured = thread.measured
    chosen = np.unique(np.linspace(0, len(measured) - 1, N_COLUMNS).round().astype(int))
    for x, place in zip(columns, chosen, strict=False):
        best = thread.generations[measured[place]].best_id
        if best is not None:
            page.image(x, top + 0.16, size, image_of(best))
            _under(page, x + size / 2, top + 0.17 + size, f"gen. {measured[place]}")
    below = top + row + 0.2
    page.text(
        left,
        below,
        f"last generation ({measured[-1]}), from the highest score, with spikes",
        fontsize=SMALL,
        va="baseline",
    )
    for place, image in enumerate(result.last_generation[: 2 * N_COLUMNS]):
        x, y = columns[place % N_COLUMNS], below + 0.05 + (place // N_COLUMNS) * (size + 0.15)
        page.image(x, y, size, image_of(image.id))
        _under(page, x + size / 2, y + size + 0.01, f"{image.mean_count:.3g}")


def draw_ranks(
    page: Page,
    left: float,
    top: float,
    width: float,
    height: float,
    result: ThreadResult,
    image_of: ImageOf,
) -> None:
    """Reference images from top to worst, with their mean counts ± SEM, and the evolved images' mean."""
    shown = top_and_worst(result.references)
    slot = width / N_RANKED
    axes = page.axes(left, top, width, height)
    for place, image in enumerate(shown):
        mean, sem = image.mean_count, image.sem_count or 0
        axes.plot((place, place), (max(mean - sem, 0), mean + sem), color=REFERENCE, lw=1)
        axes.plot(place, mean, "o", ms=3.5, color=REFERENCE, mew=0, clip_on=False)
        size = slot * 0.9
        page.image(
            left + place * slot + (slot - size) / 2, top + height + 0.06, size, image_of(image.id)
        )
        _under(page, left + (place + 0.5) * slot, top + height + 0.08 + size, str(image.rank))
    _draw_evolved_mean(axes, result)
    axes.set_xlim(-0.5, N_RANKED - 0.5)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.set_ylabel(unit(result))


def top_and_worst(references: Sequence[RankedReference]) -> list[RankedReference]:
    """All of them, or as many from either end as there is room for."""
    if len(references) <= N_RANKED:
        return list(references)
    half = N_RANKED // 2
    return [*references[:half], *references[-half:]]


def _draw_evolved_mean(axes: Any, result: ThreadResult) -> None:
    comparison = result.comparison
    if comparison is None or comparison.evolved.value is None:
        return
    where = "in the test" if result.in_test else "last generations"
    mean = comparison.evolved.value
    axes.axhline(mean, color=EVOLVED, lw=1)
    axes.annotate(
        f"evolved, {where}: {mean:.3g}",
        (1, mean),
        xycoords=("axes fraction", "data"),
        xytext=(0, 2),
        textcoords="offset points",
        fontsize=SMALL,
        color=EVOLVED,
        ha="right",
    )


def _under(page: Page, x: float, y: float, text: str) -> None:
    page.text(x, y, text, fontsize=SMALL, color=INK, ha="center")
