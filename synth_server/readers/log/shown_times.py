"""Measured durations of images, intervals between them, and their places, for Methods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from protocols.rig_description import DisplayDescription
from protocols.vocabulary import BlockResponses, Placement


class Spread(NamedTuple):
    """Measured durations in ms.

    Attributes:
        n: How many; the others are NaN if there are none.
    """

    median: float
    least: float
    most: float
    n: int


class Shown:
    """What was seen of a thread's completed presentations.

    Attributes:
        places: Where its images were shown, and how often; None: not known.
        n_completed: With counts.
        n_with_times: Of these, those with spike times.
    """

    def __init__(self) -> None:
        self._shown_ms: list[float] = []
        self._apart_ms: list[float] = []
        self.places: Counter[Placement | None] = Counter()
        self.n_completed = self.n_with_times = 0

    def add(
        self,
        block: Mapping[str, Any],
        responses: BlockResponses,
        display: DisplayDescription | None,
    ) -> None:
        """Take in a block that was shown on `display`."""
        where = {one["id"]: _place(one, display) for one in block["stimuli"]}
        completed = list(responses.completed())
        self.n_completed += len(completed)
        self.n_with_times += sum(one.times is not None for one in completed)
        self.places.update(where[one.stimulus_id] for one in completed)
        self._shown_ms += [one.shown_ms for one in completed if one.shown_ms]
        for one, following in pairwise(responses.presentations):
            same = (one.trial, one.onset_clock) == (following.trial, following.onset_clock)
            if same and following.onset_s > one.onset_s:
                self._apart_ms.append(1000 * (following.onset_s - one.onset_s))

    def joined(self, others: Iterable[Shown]) -> Shown:
        """This and others as one."""
        every = Shown()
        for one in (self, *others):
            every._shown_ms += one._shown_ms
            every._apart_ms += one._apart_ms
            every.places += one.places
            every.n_completed += one.n_completed
            every.n_with_times += one.n_with_times
        return every

    @property
    def shown_ms(self) -> Spread:
        """How long images were on the screen, by the display's flips, where it told."""
        return _spread(self._shown_ms)

    @property
    def apart_ms(self) -> Spread:
        """From onset to onset within a trial."""
        return _spread(self._apart_ms)


def _place(stimulus: Mapping[str, Any], display: DisplayDescription | None) -> Placement | None:
    if stimulus.get("place") is not None:
        return Placement.model_validate(stimulus["place"])
    return display.place if display is not None else None


def _spread(values: list[float]) -> Spread:
    if not values:
        return Spread(float("nan"), float("nan"), float("nan"), 0)
    return Spread(float(np.median(values)), min(values), max(values), len(values))
