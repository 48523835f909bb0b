"""What `fit` and `evaluate` say and draw of an encoder's scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from protocols.command_line import stderr


def check_figure(figure: Path | None, overwrite: bool) -> None:
    """Raise an error if the figure cannot be written there."""
    from protocols.outputs import check_new_file

    if figure is not None:
        check_new_file(figure, ".png", overwrite=overwrite, where="--figure")


def tell_scores(scores: Any) -> None:
    """Print medians over sites, and what r of so few images is worth."""
    from encoders.validation import correlation_interval

    shown = {
        "median r": scores.median("r"),
        "noise-corrected": scores.median("r_noise_corrected"),
        "reliability": scores.median("reliability"),
        "explained variance": scores.median("explained_variance"),
    }
    text = "  ".join(f"{name} {value:.3f}" for name, value in shown.items() if value is not None)
    stderr.print(f"{scores.n_images} held-out images, {len(scores.sites)} sites: {text}")
    if (r := shown["median r"]) is not None:
        low, high = correlation_interval(r, scores.n_images)
        stderr.print(
            f"of so many images, a site with r {r:.2f} has a 95 % interval from {low:.2f} to {high:.2f}"
        )


def draw(
    encoder: Any, held_out: Any, scores: Any, out: Path | None, px_per_deg: float | None = None
) -> None:
    """Draw masks, predictions and scores into `out`, if a figure is wished."""
    from synth_server.readers.figures.encoder import draw_encoder

    if out is not None:
        draw_encoder(encoder, held_out, scores, out, px_per_deg=px_per_deg)
        stderr.print(f"figure   {out}", highlight=False)
