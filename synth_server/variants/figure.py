"""Figures of variants: sensitivity over radius, what is left by part, and the pictures in pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE, save
from synth_server.session.log import SessionLog
from synth_server.variants.documents import Sensitivity, Variants
from synth_server.variants.reading import Shown, VariantRecord

OTHERS, PREDICTED = "#c0562f", "#7a4fa3"
MAX_ROWS, N_PAIRS = 8, 3
PARTS = (("kept", EVOLVED), ("removed", "#8a929c"), ("disc", REFERENCE), ("patch", OTHERS))


def draw_variants(
    found: Variants, record: VariantRecord, folder: Path, formats: Sequence[str] = ("png", "svg")
) -> list[Path]:
    """Draw `sensitivity`, `parts` and `pairs` into `folder`, as far as the session has them."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = []
    for name, wanted, draw in (
        ("sensitivity", found.over_sites, _draw_sensitivity),
        ("parts", found.parts_over_sites, _draw_parts),
    ):
        if not wanted:
            continue
        figure = plt.figure(figsize=(11, 4.2), layout="constrained", facecolor="white")
        try:
            draw(figure, found)
            save(figure, folder / name, formats, simulated=record.simulated)
            drawn.append(folder / f"{name}.png")
        finally:
            plt.close(figure)
    figure = plt.figure(figsize=(12, 1.75 * min(MAX_ROWS, len(found.sites)) + 0.3))
    try:
        _draw_pairs(figure, found, record)
        save(figure, folder / "pairs", ("png",), simulated=record.simulated)
        drawn.append(folder / "pairs.png")
    finally:
        plt.close(figure)
    return drawn


def _draw_sensitivity(figure: Any, found: Variants) -> None:
    left, right = figure.subplots(1, 2)
    rows = found.over_sites
    _curve(left, rows, [row.signed for row in rows], EVOLVED, "made for the site")
    _curve(left, rows, [row.others for row in rows], OTHERS, "made for other sites")
    _curve(left, rows, [row.random for row in rows], REFERENCE, "random direction")
    predicted = [(row.radius_levels, row.predicted) for row in rows if row.predicted is not None]
    if predicted:
        left.plot(*zip(*predicted, strict=True), color=PREDICTED, ls=":", lw=1.4, label="predicted")
    left.set_title(
        f"mean of {len(found.sites)} sites, 95 % interval", fontsize=9, color=INK, loc="left"
    )
    left.legend(fontsize=7, frameon=False)
    for site in found.sites:
        points = [
            (s.radius_levels, s.signed.mean) for s in site.sensitivity if s.signed.mean is not None
        ]
        if points:
            right.plot(*zip(*points, strict=True), lw=1, marker="o", ms=3, label=site.site)
    right.set_title("each site", fontsize=9, color=INK, loc="left")
    if len(found.sites) <= 12:
        right.legend(fontsize=6, frameon=False, ncols=2)
    for axes in (left, right):
        axes.axhline(0, color=INK, lw=0.6)
        axes.set_xscale("log")
        axes.set_xticks([r.radius_levels for r in rows], [f"{r.radius_levels:g}" for r in rows])
        axes.minorticks_off()
        _plain(
            axes, "RMS difference as shown, gray levels", "change, SD of responses to photographs"
        )


def _curve(
    axes: Any, rows: Sequence[Sensitivity], values: Sequence[Any], colour: str, name: str
) -> None:
    known = [
        (row.radius_levels, v) for row, v in zip(rows, values, strict=True) if v.mean is not None
    ]
    if not known:
        return
    x = [radius for radius, _ in known]
    axes.plot(x, [v.mean for _, v in known], color=colour, lw=1.6, marker="o", ms=4, label=name)
    if all(v.low is not None for _, v in known):
        axes.fill_between(
            x, [v.low for _, v in known], [v.high for _, v in known], color=colour, alpha=0.18, lw=0
        )


def _draw_parts(figure: Any, found: Variants) -> None:
    axes = figure.subplots()
    shares = sorted({part.share for part in found.parts_over_sites})
    for place, (kind, colour) in enumerate(PARTS):
        rows = [p for p in found.parts_over_sites if p.kind == kind and p.left.mean is not None]
        for row in rows:
            x = shares.index(row.share) * (len(PARTS) + 1.5) + place
            label = kind if row is rows[0] else None
            axes.bar(x, row.left.mean, color=colour, width=0.85, label=label)
            if row.left.low is not None:
                axes.plot((x, x), (row.left.low, row.left.high), color=INK, lw=1.2)
            if row.predicted is not None:
                axes.plot(x, row.predicted, "x", color=PREDICTED, ms=6, mew=1.6)
    ticks = [i * (len(PARTS) + 1.5) + (len(PARTS) - 1) / 2 for i in range(len(shares))]
    axes.set_xticks(ticks, [f"{share:.0%} of the area" for share in shares])
    axes.axhline(1, color=INK, lw=0.8, ls="--")
    axes.legend(fontsize=8, frameon=False, ncols=4)
    axes.set_title(
        f"mean of {len(found.sites)} sites, 95 % interval; cross: predicted",
        fontsize=9,
        color=INK,
        loc="left",
    )
    _plain(axes, "", "response left, whole image = 1")


def _draw_pairs(figure: Any, found: Variants, record: VariantRecord) -> None:
    """A row a site: a base, and its strongest variants with what each drew."""
    log = SessionLog(record.path)
    rows = found.sites[:MAX_ROWS]
    grid = figure.add_gridspec(len(rows), 2 * N_PAIRS + 1, left=0.01, right=0.99, top=0.90, bottom=0.01,
                               wspace=0.08, hspace=0.35)  # fmt: skip
    try:
        for number, site in enumerate(rows):
            own = [each for each in record.variants if site.site in each.sites]
            shown = _strongest(own)
            if not shown:
                continue
            base = record.bases[shown[0].base]
            title = f"{site.site}\nbase {record.mean(base.id, site.site):.3g}"
            _picture(figure, grid[number, 0], log.array(base.pixels), title)
            for place, each in enumerate(shown[: 2 * N_PAIRS]):
                image = log.array(each.pixels)
                drew = record.mean(each.id, site.site)
                title = f"{each.variant.kind} {each.variant.amount:g}\n{drew:.3g}"
                if each.variant.predicted is not None:
                    title += f" ({each.variant.predicted:.3g})"
                _picture(figure, grid[number, 1 + place], image, title)
    finally:
        log.close()
    figure.suptitle(
        "spikes/s measured (predicted)", fontsize=8, color=INK, x=0.01, y=0.995, ha="left"
    )


def _strongest(own: Sequence[Shown]) -> list[Shown]:
    """The variants of the first base, largest amounts first, kinds together."""
    if not own:
        return []
    base = min(each.base for each in own)
    of_base = [each for each in own if each.base == base]
    kinds = ("drive", "suppress", "random", *(kind for kind, _ in PARTS))
    return sorted(of_base, key=lambda e: (-e.variant.amount, kinds.index(e.variant.kind)))


def _picture(figure: Any, cell: Any, image: Any, title: str) -> None:
    axes = figure.add_subplot(cell)
    axes.imshow(np.asarray(image), interpolation="lanczos")
    axes.set_title(title, fontsize=7, color=INK, pad=2)
    axes.axis("off")


def _plain(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
