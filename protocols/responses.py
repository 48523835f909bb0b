"""What comes back from a rig: presentations with counts and spike times, gaze, and what else happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    SkipValidation,
    model_serializer,
    model_validator,
)

from protocols.digests import array_digest, document_digest
from protocols.errors import DataError
from protocols.settings import Frozen
from protocols.spike_times import PackedTimes, Ticks, packed_counts, unpacked

if TYPE_CHECKING:
    from protocols.amendments import Amendment

Digest: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
StimulusId: TypeAlias = Digest
SiteId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
Gaze: TypeAlias = NDArray[np.float32]
"""`(n, 4)`: time in s after the trace's start, x and y in degrees, 1 where valid or 0."""


class Outcome(StrEnum):
    """How a presentation ended. Only a completed one carries counts."""

    COMPLETED = "completed"
    FIXATION_BREAK = "fixation_break"
    DROPPED_FRAME = "dropped_frame"
    ABORTED = "aborted"


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
    times: Digest | None = Field(default=None, description="digest of its packed spike times")
    dropped_frames: int = Field(default=0, ge=0)
    shown_ms: float = Field(default=0, ge=0, description="on the screen by its flips; 0: unknown")
    word: int = Field(default=0, ge=0, description="the trial word sent at onset; 0: none")
    fault: str = Field(
        default="", pattern="^[a-z_]{0,64}$", description="what the recorder lacks, if aborted"
    )

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(handler(self), "times", "shown_ms", "word", "fault")

    @model_validator(mode="after")
    def _counts_belong_to_completed(self) -> Self:
        if (self.outcome is Outcome.COMPLETED) != (self.spike_counts is not None):
            raise ValueError("spike_counts go with outcome 'completed', and only with it")
        if self.times is not None and self.spike_counts is None:
            raise ValueError("spike times go with spike_counts, and only with them")
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


class RigEvent(Frozen):
    """Something that happened at the rig besides showing images; it decides nothing.

    Attributes:
        kind: `reward`, `free_reward`, `miss`, `rest`, `rest_over`, `calibration`,
            `drift_correction`, `display_warning`, `recorder_warning` or another word of a plug-in.
        at_s: On the rig's clock, the display's (`virtual` in simulations).
        trial: In the block, where it belongs to one.
        ms: Duration of a reward.
        ml: Given in the session so far, this one included; 0 if the rig doesn't know.
        text: For people.
    """

    kind: str = Field(pattern=r"^[a-z_]{1,64}$")
    at_s: float
    trial: int | None = Field(default=None, ge=0)
    ms: float = Field(default=0, ge=0)
    ml: float = Field(default=0, ge=0)
    text: str = Field(default="", max_length=1000)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document = without_empty(handler(self), "ms", "ml", "text")
        return {name: value for name, value in document.items() if value is not None}


class GazeTrace(Frozen):
    """Where the subject looked while a block was shown: an array `Gaze`, known by its digest.

    Attributes:
        digest: Of the `(n, 4) float32` array.
        start_s: On the rig's clock; times in the array count from here.
        rate_hz: Samples in a second, as asked for.
    """

    digest: Digest
    start_s: float
    rate_hz: float = Field(gt=0)


class BlockResponses(Frozen):
    """Everything that happened while a block was shown; ragged, since an aborted trial is data.

    Attributes:
        tick_hz: Ticks in a second of the spike times; 0 if the recorder only counts.
        arrays: Digest → array: packed spike times of the presentations, and gaze. They travel and
            are logged beside the document, which names them.
    """

    block_index: int = Field(ge=0)
    site_ids: tuple[SiteId, ...] = Field(min_length=1)
    presentations: tuple[Presentation, ...]
    tick_hz: float = Field(default=0, ge=0, le=1e9)
    clock: RecorderClock | None = None
    gaze: GazeTrace | None = None
    events: tuple[RigEvent, ...] = ()
    arrays: SkipValidation[Mapping[str, NDArray[Any]]] = Field(
        default_factory=dict, exclude=True, repr=False
    )
    _amendments: tuple[Amendment, ...] = PrivateAttr(default=())

    @property
    def amendments(self) -> tuple[Amendment, ...]:
        """What people told the thread before these responses came; the conductor hands it on."""
        return self._amendments

    def with_amendments(self, amendments: Sequence[Amendment]) -> BlockResponses:
        """The same, with what the thread is told; no part of the document."""
        told = self.model_copy()
        told._amendments = tuple(amendments)
        return told

    @model_serializer(mode="wrap")
    def _without_unknown(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(handler(self), "tick_hz", "clock", "gaze", "events")

    @model_validator(mode="after")
    def _counts_fit_sites(self) -> Self:
        for place, shown in enumerate(self.presentations):
            if shown.spike_counts is not None and len(shown.spike_counts) != len(self.site_ids):
                raise ValueError(
                    f"presentation {place} has {len(shown.spike_counts)} counts "
                    f"for {len(self.site_ids)} sites"
                )
            if shown.times is not None and not self.tick_hz:
                raise ValueError(f"presentation {place} has spike times, but tick_hz is 0")
        return self

    @property
    def array_digests(self) -> tuple[str, ...]:
        """Of the arrays that the document names, each once, in order: spike times, then gaze."""
        named = [shown.times for shown in self.presentations if shown.times is not None]
        if self.gaze is not None:
            named.append(self.gaze.digest)
        return tuple(dict.fromkeys(named))

    def ticks(self, shown: Presentation) -> tuple[Ticks, ...] | None:
        """Each site's spike times of a presentation, in ticks after its onset; None if none were kept.

        Raises:
            DataError: If they are not in `arrays`, or are not those that the document names.
        """
        if shown.times is None:
            return None
        return unpacked(self._array(shown.times), len(self.site_ids))

    def counts_by_times(
        self, shown: Presentation, window_s: tuple[float, float]
    ) -> NDArray[np.float64] | None:
        """`(n_sites,)` spikes of a presentation in any window `[start, stop)` s; None without times.

        Raises:
            DataError: As `ticks`.
        """
        if shown.times is None:
            return None
        times = self._array(shown.times)
        return packed_counts(times, len(self.site_ids), window_s, self.tick_hz)

    def gaze_samples(self) -> Gaze | None:
        """`(n, 4)`; None if gaze was not kept.

        Raises:
            DataError: If it is not in `arrays`, or not what the document names.
        """
        return None if self.gaze is None else self._array(self.gaze.digest)

    def _array(self, digest: str) -> PackedTimes:
        found = self.arrays.get(digest)
        if found is None or array_digest(found) != digest:
            raise DataError(
                "an array of the responses is missing or was altered",
                where=f"responses to block {self.block_index}",
                expected=digest,
                got="nothing" if found is None else array_digest(found),
            )
        return found

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

    def renamed(self, names: Mapping[str, str]) -> BlockResponses:
        """The same with other stimulus ids; `names`: id here → id there."""
        shown = tuple(
            one.model_copy(update={"stimulus_id": names.get(one.stimulus_id, one.stimulus_id)})
            for one in self.presentations
        )
        return self.model_copy(update={"presentations": shown})

    @property
    def digest(self) -> str:
        """Sha256 of what was shown and counted, in the order of showing; spike times by their digests.

        Onset times, durations and words are left out: they say when, on a real clock that no two
        sessions share, and not what. So are gaze, the rig's events and the name of a recorder's
        fault.
        """
        return document_digest(
            {
                "block_index": self.block_index,
                "site_ids": self.site_ids,
                "presentations": [
                    shown.model_dump(
                        mode="json",
                        exclude={"onset_s", "onset_clock", "shown_ms", "word", "fault"},
                    )
                    for shown in self.presentations
                ],
            }
        )


def without_empty(document: dict[str, Any], *optional: str) -> dict[str, Any]:
    """A document without those of the `optional` fields that say nothing."""
    return {name: value for name, value in document.items() if value or name not in optional}
