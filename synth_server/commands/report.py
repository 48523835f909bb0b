"""`synth-server report`: a session on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from protocols.command_line import stderr
from synth_server.commands.results import BACKBONE, LAYER, ComparedAt, ComparedIn, CountedIn


def report(
    session: Annotated[
        Path, typer.Argument(help="A session log, session.sqlite; it may still be under way.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder; default: `report`, beside the log.")
    ] = None,
    backbone: ComparedIn = BACKBONE,
    layer: ComparedAt = LAYER,
    window: CountedIn = "",
    explain: Annotated[
        bool,
        typer.Option(
            "--explain/--no-explain",
            help="A row for each site of the encoders that the session fitted; some seconds a site.",
        ),
    ] = True,
) -> None:
    """Make one page of a session: figures, tables, Methods, data quality, provenance.

    report.html is self-contained (mail it, archive it); its figures lie beside it as PNG and SVG, the
    numbers in summary.json, and for evolutions in results/ (see synth-server results). If the session
    fitted an encoder, explained/ has what each site wants (see synth-server explain). Everything
    comes from the log; a session that is under way has a report, too.

    Try it:

        synth-server dry-run --out first

        synth-server report first/session.sqlite

        synth-server report first/session.sqlite --window 60,160 --out first/report-60-160
    """
    from synth_server.readers.evolution.network_features import FeatureSettings
    from synth_server.readers.log.recounted import parsed_window, recounted
    from synth_server.readers.log.rig_record import stamp
    from synth_server.report.page import write_report

    window_s = parsed_window(window, "--window")
    features = None if backbone == "none" else FeatureSettings(backbone=backbone, layer=layer)
    folder = out if out is not None else session.parent / "report"
    with stderr.status("drawing …"), recounted(session, window_s) as log:
        made = write_report(log, folder, features, counted_again=window_s, explained=explain)
    if mark := stamp(made.summary.simulated):
        stderr.print(mark, style="yellow", highlight=False, markup=False)
    for warning in made.quality.warnings:
        stderr.print(f"[yellow]look:[/] {warning}", highlight=False)
    stderr.print(f"report  {made.page}", highlight=False)


def register(app: typer.Typer) -> None:
    """Add the command to `synth-server`."""
    app.command()(report)
