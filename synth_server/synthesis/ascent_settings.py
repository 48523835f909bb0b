"""How images climb: settings of gradient ascent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocols.settings import Frozen
from synth_server.synthesis.constraints import (
    ConstraintSettings,
    PenaltySettings,
    TransformSettings,
)


class RefinementSettings(Frozen):
    """A second climb, in Fourier space, from where the first one ended: details that a learned prior
    cannot draw. Short steps, or what only the encoder likes comes in with them.
    """

    n_steps: int = Field(default=0, ge=0, le=100_000, description="0: none")
    learning_rate: float = Field(
        default=0.005, gt=0, description="of the first step; the natural amplitude is 1"
    )


class AscentSettings(Frozen):
    """How images climb, and what holds for them."""

    n_steps: int = Field(default=200, ge=1, le=100_000)
    optimizer: Literal["adam", "gradient"] = Field(
        default="adam", description="'gradient': plain steps of learning_rate × gradient"
    )
    learning_rate: float = Field(default=0.1, gt=0, description="of the first step")
    cosine_decay: bool = Field(default=True, description="the rate falls to 0; or it stays")
    normalise_gradient: bool = Field(
        default=True, description="divide each image's gradient by its standard deviation"
    )
    diversity: float = Field(
        default=0,
        ge=0,
        description="weight of an image's mean likeness (-1..1) in texture to those of the same "
        "target, in the objective's unit; see `synthesis.diversity`",
    )
    networks: Literal["together", "in_turn"] = Field(
        default="together",
        description="'in_turn': each step asks one network of an ensemble, the next step the next",
    )
    evaluate_every: int = Field(default=10, ge=1, description="steps between looks at the image")
    max_restarts: int = Field(default=3, ge=0, description="new starts for a diverged image")
    n_candidates: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="starts drawn for a seed; each target climbs from the one that scores highest",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="images that climb together; a target's stay "
        "together if they are to be diverse",
    )
    device: str | None = Field(
        default=None,
        description="where images are kept, as torch names it; not given: where the encoder is",
    )
    refinement: RefinementSettings = RefinementSettings()
    constraints: ConstraintSettings = ConstraintSettings()
    transforms: TransformSettings = TransformSettings()
    penalties: PenaltySettings = PenaltySettings()
