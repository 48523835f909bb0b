"""Train a robust network: `python -m synth_server.training.robust_networks --help`."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from encoders.backbones.weights import write_half_precision
from synth_server.training.options import (
    SAVED_EVERY,
    STEPS,
    CheckpointFile,
    OutFile,
    PhotographsFolder,
    Threads,
)
from synth_server.training.photographs import Photographs
from synth_server.training.robust_networks.distillation import Distillation, DistillationSettings

DEFAULTS = DistillationSettings()


def train(
    photographs: PhotographsFolder,
    checkpoint: CheckpointFile,
    out: OutFile,
    backbone: Annotated[str, typer.Option(help="an EfficientNet-lite")] = DEFAULTS.backbone,
    layers: Annotated[str, typer.Option(help="the deepest last")] = ",".join(DEFAULTS.layers),
    radius: Annotated[
        float, typer.Option(help="of the disturbance, L2 at 96 px")
    ] = DEFAULTS.radius,
    steps: Annotated[int, STEPS] = DEFAULTS.n_steps,
    seed: int = 0,
    threads: Threads = 1,
) -> None:
    """Train a network on photographs and their worst disturbances, or go on where a run stopped."""
    torch.set_num_threads(threads)
    settings = DistillationSettings(
        backbone=backbone,
        layers=tuple(layers.split(",")),
        radius=radius,
        n_steps=steps,
        seed=seed,
    )
    training = Distillation(settings, Photographs.load(photographs, held_out=False))
    if checkpoint.is_file():
        training.load(checkpoint)
        typer.echo(f"goes on after step {training.n_done}")

    def told(n_done: int, loss: float) -> None:
        if n_done % SAVED_EVERY == 0 or n_done == steps:
            training.save(checkpoint)
            typer.echo(f"{n_done} of {steps}: {loss:.3f}")

    training.run(told)
    write_half_precision(out, training.student.backbone.network)
    typer.echo(f"wrote {out}")
    found = training.damages(Photographs.load(photographs, held_out=True))
    typer.echo(
        "photographs never trained on, in units of the features' variance: "
        f"undisturbed {found.undisturbed:.2f}, worst disturbance {found.worst:.2f}; "
        f"before training {found.worst_before_training:.2f}"
    )


if __name__ == "__main__":
    typer.run(train)
