"""The figure of a loop that learns: gain over presentations, and images round by round."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from protocols.vocabulary import Role
from synth_server.readers.control.gains import ControlSummary
from synth_server.readers.control.learning import LearningSummary
from synth_server.readers.figures.style import INK, REFERENCE, save
from synth_server.readers.log.synthesised_images import ControlThread, ShownImage
from synth_server.session.log import SessionLog

MADE, FAINT = "#c2410c", "#b8bec6"
MAX_SITES, MAX_ROUNDS = 6, 8
CURVE_IN, IMAGE_IN = 4.6, 1.05


def draw_learning(
    learning: LearningSummary,
    test: ControlSummary,
    shown: ControlThread,
    log_path: Path,
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
    simulated: bool = False,
) -> None:
    """Draw `out`, with each of `formats` at its end.

    Left, each round's images against the best natural image, over presentations: every site, and the
    median. Right, a row a site: the best natural image, in each round the image that did best, and
    one of the test; above each its mean count.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    rounds = [each.round for each in learning.rounds][-MAX_ROUNDS:]
    sites = test.sites[:MAX_SITES]
    width = CURVE_IN + IMAGE_IN * (len(rounds) + 2)
    log = SessionLog(log_path)
    figure = plt.figure(
        figsize=(width, max(3.2, 0.5 + 1.2 * IMAGE_IN * len(sites))),
        layout="constrained",
        facecolor="white",
    )
    try:
        panels: Any = figure.subfigures(1, 2, width_ratios=(CURVE_IN, width - CURVE_IN))
        left, right = panels
        _draw_curves(left.subplots(), learning, test)
        axes = right.subplots(len(sites), len(rounds) + 2, squeeze=False)
        for number, (row, site) in enumerate(zip(axes, sites, strict=True)):
            column = shown.site_ids.index(site.site)
            natural = shown.images(Role.BEST_NATURAL, site.site)
            cells = [("best natural", REFERENCE, natural)]
            for each in rounds:
                made = shown.rounds[each].images.values()
                own = [image for image in made if site.site in image.targets]
                cells.append((f"round {each}", INK, own))
            cells.append(("test", MADE, shown.images(Role(test.aim), site.site)))
            for axis, (name, colour, images) in zip(row, cells, strict=True):
                _draw_best(axis, images, column, log, colour)
                if number == 0:
                    axis.text(0, 1.32, name, transform=axis.transAxes, fontsize=8, color=colour)
            row[0].text(
                -0.12, 0.5, site.site, transform=row[0].transAxes, fontsize=8, color=INK,
                rotation=90, va="center", ha="right",
            )  # fmt: skip
        save(figure, out, formats, simulated=simulated)
    finally:
        log.close()
        plt.close(figure)


def _draw_curves(axes: Any, learning: LearningSummary, test: ControlSummary) -> None:
    after = [each.n_presentations for each in learning.rounds]
    before = [0, *after[:-1]]
    for site in test.sites:
        of_rounds = [
            next((s.gain for s in each.sites if s.site == site.site), None)
            for each in learning.rounds
        ]
        curve = [np.nan if gain is None else gain for gain in (*of_rounds, site.gain.value)]
        failed = (site.gain.value or 0) <= 1
        axes.plot(
            [*after, after[-1] + (after[-1] - before[-1])],
            curve,
            color=INK if failed else FAINT,
            ls="--" if failed else "-",
            lw=1,
        )
    medians = [each.median_gain for each in learning.rounds]
    points = [np.nan if m is None else m for m in (*medians, learning.test_gain)]
    places = [*after, after[-1] + (after[-1] - before[-1])]
    axes.plot(places, points, "o-", color=MADE, lw=2, ms=5, label="median over sites")
    axes.plot([], [], color=FAINT, lw=1, label="a site")
    axes.plot([], [], color=INK, ls="--", lw=1, label="a site that ends at 1 or below")
    axes.axhline(1, color=REFERENCE, lw=1, ls=":", label="best natural image")
    axes.set_xlabel("presentations (last point: the test, fresh counts)", fontsize=8, color=INK)
    axes.set_ylabel("mean count ÷ best natural image's", fontsize=8, color=INK)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="best")
    above = sum((site.gain.value or 0) > 1 for site in test.sites)
    title = f"{above} of {len(test.sites)} sites end above their best natural image"
    axes.set_title(title, fontsize=9, color=INK, loc="left")


def _draw_best(
    axis: Any, images: Sequence[ShownImage], column: int, log: SessionLog, colour: str
) -> None:
    axis.axis("off")
    if not images:
        return
    means = [float(np.concatenate(image.counts)[:, column].mean()) for image in images]
    best = int(np.argmax(means))
    axis.imshow(log.array(images[best].image), interpolation="lanczos")
    axis.set_title(f"{means[best]:.1f}", fontsize=7, color=colour, pad=2)
