"""What synthesis gained, as a table for the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from protocols.vocabulary import Role
from synth_server.readers.bootstrap import Estimate
from synth_server.readers.gains import ControlSummary

MAX_ROWS = 40


def print_control(thread: ControlSummary, console: Console) -> None:
    """A row a site, and the medians over sites, each with its 95 % confidence interval."""
    is_one_hot = thread.aim == Role.ONE_HOT_POPULATION
    title = "one-hot population" if is_one_hot else thread.aim
    table = Table(title=f"{title}: mean spikes in the count window", title_justify="left", box=None)
    table.add_column("site")
    names = ["synthesised", "best natural", "contrast ↑", "noise", "other sites'", "gain [95 %]"]
    if is_one_hot:
        names += ["score", "natural's", "ratio [95 %]"]
    for name in names:
        table.add_column(name, justify="right")
    for site in thread.sites[:MAX_ROWS]:
        counts = (site.synthesised, site.best_natural, site.contrast_enhanced, site.noise)
        cells = [*(_value(each) for each in (*counts, site.others)), _interval(site.gain)]
        if is_one_hot:
            cells += [_value(site.score), _value(site.natural_score), _interval(site.score_ratio)]
        table.add_row(site.site, *cells)
    console.print()
    console.print(table)
    if len(thread.sites) > MAX_ROWS:
        console.print(f"… and {len(thread.sites) - MAX_ROWS} more, see summary.json")
    console.print(_sentence(thread, is_one_hot=is_one_hot), highlight=False)


def _sentence(thread: ControlSummary, *, is_one_hot: bool) -> str:
    n_above = sum((site.gain.value or 0) > 1 for site in thread.sites)
    median = _interval(thread.median_gain)
    said = (
        f"Synthesised ÷ best natural image: median [bold]{median}[/]; "
        f"above 1 at {n_above} of {len(thread.sites)} sites."
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
