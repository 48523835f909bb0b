"""What a rig keeps of one trial, until the server has it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.settings import Frozen
from protocols.vocabulary import Gaze, Presentation, RigEvent

DTYPES = ("int32", "int64", "float32")


class GazePart(NamedTuple):
    """Where the subject looked since the trial before.

    Attributes:
        start_s: On the rig's clock; times of the samples count from here.
        rate_hz: Samples in a second, as asked for.
        samples: `(n, 4) float32`.
    """

    start_s: float
    rate_hz: float
    samples: Gaze


@dataclass(frozen=True)
class TrialRecord:
    """The images that were on the screen, and what happened before, while and after.

    Attributes:
        presentations: In the order of showing; images of the trial that never came on are not there.
        events: Misses before it, rewards, warnings.
        arrays: Digest → packed spike times.
        gaze: Since the trial before, or None.
        late: Places of presentations in the block (counted from 0 over its trials) that turned out to
            have lost a spike: their counts are withdrawn.
    """

    presentations: tuple[Presentation, ...] = ()
    events: tuple[RigEvent, ...] = ()
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    gaze: GazePart | None = None
    late: tuple[int, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON values, for the rig's own disk."""
        gaze: Any = None
        if self.gaze is not None:
            gaze = [self.gaze.start_s, self.gaze.rate_hz, packed_text(self.gaze.samples)]
        return {
            "presentations": [shown.model_dump(mode="json") for shown in self.presentations],
            "events": [event.model_dump(mode="json") for event in self.events],
            "arrays": {name: packed_text(array) for name, array in self.arrays.items()},
            "gaze": gaze,
            "late": list(self.late),
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> TrialRecord:
        """The record of a document.

        Raises:
            ValueError, KeyError, TypeError: If it is none.
        """
        gaze = document["gaze"]
        return cls(
            tuple(Presentation.model_validate(one) for one in document["presentations"]),
            tuple(RigEvent.model_validate(one) for one in document["events"]),
            {name: array_of(text) for name, text in document["arrays"].items()},
            None if gaze is None else GazePart(gaze[0], gaze[1], array_of(gaze[2])),
            tuple(int(place) for place in document["late"]),
        )


class PackedText(Frozen):
    """An array as text: its type, its shape, its bytes in base 64."""

    dtype: str
    shape: tuple[int, ...]
    data: str


def packed_text(array: NDArray[Any]) -> dict[str, Any]:
    """An array as JSON values."""
    data = base64.b64encode(np.ascontiguousarray(array).data).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def array_of(text: Mapping[str, Any]) -> NDArray[Any]:
    """The array of `packed_text`.

    Raises:
        ValueError, KeyError, TypeError: If it is none.
    """
    packed = PackedText.model_validate(text)
    if packed.dtype not in DTYPES:
        raise ValueError(f"no array of {packed.dtype}")
    data = base64.b64decode(packed.data, validate=True)
    return np.frombuffer(data, packed.dtype).reshape(packed.shape)
