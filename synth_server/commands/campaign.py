"""`synth-server campaign`: many simulated sessions on all cores or on a cluster, and their table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import check_not_ignored, progress_bar, stderr

if TYPE_CHECKING:
    from synth_server.campaign.run import Progress
    from synth_server.campaign.summary import CampaignSummary
    from synth_server.readers.statistics.bootstrap import Estimate


def campaign(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="CAMPAIGN.toml", help="Which sessions; see --template.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder for the results; one that has some is gone on with.")
    ] = Path("campaign"),
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Processes here, a core each; not given: all cores."),
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="A Dask scheduler's, in place of workers here.")
    ] = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print the summary on stdout and nothing else.")
    ] = False,
    _template: Annotated[
        bool,
        typer.Option(
            "--template",
            help="Print a campaign.toml to begin with, and end.",
            is_eager=True,
            callback=lambda wanted: _print_template(wanted),
        ),
    ] = False,
) -> None:
    """Run many simulated sessions: a grid over neurons, plans, noise and seeds; then one table.

    Each cell is the session that a dry run with its settings would be. A cell that fails is a row with
    its error. Ctrl-C loses nothing: the same command computes what is missing, and what failed.

    Try it:

        synth-server campaign --template > campaign.toml

        synth-server campaign campaign.toml --out first-campaign
    """
    import distributed  # noqa: F401  (the extra is missed before cells are made)

    from synth_server.campaign.document import read_campaign
    from synth_server.campaign.engine import connected
    from synth_server.campaign.run import Campaign

    if scheduler:
        check_not_ignored(context, ["workers"], "workers here, without --scheduler")
    made = Campaign(read_campaign(file), out)
    if (asked := made.settings.n_asked) > len(made.cells):
        stderr.print(f"{asked - len(made.cells)} cells were asked for twice", highlight=False)
    with progress_bar("campaign") as step:
        teller = _Teller(step)
        summary = made.run(lambda: connected(workers, scheduler), teller.tell)
    if json:
        sys.stdout.write(summary.model_dump_json(indent=2) + "\n")
    else:
        _print(summary, out)


class _Teller:
    """Brings the bar up to date; says once where the dashboard is, and what was there already."""

    def __init__(self, step: object) -> None:
        self._step, self._dashboard, self._begun = step, "", False

    def tell(self, progress: Progress) -> None:
        over = progress.n_done + progress.n_failed
        if not self._begun:
            self._begun = True
            stderr.print(f"{progress.n_cells} cells, {over} of them known", highlight=False)
        if progress.dashboard not in ("", self._dashboard):
            self._dashboard = progress.dashboard
            workers = f"{progress.workers} at work" if progress.workers else "waiting for workers"
            stderr.print(f"dashboard: {self._dashboard}; {workers}", highlight=False)
        failed = f", {progress.n_failed} failed" if progress.n_failed else ""
        doing = f"{over} of {progress.n_cells}{failed}"
        self._step(over, progress.n_cells, doing)  # type: ignore[operator]


def _print(summary: CampaignSummary, out: Path) -> None:
    console = Console()
    if summary.levels:
        others = sorted({name for level in summary.levels for name in level.among})
        table = Table(
            *others, summary.setting, "cells", f"mean {summary.measure}", "minus baseline"
        )
        for level in summary.levels:
            among = (level.among.get(name, "") for name in others)
            difference = _text(level.difference, "+") or "(baseline)"
            table.add_row(*among, level.value, str(level.n), _text(level.mean), difference)
        console.print(table)
        console.print("Means with 95 % intervals; differences within pairs.", highlight=False)
    for error, n in summary.errors.items():
        console.print(f"[yellow]{n} failed:[/] {error}", highlight=False)
    console.print(
        f"{summary.n_done} of {summary.n_cells} cells done, {summary.n_failed} failed",
        highlight=False,
    )
    for name in ("table.parquet", "campaign.json", "campaign.png"):
        if (out / name).is_file():
            console.print(f"  {out / name}", highlight=False, soft_wrap=True)


def _text(estimate: Estimate, sign: str = "") -> str:
    if estimate.value is None:
        return ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.3g}"
    return f"{estimate.value:{sign}.3g} ({estimate.low:{sign}.3g} to {estimate.high:{sign}.3g})"


def _print_template(wanted: bool) -> None:
    if wanted:
        from synth_server.campaign.template import TEMPLATE

        sys.stdout.write(TEMPLATE)
        raise typer.Exit


def register(app: typer.Typer) -> None:
    """Add this command to `synth-server`."""
    app.command()(campaign)
