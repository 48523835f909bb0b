"""`synth-server results`: what a laboratory publishes of an evolution, from its session log."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import stderr

ComparedIn = Annotated[
    str,
    typer.Option(
        help="Network in whose features images are compared; none: in pixels only, no torch."
    ),
]
ComparedAt = Annotated[
    str, typer.Option(help="Of the network; synth-server backbones NAME lists them.")
]
CountedIn = Annotated[
    str,
    typer.Option(
        help="START,STOP in ms after onset: count again in this window, from the kept spike times. "
        "Default: the session's own counts."
    ),
]
BACKBONE, LAYER = "efficientnet_lite1", "blocks.2"


def results(
    session: Annotated[
        Path, typer.Argument(help="A session log, session.sqlite; it may still be under way.")
    ],
    out: Annotated[
        Path, typer.Option(help="Folder; made if it is not there, its files written anew.")
    ] = Path("results"),
    thread: Annotated[
        list[str] | None, typer.Option(help="This thread only; repeatable. Default: all.")
    ] = None,
    backbone: ComparedIn = BACKBONE,
    layer: ComparedAt = LAYER,
    by_place: Annotated[
        bool,
        typer.Option("--by-place", help="Compare features place by place, not averaged first."),
    ] = False,
    window: CountedIn = "",
    json: Annotated[
        bool, typer.Option("--json", help="Print results.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Make the figures, tables and numbers that a paper needs of an evolution, from its log.

    A page for each thread (threads/NAME.png and .svg): A, evolved and reference images by generation,
    mean ± SEM; B, images through the generations and at the end; C, references from best to worst; D,
    evolved against natural images in the test at the end, with confidence intervals; E, similarity of
    natural to evolved images against responses. Beside them an overview of all threads, CSV tables,
    results.json, and the last generation's images as PNG files.

    The best natural image is chosen on other counts than those it is scored on, and no evolved image
    is scored on counts that selected it. Without a test at the end (n_test_images of evolve), the
    last generations stand in.

    Try it:

        synth-server dry-run --out first

        synth-server results first/session.sqlite --out first/results
    """
    from synth_server.readers.evolution.network_features import FeatureSettings
    from synth_server.readers.log.recounted import parsed_window, recounted
    from synth_server.readers.results.folder import write_result_set

    window_s = parsed_window(window, "--window")
    features = (
        None
        if backbone == "none"
        else FeatureSettings(backbone=backbone, layer=layer, by_place=by_place)
    )
    with recounted(session, window_s) as log:
        found = write_result_set(log, out, features, thread or ())
    if json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    _tell(found)
    stderr.print(f"results  {out}", highlight=False)


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command()(results)


def _tell(found: Any) -> None:
    from synth_server.readers.figures.paper import interval, probability
    from synth_server.readers.log.rig_record import stamp

    table = Table(box=None, header_style="dim")
    table.add_column("thread", no_wrap=True)
    for name in ("evolved", "natural", "gain (95 %)", "p", "r features"):
        table.add_column(name, justify="right", no_wrap=True)
    for thread in found.threads:
        compared = thread.comparison
        cells = ["–"] * 4
        if compared is not None:
            cells = [
                _value(compared.evolved),
                _value(compared.best_natural),
                interval(compared.gain),
                probability(compared.p_best_natural).removeprefix("p ").removeprefix("= "),
            ]
        table.add_row(thread.thread, *cells, _correlation(thread.similarity))
    console = Console()
    if mark := stamp(found.simulated):
        console.print(mark, style="yellow", highlight=False, markup=False)
    console.print(table)
    n_tested = sum(thread.in_test is not None for thread in found.threads)
    console.print(
        "natural: the best natural image, on counts that it was not chosen by; gain: evolved ÷ "
        f"natural, in the test at the end for {n_tested} of {len(found.threads)} threads, else from "
        "the generations.",
        highlight=False,
    )
    if found.n_gains:
        console.print(
            f"Median gain [bold]{interval(found.median_gain)}[/]; above 1 in {found.n_above_1} of "
            f"{found.n_gains}, with its interval in {found.n_surely_above_1}.",
            highlight=False,
        )


def _value(estimate: Any) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.2f}"


def _correlation(similarity: Any) -> str:
    found = similarity.correlations if similarity else ()
    return next((_value(each.pearson) for each in found if each.measure == "features"), "–")
