"""Colours that all figures share, how they are saved, and the mark on simulated sessions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.layout_engine import ConstrainedLayoutEngine

from synth_server.readers.log.rig_record import SIMULATED

EVOLVED, REFERENCE, INK = "#101418", "#2a9d6f", "#5b6470"
WARNING = "#b4320c"
MAX_THREADS = 12
"""Rows that a figure has at most."""
MARGIN_IN = 0.2
"""At the right edge, for the mark on simulated sessions."""


def save(
    figure: Any, out: Path, formats: Sequence[str], dpi: int = 110, *, simulated: bool = False
) -> None:
    """Save to `out` with each of `formats` at its end; one session's files are always the same."""
    mark_simulated(figure, simulated)
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "stimloop"}):
        for kind in formats:
            metadata = {"Date": None} if kind == "svg" else None
            figure.savefig(out.with_name(f"{out.name}.{kind}"), dpi=dpi, metadata=metadata)


def mark_simulated(figure: Any, simulated: bool) -> None:
    """Write along the right edge that not all of the session was real, if so."""
    if simulated:
        mark = figure.text(
            0.999,
            0.5,
            SIMULATED,
            fontsize=9,
            color=WARNING,
            weight="bold",
            rotation=270,
            ha="right",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
        mark.set_in_layout(False)
        layout = figure.get_layout_engine()
        if isinstance(layout, ConstrainedLayoutEngine):
            layout.set(rect=(0, 0, 1 - MARGIN_IN / figure.get_figwidth(), 1))
