"""One page for each evolution, panels A to E (after Ponce et al. 2019)."""

from __future__ import annotations

from pathlib import Path

from synth_server.readers.evolution.network_features import FeatureSettings
from synth_server.readers.evolution.results_document import Results
from synth_server.readers.evolution.similarity import MIN_IMAGES, ImageOf
from synth_server.readers.evolution.thread_result import ThreadResult
from synth_server.readers.figures.paper import SMALL, Page, page
from synth_server.readers.figures.style import EVOLVED
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.results.comparison_panel import draw_test
from synth_server.readers.results.curve_panels import (
    draw_curve,
    draw_similarity,
    nothing,
)
from synth_server.readers.results.image_panels import draw_evolved, draw_ranks

HEIGHT_IN, LEFT_IN = 8.4, 0.58


def draw_thread(
    results: Results, result: ThreadResult, thread: EvolvedThread, image_of: ImageOf, out: Path
) -> None:
    """Draw a thread's page to `out` with `.png` and `.svg`."""
    with page(HEIGHT_IN, out, simulated=bool(results.simulated)) as sheet:
        _head(sheet, results, result)
        sheet.panel("A", 0.1, 0.85, "Evolved and reference images, mean ± SEM over images")
        draw_curve(sheet.axes(LEFT_IN, 0.98, 2.72, 1.85), result)
        sheet.panel("B", 3.6, 0.85, "Best image of a generation")
        draw_evolved(sheet, 3.7, 0.78, 3.4, thread, result, image_of)
        sheet.panel("C", 0.1, 3.55, "Reference images from best to worst, mean ± SEM over showings")
        if result.references:
            draw_ranks(sheet, LEFT_IN, 3.65, 6.52, 1.15, result, image_of)
        else:
            nothing(sheet.axes(LEFT_IN, 3.65, 6.52, 1.15), "No reference images in this evolution")
        sheet.panel("D", 0.1, 5.7, _tested(result))
        draw_test(sheet, LEFT_IN, 5.82, 2.72, 1.5, result, image_of)
        sheet.panel("E", 3.6, 5.7, "Do images that resemble the evolved ones drive the site?")
        _similarity(sheet, result)
        _foot(sheet, results, result)


def _head(sheet: Page, results: Results, result: ThreadResult) -> None:
    sites = ", ".join(result.sites[:6]) + (" …" if len(result.sites) > 6 else "")
    sheet.text(0.1, 0.12, result.thread, fontsize=12, color=EVOLVED, weight="bold")
    n_images = result.generations[-1].evolved_score.n
    about = (
        f"site {sites}" if len(result.sites) == 1 else f"{len(result.sites)} sites: {sites}",
        f"session {results.session_id}"
        + (f" ({results.state})" if results.state != "finished" else ""),
        f"generator {result.generator}",
        f"optimizer {result.optimizer}",
        f"{len(result.generations)} generations of {n_images} images and "
        f"{len(result.references)} references",
    )
    sheet.text(0.1, 0.38, "  ·  ".join(about))


def _tested(result: ThreadResult) -> str:
    comparison = result.comparison
    if result.in_test is not None and comparison is not None:
        n = round(comparison.n_evolved_showings / comparison.n_evolved)
        return f"Test at the end, {n} showings an image: mean, 95 % CI"
    return "No test at the end; last generations: mean, 95 % CI"


def _similarity(sheet: Page, result: ThreadResult) -> None:
    found = result.similarity
    if found is None:
        why = f"Fewer than {MIN_IMAGES} natural images were shown"
        nothing(sheet.axes(3.7, 5.82, 3.4, 1.5), why)
        return
    measures = sorted({each.measure for each in found.correlations})
    width = (2.98 - 0.1 * (len(measures) - 1)) / len(measures)
    for place, measure in enumerate(measures):
        axes = sheet.axes(4.05 + place * (width + 0.1), 5.82, width, 1.5)
        draw_similarity(axes, result, found, measure, first=place == 0)


def _foot(sheet: Page, results: Results, result: ThreadResult) -> None:
    comparison = result.comparison
    lines = []
    if comparison is not None and comparison.chosen_by:
        lines.append(
            f"D: best natural image ({' or '.join(comparison.best_natural_names)}) chosen by "
            f"{comparison.chosen_by}."
        )
        lines.append("Gain: evolved ÷ best natural. d: Cohen's, single showings. p: permutation.")
    if result.similarity is not None:
        lines.append(
            f"E: Pearson's r with the mean of the evolved images ({result.similarity.evolved_in})"
            f"{_where(results.features)}; intervals: bootstrap over images; p: permutation."
        )
        if any(each.natural_set == "start" for each in result.similarity.images):
            lines.append(
                "Gray in E: photographs of the warm start; evolved images resemble the best of them "
                "by construction."
            )
    sheet.text(0.1, HEIGHT_IN - 0.5, "\n".join(lines), fontsize=SMALL)


def _where(features: FeatureSettings | None) -> str:
    return "" if features is None else f", in {features.label} and in pixels"
