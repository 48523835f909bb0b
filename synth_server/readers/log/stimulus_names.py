"""Labels and pixels of stimuli. One image at two places is two stimuli."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Placement
from synth_server.session.log import SessionLog, image_of


class Names(Mapping[str, str]):
    """Stimulus id → its label; followed by its place if the same pixels have several ids here."""

    def __init__(self) -> None:
        self._stimuli: dict[str, Mapping[str, Any]] = {}
        self._ids: dict[str, set[str]] = defaultdict(set)

    def add(self, stimulus: Mapping[str, Any]) -> None:
        """Take in a stimulus as it was logged."""
        self._stimuli[stimulus["id"]] = stimulus
        self._ids[image_of(stimulus)].add(stimulus["id"])

    def __getitem__(self, stimulus_id: str) -> str:
        stimulus = self._stimuli[stimulus_id]
        label = str(stimulus["label"])
        if len(self._ids[image_of(stimulus)]) == 1:
            return label
        place = stimulus.get("place")
        where = "where the display shows images"
        if place is not None:
            where = str(Placement.model_validate(place))
        return f"{label}, {where}" if label else where

    def __iter__(self) -> Iterator[str]:
        return iter(self._stimuli)

    def __len__(self) -> int:
        return len(self._stimuli)


def logged_images(log: SessionLog, images: Mapping[str, str]) -> Callable[[str], NDArray[np.uint8]]:
    """What finds a stimulus's pixels in a log, `(h, w, 3)`; `images`: stimulus id → their hash."""

    def image(stimulus_id: str) -> NDArray[np.uint8]:
        return log.array(images[stimulus_id])

    return image
