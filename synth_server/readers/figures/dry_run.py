"""Figures of a dry run: evolutions' curves and best images (after Ponce et al. 2019), mappings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Role
from synth_server.readers.evolution.comparison_documents import Comparison
from synth_server.readers.evolution.similarity import ImageOf
from synth_server.readers.figures.paper import interval
from synth_server.readers.figures.style import (
    EVOLVED,
    INK,
    MAX_THREADS,
    REFERENCE,
    mark_simulated,
    save,
)
from synth_server.readers.log.session_record import EvolutionRecord, EvolvedThread
from synth_server.readers.log.stimulus_names import logged_images
from synth_server.readers.statistics.scores import scores
from synth_server.readers.summary.session_summary import SiteGain, Summary
from synth_server.session.log import SessionLog

N_STRIP = 8


def draw_evolution(record: EvolutionRecord, summary: Summary, log_path: Path, out: Path) -> None:
    """Draw a session's evolutions to `out` (PNG): a row a thread, its curve and its best images.

    The curve is mean ± SEM over the generation's images, evolved and reference. The strip shows the
    image with the highest count of each of some generations, and last the best reference. The gain
    is that of results and report: the best natural image chosen and scored on different counts.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    threads = [thread for thread in record.threads.values() if thread.generations][:MAX_THREADS]
    if not threads:
        return
    log = SessionLog(log_path)
    figure = plt.figure(figsize=(13, 0.4 + 1.8 * len(threads)), layout="constrained")
    rows = figure.subfigures(len(threads), 1, squeeze=False)[:, 0]
    gain_of = {gain.thread: gain for gain in summary.sites}
    told = {each.thread: _told(each.comparison) for each in summary.evolution}
    image_of = logged_images(log, record.images)
    try:
        for number, (row, thread) in enumerate(zip(rows, threads, strict=True)):
            curve, strip = row.subfigures(1, 2, width_ratios=(1, 2.6))
            _draw_curve(curve.subplots(), thread, gain_of.get(thread.name), first=number == 0)
            _draw_strip(
                strip, thread, image_of, gain_of.get(thread.name), told.get(thread.name, "–")
            )
        if tiled := _tiled(record):
            figure.suptitle(tiled, fontsize=8, color=INK, x=0.01, ha="left")
        mark_simulated(figure, bool(record.at_rig.simulated))
        figure.savefig(out, dpi=110)
    finally:
        log.close()
        plt.close(figure)


def _told(found: Comparison | None) -> str:
    if found is None:
        return "not known"
    measured = "in the test" if found.measured_in == "test" else "in the last generations"
    return f"× {interval(found.gain)}, best of {found.best_of}, {measured}"


def _tiled(record: EvolutionRecord) -> str:
    """Why the images repeat themselves, if they do."""
    tiles = {
        int(thread.settings.get("generator", {}).get("options", {}).get("tiles", 1))
        for thread in record.started.settings.threads
    } - {1}
    if not tiles:
        return ""
    times = " or ".join(f"{n} × {n}" for n in sorted(tiles))
    return (
        f"Every evolved image is one pattern, repeated {times} times (the generator's setting "
        "tiles): wherever the receptive field lies, the pattern is in it."
    )


def draw_responses(
    record: EvolutionRecord, log_path: Path, out: Path, *, formats: Sequence[str] = ("png",)
) -> bool:
    """Draw a mapping of responses: a row a site, its images from best to worst.

    Left, the mean counts of all images, sorted; right, the images with the most and fewest spikes.

    Args:
        record: The session's.
        log_path: Its log, for the images.
        out: The file, without `.png`.
        formats: In which it is saved.

    Returns:
        Whether there was a mapping to draw.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mapped = [
        t.mean_counts(Role.NATURAL) for t in record.threads.values() if t.counts[Role.NATURAL]
    ]
    if not mapped or record.rig is None:
        return False
    ids, means = mapped[0]
    sites = record.rig.site_ids[:MAX_THREADS]
    log = SessionLog(log_path)
    figure = plt.figure(figsize=(13, 0.4 + 1.7 * len(sites)), layout="constrained")
    rows = figure.subfigures(len(sites), 1, squeeze=False)[:, 0]
    try:
        for row, site, counts in zip(rows, sites, means.T, strict=False):
            curve, strip = row.subfigures(1, 2, width_ratios=(1, 2.6))
            order = np.argsort(-counts, kind="stable")
            axes = curve.subplots()
            axes.plot(counts[order], color=EVOLVED, lw=1.6)
            _label(axes, f"{site}\nmean spikes", "image, best to worst")
            chosen = [*order[: N_STRIP // 2], *order[-N_STRIP // 2 :]]
            for panel, image in zip(strip.subplots(1, N_STRIP), chosen, strict=False):
                _show(panel, log.array(record.images[ids[image]]))
                panel.set_title(f"{counts[image]:.1f}", fontsize=7, color=INK)
                panel.axis("off")
            strip.suptitle("most spikes · fewest spikes", fontsize=8, color=INK, x=0.0, ha="left")
        save(figure, out, formats, simulated=bool(record.at_rig.simulated))
    finally:
        log.close()
        plt.close(figure)
    return True


def _draw_curve(axes: Any, thread: EvolvedThread, gain: SiteGain | None, *, first: bool) -> None:
    numbers = sorted(thread.generations)
    for name, colour in (("evolved", EVOLVED), ("reference", REFERENCE)):
        found = [scores(getattr(thread.generations[n], name)) for n in numbers]
        mean = np.array([np.nan if s.mean is None else s.mean for s in found])
        sem = np.array([s.sem or 0 for s in found])
        axes.plot(numbers, mean, color=colour, lw=1.6, label=name)
        axes.fill_between(numbers, mean - sem, mean + sem, color=colour, alpha=0.22, lw=0)
    if gain is not None:
        axes.axhline(gain.best_reference, color=REFERENCE, lw=1, ls=":", label="best reference")
    start_ms, stop_ms = thread.count_window_ms
    _label(axes, f"{thread.name}\nspikes in {stop_ms - start_ms:g} ms", "generation")
    per_s = 1000 / (stop_ms - start_ms)
    right = axes.secondary_yaxis("right", functions=(lambda n: n * per_s, lambda r: r / per_s))
    right.set_ylabel("spikes/s", fontsize=7)
    right.tick_params(labelsize=6, colors=INK)
    if first:
        axes.legend(fontsize=7, frameon=False, loc="lower left", ncols=3, bbox_to_anchor=(-0.15, 1))


def _draw_strip(
    strip: Any, thread: EvolvedThread, image_of: ImageOf, gain: SiteGain | None, told: str
) -> None:
    measured = [n for n in sorted(thread.generations) if thread.generations[n].best_id]
    places = np.unique(np.linspace(0, len(measured) - 1, N_STRIP).round().astype(int))
    panels = strip.subplots(1, N_STRIP + 1)
    for panel in panels:
        panel.axis("off")
    for panel, place in zip(panels, places, strict=False):
        generation = thread.generations[measured[place]]
        if generation.best_id is None:
            continue
        _show(panel, image_of(generation.best_id))
        panel.set_title(
            f"gen {measured[place]}\n{generation.evolved.max():.1f}", fontsize=7, color=INK
        )
    if gain is not None:
        names = {label: stimulus_id for stimulus_id, label in thread.labels.items()}
        _show(panels[-1], image_of(names[gain.best_reference_name]))
        panels[-1].set_title(
            f"best reference\n{gain.best_reference:.1f}", fontsize=7, color=REFERENCE
        )
        strip.suptitle(
            f"best image of the generation, with its spikes; gain over the best natural image: {told}",
            fontsize=8,
            color=INK,
            x=0.0,
            ha="left",
        )


def _label(axes: Any, y: str, x: str) -> None:
    axes.set_ylim(bottom=0)
    axes.set_ylabel(y, fontsize=8)
    axes.set_xlabel(x, fontsize=8)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _show(panel: Any, image: NDArray[np.uint8]) -> None:
    panel.imshow(image, interpolation="lanczos")
