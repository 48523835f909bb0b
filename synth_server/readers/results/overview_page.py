"""A page of all evolutions of a session: gains, curves and best images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth_server.readers.evolution.results_document import Results
from synth_server.readers.evolution.similarity import ImageOf
from synth_server.readers.evolution.thread_result import ThreadResult
from synth_server.readers.figures.paper import FAINT, SMALL, Page, interval, page
from synth_server.readers.figures.style import EVOLVED, INK
from synth_server.readers.results.curve_panels import draw_curve, unit

N_COLUMNS, N_ROWS = 4, 6
CELL_IN, ROW_IN = 1.78, 1.45
HEAD_IN, SUMMARY_IN = 0.75, 2.75
MAX_NAMED = 24


def draw_overview(results: Results, image_of: ImageOf, folder: Path) -> list[Path]:
    """Draw `overview` (and `overview-2` …, if one page is too small) to `folder`.

    Returns:
        The files, without `.png` or `.svg`.
    """
    drawn = []
    per_page = N_COLUMNS * N_ROWS
    for number, at in enumerate(range(0, len(results.threads), per_page)):
        out = folder / ("overview" if number == 0 else f"overview-{number + 1}")
        _draw_page(results, results.threads[at : at + per_page], image_of, out, first=number == 0)
        drawn.append(out)
    return drawn


def _draw_page(
    results: Results, threads: Sequence[ThreadResult], image_of: ImageOf, out: Path, *, first: bool
) -> None:
    top = HEAD_IN + SUMMARY_IN * first
    n_rows = -(-len(threads) // N_COLUMNS)
    with page(top + n_rows * ROW_IN, out, simulated=bool(results.simulated)) as sheet:
        _head(sheet, results)
        if first:
            sheet.panel("A", 0.1, HEAD_IN + 0.1, "Evolved against the best natural image, 95 % CI")
            _draw_against(sheet.axes(0.5, HEAD_IN + 0.25, 1.9, 1.9), results)
            sheet.panel("B", 3.0, HEAD_IN + 0.1, "Gain: evolved ÷ best natural image, 95 % CI")
            _draw_gains(sheet.axes(4.0, HEAD_IN + 0.25, 3.0, 1.9), results)
            sheet.panel(
                "C", 0.1, top - 0.05, "Evolved (black) and reference (green) images, mean ± SEM"
            )
        for place, result in enumerate(threads):
            x = place % N_COLUMNS * CELL_IN
            _draw_cell(sheet, 0.42 + x, top + 0.2 + place // N_COLUMNS * ROW_IN, result, image_of)


def _head(sheet: Page, results: Results) -> None:
    sheet.text(0.1, 0.12, results.session_id, fontsize=12, color=EVOLVED, weight="bold")
    said = f"{len(results.threads)} evolutions, {results.state}"
    if results.n_gains:
        said += (
            f"  ·  evolved ÷ best natural image: median {interval(results.median_gain)}, above 1 "
            f"in {results.n_above_1} of {results.n_gains}"
        )
    n_tested = sum(each.in_test is not None for each in results.threads)
    said += f"  ·  {n_tested} with a test at the end"
    sheet.text(0.1, 0.38, said)


def _draw_against(axes: Any, results: Results) -> None:
    """Both mean counts of every thread, and the line where they are equal."""
    highest = 0.0
    for result in results.threads:
        found = result.comparison
        if found is None or found.best_natural.value is None or found.evolved.value is None:
            continue
        x, y = found.best_natural, found.evolved
        for low, high, fixed, along_x in (
            (x.low, x.high, y.value, True),
            (y.low, y.high, x.value, False),
        ):
            if low is not None and high is not None:
                ends, other = (low, high), (fixed, fixed)
                pair = (ends, other) if along_x else (other, ends)
                axes.plot(*pair, color=FAINT, lw=0.9, zorder=2)
        marker = "o" if result.in_test else "D"
        axes.plot(x.value, y.value, marker, ms=4, color=EVOLVED, mew=0, zorder=3)
        highest = max(highest, x.high or x.value or 0, y.high or y.value or 0)
    limit = highest * 1.05 or 1
    axes.plot((0, limit), (0, limit), color=INK, lw=0.8, ls=(0, (2, 2)), zorder=1)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.set_xlabel("best natural image, " + unit(results.threads[0]))
    axes.set_ylabel("evolved images, " + unit(results.threads[0]))


def _draw_gains(axes: Any, results: Results) -> None:
    """A row a thread, from the highest gain to the lowest."""
    known = [each for each in results.threads if each.comparison and each.comparison.gain.value]
    ordered = sorted(known, key=_gain, reverse=True)
    for place, result in enumerate(ordered):
        gain = result.comparison.gain if result.comparison else None
        if gain is None or gain.value is None:
            continue
        if gain.low is not None and gain.high is not None:
            axes.plot((gain.low, gain.high), (place, place), color=FAINT, lw=1.2)
        marker = "o" if result.in_test else "D"
        axes.plot(gain.value, place, marker, ms=4, color=EVOLVED, mew=0)
    axes.axvline(1, color=INK, lw=0.8, ls=(0, (2, 2)))
    axes.set_ylim(max(len(ordered), 1) - 0.4, -0.6)
    axes.set_xlim(left=0)
    untested = any(each.in_test is None for each in ordered)
    axes.set_xlabel("gain" + (" (diamonds: no test, from the generations)" if untested else ""))
    if len(ordered) <= MAX_NAMED:
        axes.set_yticks(range(len(ordered)), [each.thread for each in ordered], fontsize=SMALL)
        axes.tick_params(axis="y", length=0)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(ordered)} threads")


def _gain(result: ThreadResult) -> float:
    found = result.comparison
    return (found.gain.value or 0.0) if found else 0.0


def _draw_cell(
    sheet: Page, left: float, top: float, result: ThreadResult, image_of: ImageOf
) -> None:
    axes = sheet.axes(left, top, 0.85, 0.85)
    draw_curve(axes, result, small=True)
    if result.last_generation:
        sheet.image(left + 0.9, top, 0.42, image_of(result.last_generation[0].id))
    if result.references:
        sheet.image(left + 0.9, top + 0.43, 0.42, image_of(result.references[0].id))
    found = result.comparison
    sheet.text(left, top - 0.04, result.thread, fontsize=SMALL, color=EVOLVED, va="bottom")
    if found is not None:
        sheet.text(left, top + 1.0, f"× {interval(found.gain)}", fontsize=SMALL, color=INK)
