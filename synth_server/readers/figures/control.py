"""The figure of a control experiment: each site's images, and how it answered to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from protocols.vocabulary import Role
from synth_server.readers.control.gains import ControlSummary, SiteControl
from synth_server.readers.figures.style import INK, MAX_THREADS, REFERENCE, save
from synth_server.readers.log.synthesised_images import ControlThread, ShownImage
from synth_server.readers.statistics.bootstrap import Estimate
from synth_server.session.log import SessionLog

SYNTHETIC, FAINT = "#c2410c", "#b8bec6"
N_SYNTHETIC, N_OTHERS = 5, 2
WIDTH_IN, ROW_IN, HEAD_IN = 14, 1.75, 0.5


def draw_control(
    thread: ControlSummary,
    shown: ControlThread,
    log_path: Path,
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
    simulated: bool = False,
) -> None:
    """Draw `out`, with each of `formats` at its end: a row a site.

    Left, the site's mean counts with 95 % confidence intervals; for one-hot images the population's
    responses, the target first, as Bashivan, Kar & DiCarlo (2019) show them. Right, images: the best
    natural one, the best at raised contrast, noise, those made for the site, some made for others.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    sites = thread.sites[:MAX_THREADS]
    is_one_hot = thread.aim == Role.ONE_HOT_POPULATION
    log = SessionLog(log_path)
    figure = plt.figure(
        figsize=(WIDTH_IN, HEAD_IN + ROW_IN * len(sites)), layout="constrained", facecolor="white"
    )
    rows = figure.subfigures(len(sites), 1, squeeze=False, hspace=0.02)[:, 0]
    try:
        figure.suptitle(_headline(thread), fontsize=10, color=INK, x=0.01, ha="left")
        for number, (row, site) in enumerate(zip(rows, sites, strict=True)):
            left, right = row.subfigures(1, 2, width_ratios=(1, 2.7))
            axes = left.subplots()
            if is_one_hot:
                _draw_population(axes, site, first=number == 0)
            else:
                _draw_counts(axes, site, last=number == len(sites) - 1)
            _draw_images(right, site, shown, Role(thread.aim), log, first=number == 0)
        save(figure, out, formats, simulated=simulated)
    finally:
        log.close()
        plt.close(figure)


def _headline(thread: ControlSummary) -> str:
    said = (
        f"Gain: synthesised ÷ best natural image (best of {thread.best_of}), median over sites: "
        f"{_text(thread.median_gain)}"
    )
    if thread.aim == Role.ONE_HOT_POPULATION:
        said += f".  Softmax score ÷ the best natural image's: {_text(thread.median_score_ratio)}"
    return said


def _text(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"× {estimate.value:.2f}"
    return f"× {estimate.value:.2f} (95 % CI {estimate.low:.2f}–{estimate.high:.2f})"


def _draw_counts(axes: Any, site: SiteControl, *, last: bool) -> None:
    """Mean counts of every kind of image, with their intervals."""
    kinds = (
        ("synthesised", site.synthesised, SYNTHETIC),
        ("best natural", site.best_natural, REFERENCE),
        ("contrast raised", site.contrast_enhanced, REFERENCE),
        ("noise", site.noise, INK),
        ("made for others", site.others, INK),
    )
    for place, (_, estimate, colour) in enumerate(kinds):
        if estimate.value is None:
            continue
        axes.plot(estimate.value, place, "o", color=colour, ms=5)
        if estimate.low is not None:
            axes.plot((estimate.low, estimate.high), (place, place), color=colour, lw=1.5)
    if site.best_natural.value is not None:
        axes.axvline(site.best_natural.value, color=REFERENCE, lw=0.8, ls=":", zorder=0)
    axes.set_yticks(range(len(kinds)), [name for name, _, _ in kinds], fontsize=7)
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_title(f"{site.site}   gain {_text(site.gain)}", fontsize=8, color=INK, loc="left")
    axes.set_xlabel("mean spikes" if last else "", fontsize=7)
    _plain(axes)


def _draw_population(axes: Any, site: SiteControl, *, first: bool) -> None:
    """z-scored responses: the target, then the others from high to low."""
    target = [each for each in site.population if each.site == site.site]
    others = [each for each in site.population if each.site != site.site]
    ordered = target + sorted(others, key=lambda each: -each.synthesised)
    places = np.arange(len(ordered)) + (np.arange(len(ordered)) > 0) * 0.5
    colours = [SYNTHETIC if each.site == site.site else FAINT for each in ordered]
    axes.bar(places, [each.synthesised for each in ordered], 0.8, color=colours)
    natural = [each.best_natural for each in ordered]
    for place, value in zip(places, natural, strict=True):
        if value is not None:
            axes.plot((place - 0.4, place + 0.4), (value, value), color=REFERENCE, lw=1.8)
    axes.axhline(0, color=INK, lw=0.6)
    if len(ordered) <= 12:
        axes.set_xticks(
            places, [each.site for each in ordered], fontsize=6, rotation=30, ha="right"
        )
    else:
        axes.set_xticks([])
    axes.set_ylabel("response, z", fontsize=7)
    axes.set_title(
        f"{site.site}   score ÷ natural's {_text(site.score_ratio)}",
        fontsize=8,
        color=INK,
        loc="left",
    )
    if first and natural and natural[0] is not None:
        axes.plot([], [], color=REFERENCE, lw=1.8, label="best natural image")
        axes.bar([0], [0], color=SYNTHETIC, label="synthesised: target")
        axes.bar([0], [0], color=FAINT, label="other sites")
        axes.legend(fontsize=6, frameon=False, loc="upper right")
    _plain(axes)


def _of_the_same(natural: Sequence[ShownImage], enhanced: Sequence[ShownImage]) -> list[ShownImage]:
    """The contrast-raised version of the photograph that is shown beside it."""
    return [each for each in enhanced if natural and each.label.endswith(f": {natural[0].label}")][
        :1
    ]


def _draw_images(
    panel: Any, site: SiteControl, shown: ControlThread, aim: Role, log: SessionLog, *, first: bool
) -> None:
    column = shown.site_ids.index(site.site)
    natural = _ranked(shown.images(Role.BEST_NATURAL, site.site), column)[:1]
    enhanced = _of_the_same(natural, shown.images(Role.CONTRAST_ENHANCED, site.site))
    noise = shown.images(Role.NOISE, site.site)[:1]
    made = shown.images(aim, site.site)[:N_SYNTHETIC]
    first_of = {each.targets: each for each in reversed(shown.images(aim))}
    others = [each for key, each in sorted(first_of.items()) if site.site not in key][:N_OTHERS]
    cells = [
        ("best natural", REFERENCE, natural, 1),
        ("contrast raised", REFERENCE, enhanced, 1),
        ("noise", INK, noise, 1),
        ("made for this site", SYNTHETIC, made, N_SYNTHETIC),
        ("made for others", INK, others, N_OTHERS),
    ]
    axes = panel.subplots(1, sum(n for *_, n in cells))
    place = 0
    for name, colour, images, n in cells:
        for offset in range(n):
            axis = axes[place + offset]
            axis.axis("off")
            if offset < len(images):
                _draw_image(axis, images[offset], column, log, colour)
                if first and offset == 0:
                    text = axis.text(
                        0, 1.3, name, transform=axis.transAxes, fontsize=8, color=colour
                    )
                    text.set_in_layout(False)  # or the first row's images were smaller
        place += n


def _draw_image(axis: Any, image: ShownImage, column: int, log: SessionLog, colour: str) -> None:
    axis.imshow(log.array(image.image), interpolation="lanczos")
    axis.set_title(f"{_mean(image, column):.1f}", fontsize=7, color=colour, pad=2)


def _ranked(images: Sequence[ShownImage], column: int) -> list[ShownImage]:
    return sorted(images, key=lambda image: -_mean(image, column))


def _mean(image: ShownImage, column: int) -> float:
    return float(np.concatenate(image.counts)[:, column].mean())


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
