"""Details that a learned prior cannot draw: a second climb, in Fourier space and in short steps."""

from __future__ import annotations

from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.climb import Climb
from synth_server.synthesis.image_space import free_fourier_space


def refined(rough: Climb) -> Climb:
    """A climb to the same goal, from the best images of `rough`."""
    space = free_fourier_space(rough.space.size_px)
    start = space.parameters(rough.best_unframed())
    return Climb(rough.goal, space, _second(rough.settings), rough.jobs, start)


def _second(settings: AscentSettings) -> AscentSettings:
    """Plain steps of a set length; what holds for the images stays."""
    chosen = settings.refinement
    return settings.model_copy(
        update={
            "n_steps": chosen.n_steps,
            "learning_rate": chosen.learning_rate,
            "optimizer": "gradient",
            "cosine_decay": True,
            "normalise_gradient": True,
        }
    )
