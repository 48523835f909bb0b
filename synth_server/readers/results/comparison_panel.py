"""The panel of a thread's page that compares evolved with natural images."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.vocabulary import Role
from synth_server.readers.evolution.comparison_documents import Comparison
from synth_server.readers.evolution.similarity import ImageOf
from synth_server.readers.evolution.thread_result import TestedImage, ThreadResult
from synth_server.readers.figures.paper import TEXT, Page, error_bar, interval, probability
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE
from synth_server.readers.results.curve_panels import nothing, unit

THUMBNAIL_IN, N_THUMBNAILS = 0.28, 3


def draw_test(
    page: Page,
    left: float,
    top: float,
    width: float,
    height: float,
    result: ThreadResult,
    image_of: ImageOf,
) -> None:
    """Evolved, best natural and all natural images: means with 95 % intervals, some of the images."""
    axes = page.axes(left, top, width, height)
    comparison = result.comparison
    if comparison is None:
        nothing(axes, "No test at the end, and no\nreferences to compare with")
        return
    groups = (
        (comparison.evolved, EVOLVED, f"evolved ({comparison.n_evolved})"),
        (comparison.best_natural, REFERENCE, "best natural"),
        (comparison.other_natural, REFERENCE, f"{_others(result)} ({comparison.n_other_natural})"),
    )
    slot = width / len(groups)
    for x, (found, colour, name) in enumerate(groups):
        error_bar(axes, x, found, colour)
        page.text(
            left + (x + 0.5) * slot, top + height + THUMBNAIL_IN + 0.1, name, color=INK, ha="center"
        )
    for x, ids in enumerate(_examples(result, comparison)):
        start = left + (x + 0.5) * slot - len(ids) * (THUMBNAIL_IN + 0.02) / 2
        for place, stimulus_id in enumerate(ids):
            at = start + place * (THUMBNAIL_IN + 0.02)
            page.image(at, top + height + 0.06, THUMBNAIL_IN, image_of(stimulus_id))
    _draw_images(axes, result)
    axes.set_xticks([])
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.3)
    axes.set_ylabel(unit(result))
    axes.text(
        0.98,
        1.02,
        _verdict(comparison),
        transform=axes.transAxes,
        fontsize=TEXT,
        color=EVOLVED,
        ha="right",
        va="top",
        linespacing=1.35,
    )


def _verdict(comparison: Comparison) -> str:
    return (
        f"gain × {interval(comparison.gain)}\n"
        f"d = {interval(comparison.effect_size)}, {probability(comparison.p_best_natural)}"
    )


def _others(result: ThreadResult) -> str:
    """What the natural images of the third group are called."""
    return (
        "other natural" if _roles(result) - {Role.EVOLVED} > {Role.BEST_NATURAL} else "all natural"
    )


def _roles(result: ThreadResult) -> set[Role]:
    return {each.role for each in result.tested}


def _group(result: ThreadResult, group: int) -> list[TestedImage]:
    """Images of the test: evolved, best natural, others (all of them, if none was there as best)."""
    natural = [each for each in result.tested if each.role is not Role.EVOLVED]
    best = [each for each in natural if each.role is Role.BEST_NATURAL]
    others = [each for each in natural if each.role is not Role.BEST_NATURAL]
    evolved = [each for each in result.tested if each.role is Role.EVOLVED]
    return (evolved, best if others else [], others or best)[group]


def _examples(result: ThreadResult, comparison: Comparison) -> tuple[list[str], ...]:
    """Ids of images to show of each group."""
    best = list(comparison.best_natural_ids)
    if result.in_test is None:
        evolved = [each.id for each in result.last_generation]
        others = [each.id for each in result.references if each.id not in best]
    else:
        evolved = [each.id for each in _group(result, 0)]
        others = [each.id for each in _group(result, 2) if each.id not in best]
    return evolved[:N_THUMBNAILS], best, others[:N_THUMBNAILS]


def _draw_images(axes: Any, result: ThreadResult) -> None:
    """Every image of the test: its mean over showings, beside the group's."""
    for x, colour in enumerate((EVOLVED, REFERENCE, REFERENCE)):
        means = sorted(each.mean_count for each in _group(result, x))
        places = x + 0.12 + 0.3 * (np.arange(len(means)) + 0.5) / max(len(means), 1)
        axes.plot(places, means, "o", ms=2.2, color=colour, alpha=0.45, mew=0)
