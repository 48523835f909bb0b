"""A site's figure: its responses, images through them, what drives it, what was made for it, its channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from encoders.parts import SMOOTHING, best_part
from synth_server.explain.documents import ChannelUse, SiteExplanation
from synth_server.explain.made import Made
from synth_server.explain.subject import Subject
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE, mark_simulated

N_COLUMNS = 13
"""Pictures side by side: five ranked, three driven, three made, and a gap before each group."""
KEPT = 0.1
"""The outlined part of the area."""
DIM = 0.25
"""Of the brightness, where nothing drives the site."""


def draw_site(
    site: SiteExplanation,
    subject: Subject,
    maps: NDArray[np.float64],
    made: Made | None,
    file: Path,
    *,
    simulated: bool = False,
) -> None:
    """Draw `file` (PNG); gray if the site is predicted too badly for its pictures to explain it."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(15.5, 3.5), facecolor="white")
    grid = figure.add_gridspec(
        2, 17, width_ratios=(3.2, *(1,) * 5, 0.25, *(1,) * 3, 0.25, *(1,) * 3, 0.25, 1, 1),
        left=0.045, right=0.995, top=0.80, bottom=0.13, wspace=0.06, hspace=0.42,
    )  # fmt: skip
    try:
        draw = _Pictures(figure, grid, site.is_weak)
        _draw_scatter(figure.add_subplot(grid[1, 2:5]), site, subject)
        _draw_curve(figure.add_subplot(grid[:, 0]), site, subject)
        images = subject.recording.images
        for place, each in enumerate(site.ranked):
            value = each.chosen_by if each.measured is None else each.measured
            draw(0, 1 + place, images[each.image],
                 f"{each.rank}\n{value:.3g} ({each.predicted:.3g})")  # fmt: skip
        for place, (best, attribution) in enumerate(zip(site.driven, maps, strict=True)):
            title = f"{best.measured:.3g} ({best.predicted:.3g})"
            draw(0, 7 + place, images[best.image], title)
            axes = draw(1, 7 + place, lit(images[best.image], attribution), "")
            outline = best_part(attribution, KEPT)
            axes.contour(outline, levels=[0.5], colors=["white"], linewidths=0.8)
            _draw_field(axes, site)
        _draw_made(draw, made)
        _draw_channels(draw, site.channels, images)
        _heads(figure, site)
        mark_simulated(figure, simulated)
        figure.savefig(file, dpi=100, metadata={"Software": None})
    finally:
        plt.close(figure)


def lit(image: NDArray[np.uint8], attribution: NDArray[np.float64]) -> NDArray[np.uint8]:
    """`(h, w, 3) uint8`: the image, dark where it does not drive the site."""
    smooth = gaussian_filter(attribution, SMOOTHING * max(attribution.shape), mode="nearest")
    drive = np.clip(smooth, 0, None)
    strongest = drive.max()
    share = drive / strongest if strongest > 0 else drive
    shown = image * (DIM + (1 - DIM) * np.sqrt(share))[..., None]
    return np.asarray(np.rint(shown), np.uint8)


class _Pictures:
    """Draws pictures into cells of the grid."""

    def __init__(self, figure: Any, grid: Any, is_gray: bool) -> None:
        self._figure, self._grid, self._is_gray = figure, grid, is_gray

    def __call__(self, row: int, column: int, image: NDArray[np.uint8], title: str) -> Any:
        axes = self._figure.add_subplot(self._grid[row, column])
        if self._is_gray:
            image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
        axes.imshow(image, interpolation="lanczos")
        axes.set_title(title, fontsize=6.5, color=INK, pad=2)
        axes.axis("off")
        return axes


def _draw_curve(axes: Any, site: SiteExplanation, subject: Subject) -> None:
    column = subject.site_ids.index(site.site)
    measured = subject.recording.means[:, column]
    measured = np.sort(measured[np.isfinite(measured)])
    colour = INK if site.is_weak else EVOLVED
    axes.plot(np.arange(len(measured)), measured, color=colour, lw=1.4)
    for place, each in zip(np.linspace(0, len(measured) - 1, 5), site.ranked, strict=True):
        value = each.chosen_by if each.measured is None else each.measured
        axes.plot(place, value, "o", ms=4, mfc="white", mec=REFERENCE)
    axes.set_xlabel("image, sorted", fontsize=7)
    axes.set_ylabel("mean response", fontsize=7)
    axes.tick_params(labelsize=6.5, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_scatter(axes: Any, site: SiteExplanation, subject: Subject) -> None:
    column = subject.site_ids.index(site.site)
    x, y = subject.predicted[:, column], subject.recording.means[:, column]
    axes.plot(x, y, ".", ms=2.5, color=INK if site.is_weak else EVOLVED, alpha=0.5)
    axes.set_xlabel("predicted", fontsize=6.5, labelpad=1)
    axes.set_ylabel("measured", fontsize=6.5, labelpad=1)
    axes.tick_params(labelsize=5.5, colors=INK, pad=1)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_field(axes: Any, site: SiteExplanation) -> None:
    if site.field_x_px is None or site.field_y_px is None or site.field_diameter_px is None:
        return
    from matplotlib.patches import Circle

    centre = (site.field_x_px - 0.5, site.field_y_px - 0.5)
    axes.add_patch(Circle(centre, site.field_diameter_px / 2, fill=False, color="#f2c14e", lw=0.9))


def _draw_made(draw: _Pictures, made: Made | None) -> None:
    if made is None:
        return
    for place, (image, about) in enumerate(zip(made.images, made.about, strict=True)):
        row, column = (0, 11 + place) if place < 2 else (1, 9 + place)
        measured = "" if about.measured is None else f"{about.measured:.3g} "
        draw(
            row, column, image, f"{about.kind.replace('_', ' ')}\n{measured}({about.predicted:.3g})"
        )


def _draw_channels(draw: _Pictures, channels: tuple[ChannelUse, ...], images: Any) -> None:
    for row, channel in enumerate(channels[:2]):
        for place, patch in enumerate(channel.patches[:2]):
            half = patch.side_px / 2
            height, width = images.shape[1:3]
            left = round(min(max(patch.x_px - half, 0), width - 2 * half))
            top = round(min(max(patch.y_px - half, 0), height - 2 * half))
            side = max(1, round(patch.side_px))
            cut = images[patch.image, top : top + side, left : left + side]
            title = f"channel {channel.channel}" if not place else f"{channel.weight:+.2f}"
            draw(row, 15 + place, cut, title)


def _heads(figure: Any, site: SiteExplanation) -> None:
    corrected, r = _number(site.r_noise_corrected), _number(site.r)
    field = (
        ""
        if site.field_diameter_px is None
        else f"   field ({site.field_x_px:.0f}, {site.field_y_px:.0f}) px, ⌀ {site.field_diameter_px:.0f} px"
    )
    alike = ", ".join(f"{each.site} ({each.r:.2f})" for each in site.alike)
    weak = "   PREDICTED TOO BADLY: no explanation" if site.is_weak else ""
    figure.text(
        0.005, 0.965,
        f"site {site.site}   noise-corrected r {corrected}, r {r}, reliability "
        f"{_number(site.reliability)}{field}   most like: {alike or '–'}{weak}",
        fontsize=9, color=INK, va="top", weight="bold",
    )  # fmt: skip
    for x, text in (
        (0.205, "photographs through its responses: measured (predicted)"),
        (0.475, "what drives it on its best three;\ncircle: field, outline: best 10 %"),
        (0.675, "made for it: (predicted)"),
        (0.875, "heaviest channels, best patches"),
    ):
        figure.text(x, 0.915, text, fontsize=7, color=INK, va="top")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
