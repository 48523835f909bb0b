"""What synthesis gained, as a table for the terminal."""

from __future__ import annotations

from statistics import median

from rich.console import Console
from rich.table import Table

from protocols.vocabulary import Role
from synth_server.readers.control.gains import ControlSummary
from synth_server.readers.control.learning import LearningSummary
from synth_server.readers.statistics.bootstrap import Estimate

MAX_ROWS = 40


def print_control(thread: ControlSummary, console: Console) -> None:
    """A row a site, and the medians over sites, each with its 95 % confidence interval."""
    is_one_hot = thread.aim == Role.ONE_HOT_POPULATION
    counts = _table(
        "Mean spikes, by what was shown", ("made", "natural", "contrast ↑", "noise", "others'")
    )
    scores = _table("Share of the softmax over sites", ("made", "natural"))
    for site in thread.sites[:MAX_ROWS]:
        means = (site.synthesised, site.best_natural, site.contrast_enhanced, site.noise)
        counts.add_row(site.site, *map(_value, (*means, site.others)), _interval(site.gain))
        shares = (site.score, site.natural_score)
        scores.add_row(site.site, *map(_value, shares), _interval(site.score_ratio))
    console.print()
    console.print(counts)
    if is_one_hot:
        console.print()
        console.print(scores)
    if len(thread.sites) > MAX_ROWS:
        console.print(f"… and {len(thread.sites) - MAX_ROWS} more, see summary.json")
    console.print(_sentence(thread, is_one_hot=is_one_hot), highlight=False)


def print_learning(thread: LearningSummary, console: Console) -> None:
    """A row a round: what its images drew, against what was predicted and the best natural image."""
    table = Table(box=None, header_style="dim", title="Rounds", title_justify="left")
    names = ("round", "presentations", "predicted", "measured", "÷ natural, median")
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for each in thread.rounds:
        predicted = [site.predicted for site in each.sites if site.predicted is not None]
        measured = [site.measured for site in each.sites if site.measured is not None]
        table.add_row(
            str(each.round),
            f"{each.n_presentations:,}",
            _median(predicted),
            _median(measured),
            "–" if each.median_gain is None else f"× {each.median_gain:.2f}",
        )
    console.print()
    console.print(table)


def _median(values: list[float]) -> str:
    return f"{median(values):.1f}" if values else "–"


def _table(what: str, names: tuple[str, ...]) -> Table:
    table = Table(box=None, header_style="dim", title=what, title_justify="left")
    table.add_column("site", no_wrap=True)
    for name in (*names, "÷ natural [95 %]"):
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _sentence(thread: ControlSummary, *, is_one_hot: bool) -> str:
    n_above = sum((site.gain.value or 0) > 1 for site in thread.sites)
    median = _interval(thread.median_gain)
    said = (
        f"Gain, synthesised ÷ best natural image (best of {thread.best_of}): median "
        f"[bold]{median}[/]; above 1 at {n_above} of {len(thread.sites)} sites."
    )
    if is_one_hot:
        ratio = _interval(thread.median_score_ratio)
        said += f"\nSoftmax score ÷ the best natural image's: median [bold]{ratio}[/]."
    return said


def _value(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.2f}"


def _interval(estimate: Estimate) -> str:
    if estimate.value is None:
        return "–"
    if estimate.low is None or estimate.high is None:
        return f"× {estimate.value:.2f}"
    return f"× {estimate.value:.2f} [{estimate.low:.2f}–{estimate.high:.2f}]"
