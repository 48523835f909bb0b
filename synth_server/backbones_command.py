"""`synth-server backbones`: the pretrained networks, and their layers."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

SizePx = Annotated[int, typer.Option(min=16, help="Images are brought to this size.")]


def backbones(
    name: Annotated[str | None, typer.Argument(help="Show this network's layers.")] = None,
    input_px: SizePx = 224,
) -> None:
    """List the pretrained networks, or one network's layers."""
    from encoders.backbones import known_backbones
    from encoders.backbones.catalogue import catalogue

    if name is None:
        sys.stdout.write("\n".join(known_backbones()) + "\n")
        return
    found = catalogue(name, input_px=input_px)
    table = Table(title=f"{name}: {found.parameters / 1e6:.1f} M parameters", box=None)
    table.add_column("layer", no_wrap=True)
    for column in ("shape", "stride", "field, px", "memory, MB", "parameters"):
        table.add_column(column, justify="right")
    for row in found.layers:
        field = row.published_field_px or row.receptive_field_px
        cells = ("×".join(map(str, row.shape)), row.stride, field)
        figures = (f"{row.memory_mb:.2f}", f"{row.parameters:,}")
        table.add_row(row.name, *("–" if c is None else str(c) for c in cells), *figures)
    console = Console()
    console.print(table)
    if found.note:
        console.print(found.note)
