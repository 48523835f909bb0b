"""The validation figure: an encoder's receptive fields, and its accuracy on held-out images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from encoders.encoder import DifferentiableEncoder
from encoders.masks import estimated_fields, resized, site_masks
from encoders.receptive_field import ReceptiveField
from encoders.recording import Recording
from encoders.validation import Scores, SiteScore
from protocols.errors import DataError
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE, save

CELL = 64
"""Points across a mask, as drawn."""
GAP, TITLE = 6, 12
"""Points between masks, and for a site's name above its mask."""
MAX_MASKS = 400
"""More are not legible; the figure says how many it leaves out."""
MAX_NAMED = 150
MEASURES = (
    ("r", "r, held out"),
    ("r_noise_corrected", "r, noise-corrected"),
    ("reliability", "reliability"),
)


def draw_encoder(
    encoder: DifferentiableEncoder,
    held_out: Recording,
    scores: Scores,
    out: Path,
    *,
    px_per_deg: float | None = None,
    unit: str = "unit of the recording",
) -> None:
    """Draw `out` (PNG): all masks with receptive fields, three sites' predictions, all sites' scores.

    Args:
        encoder: A two-stage encoder, or an ensemble of them.
        held_out: Images that it was not fitted to, and the responses to them.
        scores: What `encoders.validation.evaluate` says of both.
        out: The file.
        px_per_deg: Pixels of the recording's images in a degree of visual angle, if known.
        unit: Of the responses.

    Raises:
        DataError: If the scores are of other sites, or the encoder has no masks.
    """
    if tuple(score.site for score in scores.sites) != encoder.site_ids:
        raise DataError(
            "the scores are not this encoder's",
            where="scores",
            expected=f"sites {', '.join(encoder.site_ids)}"[:200],
            got=", ".join(score.site for score in scores.sites)[:200],
            remedy="draw with what encoders.validation.evaluate gave for the same encoder",
        )
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    recording = held_out.of_sites(encoder.site_ids)
    shape_px = (recording.images.shape[1], recording.images.shape[2])
    figure = plt.figure(figsize=(13.5, 7.2), layout="constrained", facecolor="white")
    try:
        halves: Any = figure.subfigures(1, 2, width_ratios=(1, 1.12))
        left, right = halves
        fields = estimated_fields(encoder, shape_px, px_per_deg)
        _draw_masks(left, site_masks(encoder), fields, shape_px, px_per_deg)
        top, bottom = right.subfigures(2, 1, height_ratios=(1, 1.15))
        _draw_scatters(top, encoder.predict(recording.images), recording, scores, unit)
        _draw_distributions(bottom, scores)
        figure.savefig(out, dpi=110)
    finally:
        plt.close(figure)


def draw_masks(
    encoder: DifferentiableEncoder,
    shape_px: tuple[int, int],
    out: Path,
    *,
    formats: Sequence[str] = ("png",),
    simulated: bool = False,
) -> None:
    """Draw all spatial masks with receptive fields to `out`, with each of `formats` at its end.

    Args:
        encoder: A two-stage encoder, or an ensemble of them.
        shape_px: Height and width of the images that it was fitted to.
        out: The file, without `.png`.
        formats: In which it is saved.
        simulated: Whether it was fitted to a session that was not all real.

    Raises:
        DataError: If the encoder has no masks.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    masks = site_masks(encoder)
    columns = math.ceil(math.sqrt(min(len(masks), MAX_MASKS)))
    height = 1.2 + 6 * math.ceil(min(len(masks), MAX_MASKS) / columns) / columns
    figure = plt.figure(figsize=(6.5, height), layout="constrained", facecolor="white")
    try:
        fields = estimated_fields(encoder, shape_px, None)
        _draw_masks(figure, masks, fields, shape_px, None)
        save(figure, out, formats, simulated=simulated)
    finally:
        plt.close(figure)


def shown_sites(scores: Scores) -> tuple[tuple[str, int], ...]:
    """`("best", index)`, median and worst, by noise-corrected r, or by r if no site has that.

    With fewer than three sites of known score, as many as there are; none without any.
    """
    values = [score.r_noise_corrected for score in scores.sites]
    if all(value is None for value in values):
        values = [score.r for score in scores.sites]
    known = sorted(
        (i for i, value in enumerate(values) if value is not None),
        key=lambda i: -(values[i] or 0.0),
    )
    if len(known) < 3:
        return tuple(zip(("best", "worst"), known, strict=False))
    return (("best", known[0]), ("median", known[len(known) // 2]), ("worst", known[-1]))


def _draw_masks(
    panel: Any,
    masks: NDArray[np.float64],
    fields: Sequence[ReceptiveField],
    shape_px: tuple[int, int],
    px_per_deg: float | None,
) -> None:
    """All masks on one canvas, each with its receptive field as a circle."""
    shown = min(len(masks), MAX_MASKS)
    scale = CELL / max(shape_px)
    height, width = (max(1, round(size * scale)) for size in shape_px)
    columns = math.ceil(math.sqrt(shown * (height + GAP + TITLE) / (width + GAP)))
    columns = min(columns, shown)
    canvas, corners = _mosaic(resized(masks[:shown], height, width), columns)
    axes = panel.subplots()
    drawn = axes.imshow(canvas, cmap=_colours(), vmin=-1, vmax=1, interpolation="nearest")
    size = max(3.5, min(7.5, 62 / columns))
    for (top, left), field in zip(corners, fields, strict=False):
        if shown <= MAX_NAMED:
            axes.text(left, top - 1.5, field.site, fontsize=size, color=INK, va="bottom")
        _draw_field(axes, field, top, left, scale)
    axes.axis("off")
    _draw_scale_bar(axes, canvas.shape[0], scale, shape_px, px_per_deg)
    left_out = f"; the first {shown} of {len(masks)} sites" if shown < len(masks) else ""
    _head(panel, f"masks; circles: receptive fields, {_size_text(fields)}{left_out}")
    bar = panel.colorbar(drawn, ax=axes, shrink=0.35, aspect=18, pad=0.01, ticks=(-1, 0, 1))
    bar.set_label("weight ÷ the mask's largest", fontsize=8, color=INK)
    bar.ax.tick_params(labelsize=7, colors=INK)
    bar.outline.set_visible(False)
    axes.set_anchor("NW")


def _mosaic(
    masks: NDArray[np.float64], columns: int
) -> tuple[NDArray[np.float64], list[tuple[int, int]]]:
    """Masks side by side, each ÷ its largest weight, NaN between them; and their top left corners."""
    n, height, width = masks.shape
    step_down, step_across = height + GAP + TITLE, width + GAP
    canvas = np.full((math.ceil(n / columns) * step_down, columns * step_across), np.nan)
    corners = [(i // columns * step_down + TITLE, i % columns * step_across) for i in range(n)]
    for mask, (top, left) in zip(masks, corners, strict=True):
        canvas[top : top + height, left : left + width] = mask / max(np.abs(mask).max(), 1e-30)
    return canvas, corners


def _colours() -> Any:
    """Green where a mask is positive, violet where negative, nearly white at 0."""
    return mpl.colormaps["PRGn"].with_extremes(bad="white")


def _draw_field(axes: Any, field: ReceptiveField, top: int, left: int, scale: float) -> None:
    if not math.isfinite(field.diameter_px):
        return
    from matplotlib.patches import Circle

    centre = (left + field.x_px * scale - 0.5, top + field.y_px * scale - 0.5)
    radius = field.diameter_px * scale / 2
    axes.add_patch(Circle(centre, radius, fill=False, color=EVOLVED, lw=0.9))
    axes.plot(*centre, marker="+", ms=3, mew=0.7, color=EVOLVED)


def _draw_scale_bar(
    axes: Any, bottom: int, scale: float, shape_px: tuple[int, int], px_per_deg: float | None
) -> None:
    """The width of an image, under the first column."""
    width = shape_px[1]
    name = f"image: {width} px" + (f" = {width / px_per_deg:.3g}°" if px_per_deg else "")
    y = bottom + 1
    axes.plot((-0.5, width * scale - 0.5), (y, y), color=INK, lw=1.5, clip_on=False)
    axes.text(-0.5, y + 3, name, fontsize=7, color=INK, va="top")


def _size_text(fields: Sequence[ReceptiveField]) -> str:
    sizes = np.array([field.diameter_px for field in fields])
    known = sizes[np.isfinite(sizes)]
    if not len(known):
        return "no mask has a receptive field"
    text = f"median diameter at half maximum {np.median(known):.0f} px"
    degrees = [field.diameter_deg for field in fields if field.diameter_deg is not None]
    return text + (f" = {np.median(degrees):.2g}°" if degrees else "")


def _draw_scatters(
    panel: Any, predicted: NDArray[np.float64], recording: Recording, scores: Scores, unit: str
) -> None:
    chosen = shown_sites(scores)
    if not chosen:
        panel.text(0.5, 0.5, "no site has a score", ha="center", color=INK)
        return
    for number, (axes, (name, site)) in enumerate(
        zip(panel.subplots(1, len(chosen), squeeze=False)[0], chosen, strict=True)
    ):
        x, y = predicted[:, site], recording.means[:, site]
        known = np.isfinite(x) & np.isfinite(y)
        axes.scatter(x[known], y[known], s=9, color=EVOLVED, alpha=0.5, lw=0)
        ends = np.array([*_range(x[known]), *_range(y[known])])
        line = (ends.min(), ends.max())
        axes.plot(line, line, color=REFERENCE, lw=1, ls="--", zorder=0)
        axes.set_title(_score_text(name, scores.sites[site]), fontsize=8, color=INK, loc="left")
        axes.set_xlabel(f"predicted,\n{unit}", fontsize=8)
        if number == 0:
            axes.set_ylabel(f"measured, {unit}", fontsize=8)
        axes.set_box_aspect(1)
        _plain(axes)
    _head(panel, f"{recording.n_images} held-out images; dashed: prediction = measurement")


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _score_text(name: str, score: SiteScore) -> str:
    corrected, reliability = _number(score.r_noise_corrected), _number(score.reliability)
    return (
        f"{name}: site {score.site}\nr {_number(score.r)}, noise-corrected {corrected}\n"
        f"reliability {reliability}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _draw_distributions(panel: Any, scores: Scores) -> None:
    """A histogram a measure, over sites; the median is a line."""
    found = [
        np.array([v for site in scores.sites if (v := getattr(site, key)) is not None])
        for key, _ in MEASURES
    ]
    together = np.concatenate([*found, [0.0, 1.0]])
    bins = np.linspace(*_bin_range(together), 26)
    rows = panel.subplots(len(MEASURES), 1, sharex=True)
    for axes, values, (_, label) in zip(rows, found, MEASURES, strict=True):
        axes.set_ylabel("sites", fontsize=8)
        axes.locator_params(axis="y", integer=True, nbins=4)
        _plain(axes)
        if not len(values):
            _note(axes, f"{label}: not known (needs single trials)")
            continue
        median = float(np.median(values))
        axes.hist(values, bins, color="#c3cad2", edgecolor="white", lw=0.5)
        axes.axvline(median, color=REFERENCE, lw=1.8)
        axes.plot(values, np.zeros(len(values)), "|", color=EVOLVED, ms=5, mew=0.7, clip_on=False)
        _note(axes, f"{label}: median {median:.2f}, {len(values)} of {len(scores.sites)} sites")
    rows[-1].set_xlabel("correlation, or reliability of the mean response", fontsize=8)


def _bin_range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Around all values, in steps of 0.1."""
    return math.floor(values.min() * 10) / 10, math.ceil(values.max() * 10) / 10


def _head(panel: Any, text: str) -> None:
    panel.suptitle(text, fontsize=9, color=INK, x=0.01, ha="left")


def _note(axes: Any, text: str) -> None:
    axes.set_title(text, fontsize=8, color=INK, loc="left", pad=3)


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)
