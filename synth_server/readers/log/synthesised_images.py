"""Synthesised images, their controls, and the counts that they drew, from a log's events.

Fed with a live session's events or with a finished log's; the result is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.amendments import AddThread, Amended
from protocols.documents import Event, EventKind, SessionSettings, SessionStarted, ThreadSettings
from protocols.experiments.rounds import round_of
from protocols.vocabulary import BlockResponses, Role, Timing
from synth_server.readers.log.stimulus_names import Names
from synth_server.readers.statistics.bootstrap import Floats
from synth_server.session.log import image_of

AIMS = (Role.STRETCH, Role.ONE_HOT_POPULATION)
"""Roles of images that an encoder made."""
SHOWN = (*AIMS, Role.NATURAL, Role.BEST_NATURAL, Role.CONTRAST_ENHANCED, Role.NOISE)


@dataclass
class ShownImage:
    """A stimulus in one role, and its counts `(n_repetitions, n_sites)` a block.

    Attributes:
        id: Of the image at its place.
        image: The hash of its pixels.
    """

    id: str
    image: str
    role: Role
    label: str
    targets: tuple[str, ...]
    counts: list[Floats] = field(default_factory=list)


@dataclass
class Round:
    """What one round of learning showed.

    Attributes:
        images: In the order in which they came.
        n_presentations: Completed ones of the thread, up to the end of this round.
    """

    images: dict[str, ShownImage] = field(default_factory=dict)
    n_presentations: int = 0


class ControlThread:
    """What is known of one thread's images.

    Attributes:
        rounds: By number, from 1: images that were made on the way, for the encoder to learn from.
            They are no part of the test, and `images` does not give them.
        names: Stimulus id → its name for people.
        n_presentations: Completed ones so far.
        window_s: In which spikes were counted, s.
    """

    def __init__(self, name: str, temperature: float, window_s: float = 0.1) -> None:
        self.name = name
        self.temperature = temperature
        self.window_s = window_s
        self.site_ids: tuple[str, ...] = ()
        self.rounds: dict[int, Round] = {}
        self.n_presentations = 0
        self.names = Names()
        self._images: dict[tuple[str, Role], ShownImage] = {}

    def add(self, block: Mapping[str, Any], responses: BlockResponses) -> None:
        """Take in one block and its responses."""
        self.site_ids = responses.site_ids
        counts = responses.counts_by_stimulus([each["id"] for each in block["stimuli"]])
        self.n_presentations += sum(len(repeats) for repeats in counts)
        number = round_of(block["label"])
        if number is not None:
            self._add_to_round(self.rounds.setdefault(number, Round()), block, counts)
            return
        for each, repeats in zip(block["stimuli"], counts, strict=True):
            role = Role(each["role"])
            self.names.add(each)
            if role in SHOWN and len(repeats):
                targets = tuple(each.get("targets", ()))
                image = ShownImage(each["id"], image_of(each), role, each["label"], targets)
                self._images.setdefault((each["id"], role), image).counts.append(repeats)

    def _add_to_round(
        self, known: Round, block: Mapping[str, Any], counts: Sequence[Floats]
    ) -> None:
        known.n_presentations = self.n_presentations
        for each, repeats in zip(block["stimuli"], counts, strict=True):
            if len(repeats):
                targets = tuple(each.get("targets", ()))
                image = ShownImage(
                    each["id"], image_of(each), Role(each["role"]), each["label"], targets
                )
                known.images.setdefault(each["id"], image).counts.append(repeats)

    def images(self, role: Role, target: str | None = None) -> list[ShownImage]:
        """Those of a role, in the order of their labels; `target`: those for this site."""
        found = [
            image
            for (_, known), image in self._images.items()
            if known is role and (target is None or target in image.targets)
        ]
        return sorted(found, key=lambda image: (image.label, image.id))

    @property
    def aim(self) -> Role | None:
        """Why its images were made; None if it made none."""
        return next((role for role in AIMS if self.images(role)), None)

    @property
    def targets(self) -> tuple[str, ...]:
        """Sites that images were made for, as the recorder orders them."""
        aimed = {t for role in AIMS for image in self.images(role) for t in image.targets}
        return tuple(site for site in self.site_ids if site in aimed)


class ControlRecord:
    """Everything that the events so far say about images that an encoder made."""

    def __init__(self) -> None:
        self.settings: SessionSettings | None = None
        self.threads: dict[str, ControlThread] = {}
        self._blocks: dict[int, Mapping[str, Any]] = {}

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        match event.kind:
            case EventKind.SESSION_STARTED:
                self.settings = SessionStarted.model_validate(event.document).settings
                for thread in self.settings.threads:
                    self._begin(thread)
            case EventKind.AMENDED:
                found = Amended.model_validate(event.document).amendment
                if isinstance(found, AddThread):
                    self._begin(found.settings)
            case EventKind.BLOCK_PROPOSED:
                self._blocks[event.document["index"]] = event.document
            case EventKind.RESPONSES_RECEIVED:
                responses = BlockResponses.model_validate(event.document)
                block = self._blocks.pop(responses.block_index)
                self.threads[block["thread"]].add(block, responses)

    def _begin(self, thread: ThreadSettings) -> None:
        temperature = float(thread.settings.get("temperature", 1.0))
        timing = Timing.model_validate(thread.settings.get("timing", {}))
        start_s, stop_s = timing.count_window_s
        self.threads[thread.name] = ControlThread(thread.name, temperature, stop_s - start_s)
