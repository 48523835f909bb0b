"""One record of a session from its events: threads, images, counts, rig and timing.

Fed with a live session's events or with a finished log's; the result is the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocols import plugins
from protocols.amendments import AddThread, Course, with_thread
from protocols.digests import document_digest
from protocols.documents import (
    Event,
    EventKind,
    RigAttached,
    SessionEnded,
    SessionStarted,
    ThreadSettings,
)
from protocols.errors import DataError
from protocols.interfaces import Objective
from protocols.settings import PluginChoice
from protocols.vocabulary import BlockResponses
from synth_server.readers.log.evolved_thread import EvolvedThread, Generation
from synth_server.readers.log.rig_record import RigRecord
from synth_server.readers.log.shown_times import Shown
from synth_server.readers.log.synthesised_images import ControlRecord
from synth_server.readers.log.tally import Tally
from synth_server.session.log import SessionLog, check_log_version, image_of

__all__ = ["EvolutionRecord", "EvolvedThread", "Generation", "read_record"]


class EvolutionRecord:
    """Everything that the events so far say about a session's evolutions, its `control`, its rig.

    Attributes:
        images: Stimulus id → hash of its pixels, under which the log has them.
        shown: By thread: how long and where its images were shown.
        at_rig: What the rig said of itself, and what happened at it.
        start: How the session began; threads that were added are listed there too.
        course: The threads' settings as they are, by amendments.
    """

    def __init__(self) -> None:
        self.start: SessionStarted | None = None
        self.rig: RigAttached | None = None
        self.end: SessionEnded | None = None
        self.threads: dict[str, EvolvedThread] = {}
        self.tally = Tally()
        self.digests: list[tuple[Mapping[str, Any], str, str]] = []
        self.started_ns = self.last_ns = 0
        self._blocks: dict[int, Mapping[str, Any]] = {}
        self.control = ControlRecord()
        self.images: dict[str, str] = {}
        self.at_rig = RigRecord()
        self.shown: dict[str, Shown] = defaultdict(Shown)
        self.course = Course(())

    @property
    def started(self) -> SessionStarted:
        """How the session began; `DataError` if nothing says so."""
        if self.start is None:
            raise DataError("this is no session: the log does not begin with its start")
        return self.start

    @property
    def n_answered(self) -> int:
        """Blocks with responses."""
        return len(self.digests)

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        self.last_ns = event.t_wall_ns
        if event.kind is EventKind.SESSION_STARTED:
            check_log_version(event)
        self.control.feed(event)
        self.at_rig.feed(event)
        match event.kind:
            case EventKind.SESSION_STARTED:
                self.started_ns = event.t_wall_ns
                self.start = SessionStarted.model_validate(event.document)
                self.course = Course(self.start.settings.threads)
                for thread in self.start.settings.threads:
                    self._begin(thread)
            case EventKind.AMENDED:
                found = self.course.amend(event.document)
                if isinstance(found, AddThread):
                    self.start = with_thread(self.started, found.settings)
                    self._begin(found.settings)
            case EventKind.RIG_ATTACHED:
                self.rig = RigAttached.model_validate(event.document)
            case EventKind.BLOCK_PROPOSED:
                self._blocks[event.document["index"]] = event.document
                for stimulus in event.document["stimuli"]:
                    self.images[stimulus["id"]] = image_of(stimulus)
            case EventKind.RESPONSES_RECEIVED:
                self._take(BlockResponses.model_validate(event.document))
            case EventKind.SESSION_ENDED:
                self.end = SessionEnded.model_validate(event.document)

    def _begin(self, thread: ThreadSettings) -> None:
        objective = _objective(thread.settings)
        self.threads[thread.name] = EvolvedThread(thread.name, thread.protocol, objective)

    def _take(self, responses: BlockResponses) -> None:
        block = self._blocks.pop(responses.block_index)
        self.digests.append((block, document_digest(dict(block)), responses.digest))
        self.tally.add(responses, n_asked=len(block["order"]))
        self.threads[block["thread"]].add(block, responses)
        self.shown[block["thread"]].add(block, responses, self.at_rig.shown_on)
        if self.course.answered(block["thread"]):
            settings = self.course.threads[block["thread"]].settings
            self.threads[block["thread"]].objective = _objective(settings)


def read_record(path: Path) -> EvolutionRecord:
    """Everything that the log at `path` says of its session.

    Raises:
        LogError: If there is no log, or it is damaged.
    """
    record = EvolutionRecord()
    log = SessionLog(path)
    try:
        for event in log.events():
            record.feed(event)
    finally:
        log.close()
    return record


def _objective(settings: Mapping[str, Any]) -> Objective | None:
    if "objective" not in settings:
        return None
    choice = PluginChoice.model_validate(settings["objective"])
    objective: Objective = plugins.create("stimloop.objectives", choice)
    return objective
