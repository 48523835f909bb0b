"""Figures for print: panels placed in inches, text that can be read at a column's width, PNG and SVG."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from synth_server.readers.figures.style import EVOLVED, INK, mark_simulated
from synth_server.readers.statistics.bootstrap import Estimate

WIDTH_IN = 7.2
"""Two columns of a journal, 183 mm."""
DPI = 200
TEXT, SMALL, LETTER = 7.0, 6.0, 10.0
FAINT = "#b8bec6"
STYLE: Any = {
    "font.size": TEXT,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": EVOLVED,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "stimloop",
}


class Page:
    """A figure whose panels are placed in inches from its top left corner.

    Args:
        height_in: Its height.
    """

    def __init__(self, height_in: float) -> None:
        from matplotlib import pyplot as plt

        self.height_in = height_in
        self.figure = plt.figure(figsize=(WIDTH_IN, height_in), facecolor="white")

    def axes(self, left: float, top: float, width: float, height: float, **options: Any) -> Any:
        """Axes of that place and size, without a frame above and on the right."""
        bottom = self.height_in - top - height
        place = (
            left / WIDTH_IN,
            bottom / self.height_in,
            width / WIDTH_IN,
            height / self.height_in,
        )
        axes = self.figure.add_axes(place, **options)
        axes.spines[["top", "right"]].set_visible(False)
        return axes

    def text(self, left: float, top: float, text: str, **how: Any) -> None:
        """Text whose upper left corner (or as `how` says) is there."""
        where = left / WIDTH_IN, 1 - top / self.height_in
        style = {"fontsize": TEXT, "color": INK, "va": "top", "ha": "left", **how}
        self.figure.text(*where, text, **style)

    def panel(self, letter: str, left: float, top: float, title: str) -> None:
        """A panel's letter and title."""
        self.text(left, top, letter, fontsize=LETTER, color=EVOLVED, weight="bold", va="baseline")
        self.text(left + 0.2, top, title, fontsize=TEXT, color=EVOLVED, va="baseline")

    def image(self, left: float, top: float, size: float, image: NDArray[np.uint8]) -> Any:
        """An image, without axes."""
        axes = self.axes(left, top, size, size)
        axes.imshow(image, interpolation="antialiased")
        axes.axis("off")
        return axes


@contextmanager
def page(height_in: float, out: Path, *, simulated: bool = False) -> Iterator[Page]:
    """A page that is drawn on and then saved: `out` with `.png` and with `.svg`.

    A session's log always gives the same files.
    """
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    with mpl.rc_context(STYLE):
        made = Page(height_in)
        try:
            yield made
            mark_simulated(made.figure, simulated)
            made.figure.savefig(out.with_name(out.name + ".png"), dpi=DPI)
            made.figure.savefig(out.with_name(out.name + ".svg"), metadata={"Date": None})
        finally:
            plt.close(made.figure)


def interval(estimate: Estimate) -> str:
    """`1.52 (1.31–1.80)`; a dash for what is not known."""
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return _rounded(estimate.value)
    between = " to " if estimate.low < 0 else "–"
    return (
        f"{_rounded(estimate.value)} ({_rounded(estimate.low)}{between}{_rounded(estimate.high)})"
    )


def _rounded(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def probability(p: float | None) -> str:
    """`p = 0.012`."""
    if p is None:
        return "p not known"
    return "p ≤ 0.0001" if p <= 1e-4 else f"p = {p:.2g}"


def error_bar(axes: Any, x: float, estimate: Estimate, colour: str) -> None:
    """A value with its confidence interval; nothing if it is not known."""
    if estimate.value is None:
        return
    if estimate.low is not None:
        axes.plot((x, x), (estimate.low, estimate.high), color=colour, lw=1.4, zorder=3)
    axes.plot(x, estimate.value, "o", color=colour, ms=4.5, mew=0, zorder=4)
