"""The words that both sides use: stimulus, block, presentation, responses.

Images at every boundary are `(n, height, width, 3) uint8`, sRGB, row 0 at the top. An image is known
by the hash of its pixels, everywhere: on the wire, in the log, in the responses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    SkipValidation,
    model_serializer,
    model_validator,
)

from protocols.digests import array_digest, document_digest, image_id
from protocols.errors import DataError
from protocols.responses import (
    BlockResponses,
    Digest,
    Gaze,
    GazeTrace,
    Outcome,
    Presentation,
    RecorderClock,
    RigEvent,
    SiteId,
    StimulusId,
    without_empty,
)
from protocols.settings import Frozen
from protocols.timing import Timing

__all__ = [
    "MAX_STIMULI",
    "Block",
    "BlockResponses",
    "Codes",
    "Counts",
    "Cue",
    "Digest",
    "Gaze",
    "GazeTrace",
    "Images",
    "Outcome",
    "Placement",
    "Presentation",
    "Rates",
    "RecorderClock",
    "RigEvent",
    "Role",
    "SiteId",
    "Stimulus",
    "StimulusId",
    "Timing",
    "check_images",
    "placed_id",
]

Images: TypeAlias = NDArray[np.uint8]
"""`(n, height, width, 3)` sRGB."""
Codes: TypeAlias = NDArray[np.float32]
"""`(n, code_dim)`: generator inputs."""
Rates: TypeAlias = NDArray[np.float64]
"""`(n, n_sites)` predicted, spikes/s."""
Counts: TypeAlias = NDArray[np.float64]
"""`(n_sites,)` measured spikes in the count window."""

MAX_STIMULI = 4096
"""Images in a block."""


class Role(StrEnum):
    """Why a stimulus is in its block."""

    EVOLVED = "evolved"
    REFERENCE = "reference"
    NATURAL = "natural"
    STRETCH = "stretch"
    ONE_HOT_POPULATION = "one_hot_population"
    BEST_NATURAL = "best_natural"
    CONTRAST_ENHANCED = "contrast_enhanced"
    NOISE = "noise"
    CONTROL = "control"


class Placement(Frozen):
    """Where on the screen an image is shown, in degrees of visual angle.

    Attributes:
        x_deg: Of the image's centre, right of the screen's centre.
        y_deg: Of the image's centre, above the screen's centre.
        size_deg: Its width and height.
    """

    x_deg: float = Field(default=0, ge=-180, le=180)
    y_deg: float = Field(default=0, ge=-180, le=180)
    size_deg: float = Field(gt=0, le=180)

    def __str__(self) -> str:
        return f"{self.size_deg:g}° wide at ({self.x_deg:g}°, {self.y_deg:g}°)"


class Stimulus(Frozen):
    """One image of a block, and where it is shown.

    Attributes:
        id: What it is known by, everywhere: the hash of its pixels, or of these and its place.
        role: Why it is there.
        label: A name for people.
        targets: Sites that it was made or chosen for; left out of a document if there are none.
        place: Where it is shown; none: where the display shows images.
        pixels: The hash of its pixels, if that is not the id.
    """

    id: StimulusId
    role: Role
    label: str = Field(default="", max_length=200)
    targets: tuple[SiteId, ...] = Field(
        default=(), description="sites that it was made or chosen for"
    )
    place: Placement | None = None
    pixels: StimulusId | None = None

    @classmethod
    def of(cls, pixels: str, place: Placement | None, **what: Any) -> Stimulus:
        """The image of that hash at a place (None: the display's); `what` are the other fields."""
        if place is None:
            return cls(id=pixels, **what)
        return cls(id=placed_id(pixels, place), place=place, pixels=pixels, **what)

    @property
    def image(self) -> str:
        """The hash of its pixels; images at several places have one."""
        return self.pixels or self.id

    @model_serializer(mode="wrap")
    def _without_empty_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(handler(self), "targets", "place", "pixels")

    @model_validator(mode="after")
    def _id_is_of_pixels_and_place(self) -> Self:
        if (self.place is None) != (self.pixels is None):
            raise ValueError("place and pixels go together")
        if self.place is not None and self.id != placed_id(self.image, self.place):
            raise ValueError("the id is not that of these pixels at this place")
        return self


def placed_id(pixels: str, place: Placement) -> str:
    """The id of an image at a place: Sha256 of the canonical JSON of both."""
    return document_digest({"pixels": pixels, "place": place.model_dump(mode="json")})


class Cue(Frozen):
    """One planned showing of one image.

    Everything random about a showing (simulated spikes, simulated fixation breaks) is seeded by
    its cue, so that a restarted rig meets the same fate. `attempt` counts showings of the same
    repetition, from 0; `trial` counts trials in the block, from 0.
    """

    block_index: int
    stimulus_index: int
    stimulus_id: StimulusId
    repetition: int
    attempt: int
    trial: int

    @property
    def in_words(self) -> str:
        """The showing, for people."""
        return (
            f"block {self.block_index}, stimulus {self.stimulus_index}, "
            f"repetition {self.repetition}, attempt {self.attempt}"
        )

    @property
    def seed_path(self) -> tuple[str | int, ...]:
        """Names this showing's random stream under the session's seed."""
        return (self.block_index, self.stimulus_id, self.repetition, self.attempt)

    def presentation(self, **what: Any) -> Presentation:
        """This showing as a `Presentation`; `what` are the fields that say what came of it."""
        return Presentation(
            stimulus_id=self.stimulus_id,
            repetition=self.repetition,
            attempt=self.attempt,
            trial=self.trial,
            **what,
        )


class Block(Frozen):
    """What one `yield` of a plan proposes: images, and the order to show them in.

    `order[k]` is the index (in `stimuli`) of the k-th showing; an image's n-th place in the order
    is its repetition n. `codes`, where given, made the first `len(codes)` images.
    A plan leaves `index` and `thread` to the conductor (`at`).
    """

    index: int = Field(default=-1, ge=-1)
    thread: str = Field(default="", max_length=64)
    label: str = Field(default="", max_length=200)
    generation: int | None = Field(default=None, ge=0, description="if an optimizer made it")
    stimuli: tuple[Stimulus, ...] = Field(min_length=1, max_length=MAX_STIMULI)
    order: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    timing: Timing = Timing()
    image_shape: tuple[int, int, int]
    codes_digest: str | None = None
    images: SkipValidation[Images] = Field(exclude=True, repr=False)
    codes: SkipValidation[Codes] | None = Field(default=None, exclude=True, repr=False)

    @classmethod
    def of(
        cls,
        images: Images,
        *,
        roles: Role | Sequence[Role],
        order: Iterable[int] | None = None,
        labels: Sequence[str] = (),
        targets: Sequence[Sequence[str]] = (),
        places: Placement | Sequence[Placement | None] | None = None,
        label: str = "",
        generation: int | None = None,
        codes: Codes | None = None,
        timing: Timing | None = None,
    ) -> Block:
        """A block of `images` `(n, h, w, 3) uint8`; each shown once in row order if `order` is not given.

        Args:
            images: One for each stimulus; the same image at several places stands there several times.
            roles: Of all, or of each.
            order: Indices of images, in the order of showing.
            labels: One for each image, or none.
            targets: One tuple of site ids for each image, or none.
            places: Of all, or of each; None: where the thread, or else the display, shows images.
            label: Of the block.
            generation: If an optimizer made it.
            codes: `(n_codes, code_dim)` that made the first images.
            timing: Defaults if not given.

        Raises:
            DataError: If the images, codes, roles, labels, targets, places or order do not fit.
        """
        check_images(images)
        each_role = [roles] * len(images) if isinstance(roles, Role) else list(roles)
        names = list(labels) or [""] * len(images)
        aims = [tuple(each) for each in targets] or [()] * len(images)
        where = _each(places, len(images))
        if not len(images) == len(each_role) == len(names) == len(aims) == len(where):
            raise DataError(
                "a block needs one role, label, tuple of targets and place an image",
                expected=f"{len(images)} of each",
                got=f"{len(each_role)} roles, {len(names)} labels, {len(aims)} targets, "
                f"{len(where)} places",
            )
        stimuli = tuple(
            Stimulus.of(image_id(image), place, role=role, label=name, targets=aim)
            for image, place, role, name, aim in zip(
                images, where, each_role, names, aims, strict=True
            )
        )
        return cls(
            label=label,
            generation=generation,
            stimuli=stimuli,
            order=tuple(int(i) for i in (range(len(images)) if order is None else order)),
            timing=timing or Timing(),
            image_shape=images.shape[1:],
            codes_digest=None if codes is None else array_digest(codes),
            images=images,
            codes=codes,
        )

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.images.shape != (len(self.stimuli), *self.image_shape):
            raise ValueError(
                f"images have shape {self.images.shape}, expected {len(self.stimuli)} stimuli "
                f"of shape {self.image_shape}"
            )
        if max(self.order) >= len(self.stimuli):
            raise ValueError(f"order names stimulus {max(self.order)} of {len(self.stimuli)}")
        if self.codes is not None and len(self.codes) > len(self.stimuli):
            raise ValueError(f"{len(self.codes)} codes for {len(self.stimuli)} images")
        return self

    def at(self, index: int, thread: str) -> Block:
        """The same block, placed in a session."""
        return self.model_copy(update={"index": index, "thread": thread})

    def placed(self, place: Placement | None) -> Block:
        """The same block with its images at `place`, where they have no place of their own.

        Raises:
            DataError: If an image stands in it both without a place and at this one.
        """
        if place is None:
            return self
        stimuli = tuple(
            one if one.place is not None else Stimulus.of(one.id, place, **_what(one))
            for one in self.stimuli
        )
        if len({one.id for one in stimuli}) != len(set(self.stimulus_ids)):
            raise DataError(
                "an image is asked for twice at one place: by itself, and by its thread",
                where=f"block {self.label!r}",
                got=str(place),
            )
        return self.model_copy(update={"stimuli": stimuli})

    @property
    def stimulus_ids(self) -> tuple[str, ...]:
        """One id a stimulus; equal images at one place have equal ids."""
        return tuple(stimulus.id for stimulus in self.stimuli)

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The hash of each stimulus's pixels."""
        return tuple(stimulus.image for stimulus in self.stimuli)

    def distinct_images(self) -> dict[str, NDArray[np.uint8]]:
        """Hash → pixels `(h, w, 3)`, each image once, in the order of the stimuli."""
        return dict(zip(self.image_ids, self.images, strict=True))

    def indices(self, role: Role) -> tuple[int, ...]:
        """Which images play `role`."""
        return tuple(i for i, stimulus in enumerate(self.stimuli) if stimulus.role is role)

    def cues(self) -> Iterator[Cue]:
        """The first attempt at every showing, in order."""
        seen: Counter[str] = Counter()
        for place, index in enumerate(self.order):
            stimulus_id = self.stimuli[index].id
            yield Cue(
                block_index=self.index,
                stimulus_index=index,
                stimulus_id=stimulus_id,
                repetition=seen[stimulus_id],
                attempt=0,
                trial=place // self.timing.presentations_per_trial,
            )
            seen[stimulus_id] += 1

    def document(self) -> dict[str, Any]:
        """Everything but the arrays, as JSON values: what the log and the wire both carry."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """Sha256 of the document; the images and codes enter by their own digests."""
        return document_digest(self.document())


def _each(places: Placement | Sequence[Placement | None] | None, n: int) -> list[Placement | None]:
    """One place an image."""
    if places is None or isinstance(places, Placement):
        return [places] * n
    return list(places)


def _what(stimulus: Stimulus) -> dict[str, Any]:
    return {"role": stimulus.role, "label": stimulus.label, "targets": stimulus.targets}


def check_images(images: Images, *, where: str = "images") -> None:
    """Raise `DataError` unless `images` is a non-empty `(n, height, width, 3) uint8` array."""
    expected = "(n, height, width, 3) uint8, n ≥ 1"
    if not isinstance(images, np.ndarray):
        raise DataError(
            "images must be a numpy array", where=where, expected=expected, got=type(images)
        )
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 or not images.size:
        raise DataError(
            "images have the wrong shape or type",
            where=where,
            expected=expected,
            got=f"{images.shape} {images.dtype}",
        )
