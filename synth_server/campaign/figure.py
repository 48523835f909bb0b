"""The campaign's figure: every value of the judged setting with its interval, and all its cells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from synth_server.campaign.document import label
from synth_server.campaign.measures import UNITS
from synth_server.campaign.summary import CampaignSummary, Level
from synth_server.campaign.table import Table
from synth_server.readers.figures.style import EVOLVED, INK, REFERENCE, save

FIGURE = "campaign"
MAX_PANELS = 9


def draw_campaign(summary: CampaignSummary, table: Table, folder: Path) -> Path | None:
    """Draw `campaign.png` in `folder`; None if nothing was judged, or nothing is known yet."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    groups = _groups(summary)[:MAX_PANELS]
    if not groups:
        return None
    values = list(dict.fromkeys(level.value for _, levels in groups for level in levels))
    figure, panels = plt.subplots(
        1,
        len(groups),
        figsize=(2.6 + 2.6 * len(groups), 1.5 + 0.34 * len(values)),
        sharey=True,
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for axes, (among, levels) in zip(panels[0], groups, strict=True):
        _draw(axes, levels, values, summary, _points(table, summary, among))
        axes.set_title(", ".join(f"{k} {v}" for k, v in among.items()), fontsize=9, loc="left")
    panels[0][0].set_yticks(range(len(values)), values)
    panels[0][0].set_ylim(len(values) - 0.5, -0.5)
    left_out = len(_groups(summary)) - len(groups)
    more = f"; {left_out} more in campaign.json" if left_out > 0 else ""
    figure.suptitle(
        f"{summary.name}: {summary.measure} by {summary.setting} — mean, 95 % interval, cells{more}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    save(figure, folder / FIGURE, ("png",), simulated=True)
    plt.close(figure)
    return folder / f"{FIGURE}.png"


def _groups(summary: CampaignSummary) -> list[tuple[dict[str, str], list[Level]]]:
    found: dict[str, tuple[dict[str, str], list[Level]]] = {}
    for level in summary.levels:
        found.setdefault(repr(level.among), (level.among, []))[1].append(level)
    return list(found.values())


def _points(
    table: Table, summary: CampaignSummary, among: dict[str, str]
) -> dict[str, list[float]]:
    """Value of the judged setting → its cells' measures."""
    found: dict[str, list[float]] = {}
    for place, number in enumerate(table.columns[summary.measure]):
        here = all(label(table.columns[name][place]) == text for name, text in among.items())
        if here and number is not None:
            value = label(table.columns[summary.setting][place])
            found.setdefault(value, []).append(float(number))
    return found


def _draw(
    axes: Any,
    levels: Sequence[Level],
    values: Sequence[str],
    summary: CampaignSummary,
    points: dict[str, list[float]],
) -> None:
    for level in levels:
        y, mean = values.index(level.value), level.mean
        colour = REFERENCE if level.value == summary.baseline else EVOLVED
        shown = points.get(level.value, [])
        axes.plot(shown, [y + 0.22] * len(shown), "|", color=INK, alpha=0.45, ms=5, mew=0.8)
        if mean.value is None:
            continue
        axes.plot(mean.value, y, "o", color=colour, ms=6, zorder=3)
        if mean.low is not None and mean.high is not None:
            axes.plot((mean.low, mean.high), (y, y), color=colour, lw=2, solid_capstyle="butt")
        if level.value == summary.baseline:
            axes.axvline(mean.value, color=REFERENCE, lw=0.8, ls=":", zorder=0)
    unit = UNITS.get(summary.measure, "")
    axes.set_xlabel(f"{summary.measure} ({unit})" if unit else summary.measure)
    axes.spines[["top", "right"]].set_visible(False)
