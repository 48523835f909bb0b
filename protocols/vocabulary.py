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
from protocols.settings import Frozen

Images: TypeAlias = NDArray[np.uint8]
"""`(n, height, width, 3)` sRGB."""
Codes: TypeAlias = NDArray[np.float32]
"""`(n, code_dim)`: generator inputs."""
Rates: TypeAlias = NDArray[np.float64]
"""`(n, n_sites)` predicted, spikes/s."""
Counts: TypeAlias = NDArray[np.float64]
"""`(n_sites,)` measured spikes in the count window."""

StimulusId: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SiteId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]


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


class Outcome(StrEnum):
    """How a presentation ended. Only a completed one carries counts."""

    COMPLETED = "completed"
    FIXATION_BREAK = "fixation_break"
    DROPPED_FRAME = "dropped_frame"
    ABORTED = "aborted"


class Timing(Frozen):
    """When things happen within a trial; count times are relative to image onset."""

    on_ms: float = Field(default=100, gt=0, le=60_000, description="image duration")
    off_ms: float = Field(default=100, ge=0, le=60_000, description="gap after each image")
    count_start_ms: float = Field(default=70, ge=-10_000, le=60_000)
    count_stop_ms: float = Field(default=170, ge=-10_000, le=60_000)
    presentations_per_trial: int = Field(default=1, ge=1, le=1000, description="RSVP if above 1")
    inter_trial_ms: float = Field(default=0, ge=0, le=600_000)
    max_attempts: int = Field(
        default=5, ge=1, le=1000, description="showings of one repetition before it is given up"
    )

    @model_validator(mode="after")
    def _window_is_not_empty(self) -> Self:
        if self.count_stop_ms <= self.count_start_ms:
            raise ValueError("count_stop_ms must be after count_start_ms: [start, stop) is empty")
        return self

    @property
    def count_window_s(self) -> tuple[float, float]:
        """Half-open `[start, stop)` after onset, in seconds."""
        return self.count_start_ms / 1000, self.count_stop_ms / 1000


class Stimulus(Frozen):
    """One image of a block: its hash, why it is there, a name for people, and for which sites it is.

    A document without `targets` is that of a stimulus that aims at no site.
    """

    id: StimulusId
    role: Role
    label: str = Field(default="", max_length=200)
    targets: tuple[SiteId, ...] = Field(
        default=(), description="sites that it was made or chosen for"
    )

    @model_serializer(mode="wrap")
    def _without_empty_targets(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_empty(handler(self), "targets")


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


class Presentation(Frozen):
    """One showing of one image, and what was counted."""

    stimulus_id: StimulusId
    repetition: int = Field(ge=0)
    attempt: int = Field(ge=0)
    trial: int = Field(ge=0)
    onset_s: float = Field(description="on the clock that `onset_clock` names")
    onset_clock: str = Field(default="rig", pattern="^(rig|recorder|virtual)$")
    outcome: Outcome
    spike_counts: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    dropped_frames: int = Field(default=0, ge=0)
    word: int = Field(default=0, ge=0, description="the trial word sent at onset; 0: none")
    fault: str = Field(
        default="", pattern="^[a-z_]{0,64}$", description="what the recorder lacks, if aborted"
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_empty(handler(self), "word", "fault")

    @model_validator(mode="after")
    def _counts_belong_to_completed(self) -> Self:
        if (self.outcome is Outcome.COMPLETED) != (self.spike_counts is not None):
            raise ValueError("spike_counts go with outcome 'completed', and only with it")
        return self


class RecorderClock(Frozen):
    """The recorder's clock against the rig's: `recorder_s = rig_s + offset_s`, fitted over words.

    Attributes:
        offset_s: At the last word.
        drift_ppm: By how many µs the recorder gains in a second of the rig's.
        residual_s: Root mean square of what the line leaves.
        n_words: Words that it was fitted to.
    """

    offset_s: float
    drift_ppm: float
    residual_s: float = Field(ge=0)
    n_words: int = Field(ge=1)


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
        label: str = "",
        generation: int | None = None,
        codes: Codes | None = None,
        timing: Timing | None = None,
    ) -> Block:
        """A block of `images` `(n, h, w, 3) uint8`; each shown once in row order if `order` is not given.

        Raises:
            DataError: If the images, codes, roles, labels, targets or order do not fit together.
        """
        check_images(images)
        each_role = [roles] * len(images) if isinstance(roles, Role) else list(roles)
        names = list(labels) or [""] * len(images)
        aims = [tuple(each) for each in targets] or [()] * len(images)
        if not len(images) == len(each_role) == len(names) == len(aims):
            raise DataError(
                "a block needs one role, one label and one tuple of targets an image",
                expected=f"{len(images)} of each",
                got=f"{len(each_role)} roles, {len(names)} labels, {len(aims)} targets",
            )
        stimuli = tuple(
            Stimulus(id=image_id(image), role=role, label=name, targets=aim)
            for image, role, name, aim in zip(images, each_role, names, aims, strict=True)
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

    @property
    def stimulus_ids(self) -> tuple[str, ...]:
        """One id an image; equal images have equal ids."""
        return tuple(stimulus.id for stimulus in self.stimuli)

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


class BlockResponses(Frozen):
    """Everything that happened while a block was shown; ragged, since an aborted trial is data."""

    block_index: int = Field(ge=0)
    site_ids: tuple[SiteId, ...] = Field(min_length=1)
    presentations: tuple[Presentation, ...]
    clock: RecorderClock | None = None

    @model_serializer(mode="wrap")
    def _without_unknown_clock(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without_empty(handler(self), "clock")

    @model_validator(mode="after")
    def _counts_fit_sites(self) -> Self:
        for place, shown in enumerate(self.presentations):
            if shown.spike_counts is not None and len(shown.spike_counts) != len(self.site_ids):
                raise ValueError(
                    f"presentation {place} has {len(shown.spike_counts)} counts "
                    f"for {len(self.site_ids)} sites"
                )
        return self

    def completed(self) -> Iterator[Presentation]:
        """The presentations that carry counts."""
        return (shown for shown in self.presentations if shown.outcome is Outcome.COMPLETED)

    def counts_by_stimulus(self, stimulus_ids: Sequence[str]) -> list[NDArray[np.float64]]:
        """For each id, `(n_repetitions, n_sites)` counts; no rows where it was never seen."""
        rows: dict[str, list[tuple[float, ...]]] = {}
        for shown in self.completed():
            rows.setdefault(shown.stimulus_id, []).append(shown.spike_counts or ())
        return [
            np.array(rows.get(key, []), dtype=np.float64).reshape(-1, len(self.site_ids))
            for key in stimulus_ids
        ]

    def mean_by_stimulus(self, stimulus_ids: Sequence[str]) -> NDArray[np.float64]:
        """`(len(stimulus_ids), n_sites)` mean counts; NaN where a stimulus was never seen."""
        unseen = np.full(len(self.site_ids), np.nan)
        return np.array(
            [
                counts.mean(axis=0) if len(counts) else unseen
                for counts in self.counts_by_stimulus(stimulus_ids)
            ]
        )

    @property
    def digest(self) -> str:
        """Sha256 of what was shown and counted, in the order of showing.

        Onset times and words are left out: they say when, on a real clock that no two sessions
        share, and not what. So is the name of a recorder's fault.
        """
        return document_digest(
            {
                "block_index": self.block_index,
                "site_ids": self.site_ids,
                "presentations": [
                    shown.model_dump(
                        mode="json", exclude={"onset_s", "onset_clock", "word", "fault"}
                    )
                    for shown in self.presentations
                ],
            }
        )


def _without_empty(document: dict[str, Any], *later: str) -> dict[str, Any]:
    """Fields that came later are left out where they say nothing, so that old digests stand."""
    return {name: value for name, value in document.items() if value or name not in later}


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
