"""`synth-server variants`: what small changes, and parts of images, did to neurons."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from protocols.command_line import stderr
from synth_server.commands.recording_options import OverwriteOption

WRITTEN = ("variants.*", "sensitivity.*", "parts.*", "pairs.png")


def variants(
    session: Annotated[
        Path, typer.Argument(help="A session log of perturb or reduction; may still be under way.")
    ],
    out: Annotated[Path, typer.Option(help="Folder; made if it is not there.")] = Path("variants"),
    overwrite: OverwriteOption = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print variants.json on stdout and nothing else.")
    ] = False,
) -> None:
    """Evaluate a session of `perturb` or `reduction`, from its log.

    Perturb: how far small changes move each site, in SDs of its responses to photographs, signed by
    the predicted direction, beside a random direction and images made for other sites. Reduction: what
    is left of the response when a part is kept or removed, beside a disc at the field and a random
    patch. Leaves variants.json and figures.

    Try it:

        synth-server dry-run --protocol perturb --set n_bases=3 --out small-changes

        synth-server variants small-changes/session.sqlite --out small-changes/variants
    """
    from protocols.outputs import check_new_folder
    from synth_server.variants.writing import write_variants

    check_new_folder(out, WRITTEN, overwrite=overwrite)
    found, figures = write_variants(session, out)
    if json:
        sys.stdout.write(found.model_dump_json(indent=2) + "\n")
        return
    _tell(found)
    for path in figures:
        stderr.print(f"figure   {path}", highlight=False)


def _tell(found: Any) -> None:
    console = Console()
    if found.over_sites:
        table = Table(box=None, title=f"signed change in SD, mean of {len(found.sites)} sites")
        for name in ("radius, levels", "made for the site", "predicted", "for others", "random"):
            table.add_column(name, justify="right")
        for row in found.over_sites:
            cells = (row.signed, row.predicted, row.others, row.random)
            table.add_row(f"{row.radius_levels:g}", *(_cell(each) for each in cells))
        console.print(table)
    if found.parts_over_sites:
        table = Table(box=None, title=f"response left, mean of {len(found.sites)} sites")
        for name in ("share", "part", "left", "predicted"):
            table.add_column(name, justify="right")
        for part in found.parts_over_sites:
            table.add_row(f"{part.share:.0%}", part.kind, _cell(part.left), _cell(part.predicted))
        console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    if value.mean is None:
        return "–"
    within = "" if value.low is None else f" ({value.low:.3f} to {value.high:.3f})"
    return f"{value.mean:.3f}{within}"


def register(app: typer.Typer) -> None:
    """Add this command to `synth-server`."""
    app.command()(variants)
