"""The table of sites of a report."""

from __future__ import annotations

from collections.abc import Sequence

from synth_server.readers.summary.sites import SiteLine
from synth_server.report.tables import Table

HEAD = (
    "site", "rate, sp/s", "baseline, sp/s", "SNR", "latency, ms", "reliability", "best window, ms",
    "field x, °", "y, °", "σ, °", "remark",
)  # fmt: skip


def site_table(lines: Sequence[SiteLine]) -> list[Table]:
    """For the report; nothing where nothing is known of any site."""
    if not lines:
        return []
    caption = (
        "Sites: rate and baseline from spike times; signal to noise, latency, split-half reliability "
        "in the count window, the window that repeats best (its reliability on the other half of the "
        "repetitions), receptive field"
    )
    return [Table(caption, HEAD, [_row(line) for line in lines])]


def _row(line: SiteLine) -> tuple[str, ...]:
    window = "–"
    if line.best_window_ms is not None:
        start, stop = line.best_window_ms
        window = f"{start:g}–{stop:g} ({_number(line.best_reliability)})"
    return (
        line.site,
        _number(line.rate, 1),
        _number(line.baseline, 1),
        _number(line.snr),
        _number(line.latency_ms, 0),
        _number(line.reliability),
        window,
        _number(line.x_deg),
        _number(line.y_deg),
        _number(line.sigma_deg),
        line.remark,
    )


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
