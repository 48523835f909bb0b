"""Train the bundled generator: `python -m synth_server.training.deep_generator --help`."""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from synth_server.synthesis.generators.deep_weights import write_weights
from synth_server.training.deep_generator.training import Training, TrainingSettings
from synth_server.training.options import (
    SAVED_EVERY,
    STEPS,
    CheckpointFile,
    OutFile,
    PhotographsFolder,
    Threads,
)
from synth_server.training.photographs import Photographs


def train(
    photographs: PhotographsFolder,
    checkpoint: CheckpointFile,
    out: OutFile,
    steps: Annotated[int, STEPS] = TrainingSettings().n_steps,
    seed: int = 0,
    threads: Threads = 1,
) -> None:
    """Train the decoder of the `deep` generator on photographs, or go on where a run stopped."""
    torch.set_num_threads(threads)
    settings = TrainingSettings(seed=seed, n_steps=steps)
    training = Training(settings, Photographs.load(photographs, held_out=False))
    if checkpoint.is_file():
        training.load(checkpoint)
        typer.echo(f"goes on after step {training.n_done}")
    else:
        typer.echo("computes the basis of the codes (some minutes)")
        training.prepare()

    def told(n_done: int, losses: dict[str, float]) -> None:
        if n_done % SAVED_EVERY == 0 or n_done == steps:
            training.save(checkpoint)
            typer.echo(
                f"{n_done} of {steps}: "
                + ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
            )

    training.run(told)
    write_weights(out, training.basis, training.averaged)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(train)
