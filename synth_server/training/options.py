"""What the commands of all trainings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

PhotographsFolder: TypeAlias = Annotated[
    Path, typer.Option(help="folder with imagenet_1000_256px.zip and tiny_imagenet_train40k.zip")
]
CheckpointFile: TypeAlias = Annotated[
    Path, typer.Option(help="written as it goes; taken up if it is there")
]
OutFile: TypeAlias = Annotated[Path, typer.Option(help="the trained weights, .safetensors")]
STEPS = typer.Option(help="0.6 s each on one core")
Threads: TypeAlias = Annotated[
    int, typer.Option(help="of torch; the bundled weights were made with 1")
]
SAVED_EVERY = 100
"""Steps between checkpoints."""
