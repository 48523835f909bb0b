"""The messages between a client and hosted encoders, as in `docs/reference/wire.md`.

They have a socket of their own, in a process of their own: no session is ever behind them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from protocols.settings import Frozen, PluginChoice
from protocols.vocabulary import MAX_STIMULI, SiteId
from protocols.wire.messages import Body, Name, Refused, Text

Shape: TypeAlias = tuple[
    Annotated[int, Field(ge=1, le=16_384)], Annotated[int, Field(ge=1, le=16_384)], Literal[3]
]
"""Of every image of a message: height, width, 3."""
Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
DeadlineS: TypeAlias = Annotated[float, Field(gt=0, le=86_400)]


# --- client → encoders -------------------------------------------------------------------------


class ListEncoders(Body):
    """Ask which encoders are hosted."""

    kind: ClassVar[str] = "list_encoders"


class Predict(Body):
    """Ask for rates; frame 1 + k of the message holds the pixels of image k."""

    kind: ClassVar[str] = "predict"
    encoder: Name
    image_shape: Shape
    deadline_s: DeadlineS | None = Field(default=None, description="refused if it takes longer")


class Synthesize(Body):
    """Ask for images that an encoder predicts to do as an objective wants."""

    kind: ClassVar[str] = "synthesize"
    encoder: Name
    objective: PluginChoice = PluginChoice(name="stretch")
    targets: tuple[SiteId, ...] = Field(default=(), max_length=MAX_STIMULI)
    seeds: tuple[Seed, ...] = Field(default=(0,), min_length=1, max_length=MAX_STIMULI)
    recipe: Name = "stimloop"
    size_px: int = Field(default=112, ge=16, le=2048)
    settings: dict[str, Any] = Field(
        default_factory=dict, description="constraints and the like: they replace the recipe's"
    )
    deadline_s: DeadlineS | None = Field(default=None, description="refused if it takes longer")


class Cancel(Body):
    """The asker no longer wants the answer to an earlier request."""

    kind: ClassVar[str] = "cancel"
    request: Name = Field(min_length=1, description="the id of that request")


# --- encoders → client -------------------------------------------------------------------------


class EncoderSummary(Frozen):
    """One hosted encoder, and where it comes from."""

    name: Name
    site_ids: tuple[SiteId, ...]
    digest: str = Field(description="sha256 of its file")
    networks: tuple[str, ...] = Field(description="which networks it looks through, and where")
    data_digest: str = Field(description="of the recording that it was fitted to; may be empty")
    n_trained: int = Field(ge=0, description="images that it was fitted to")
    n_held_out: int = Field(ge=0, description="images that it was scored on")
    median_r: float | None = Field(description="over sites, on the held-out images")
    versions: dict[str, str] = Field(description="of the packages that it was fitted with")
    notes: Text


class Encoders(Body):
    """Answers `ListEncoders`."""

    kind: ClassVar[str] = "encoders"
    encoders: tuple[EncoderSummary, ...]


class Working(Body):
    """A sign of life about once a second, until the answer follows."""

    kind: ClassVar[str] = "working"
    state: Literal["queued", "running"]
    ahead: int = Field(ge=0, description="requests that are answered before this one")
    done: int = Field(ge=0, description="steps done")
    total: int = Field(ge=0, description="steps in all; 0 while this is not known")


class Prediction(Body):
    """Answers `Predict`; frame 1 holds the rates `(n_images, n_sites)` in spikes/s."""

    kind: ClassVar[str] = "prediction"
    n_images: int = Field(ge=1)
    site_ids: tuple[SiteId, ...]


class Synthesized(Body):
    """Answers `Synthesize` with n images.

    Frames 1 … n hold their pixels; frame n + 1 the predicted rates `(n, n_sites)` in spikes/s;
    frame n + 2 the scores `(n,)`, in the objective's unit.
    """

    kind: ClassVar[str] = "synthesized"
    image_shape: Shape
    targets: tuple[Name, ...]
    seeds: tuple[Seed, ...]
    site_ids: tuple[SiteId, ...]


class Cancelled(Body):
    """Answers `Cancel`; `found` tells whether the request was still to be answered."""

    kind: ClassVar[str] = "cancelled"
    request: Name
    found: bool


ENCODER_REQUESTS: tuple[type[Body], ...] = (ListEncoders, Predict, Synthesize, Cancel)
ENCODER_REPLIES: tuple[type[Body], ...] = (
    Encoders,
    Working,
    Prediction,
    Synthesized,
    Cancelled,
    Refused,
)
