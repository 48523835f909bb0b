"""A session's log read completely, for exports: events are checked, images stay in the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocols.amendments import AddThread, Course, with_thread
from protocols.documents import (
    Event,
    EventKind,
    RigAttached,
    SessionEnded,
    SessionStarted,
    ThreadSettings,
)
from protocols.errors import LogCorrupted, LogError
from protocols.rig_description import DisplayDescription
from protocols.settings import validated
from protocols.vocabulary import BlockResponses, Outcome, Timing
from synth_server.readers.log.rig_record import RigRecord
from synth_server.readers.log.timeline import Placed, TimedBlock, placed
from synth_server.session.log import SessionLog, chained_events, image_of
from synth_server.session.recovery import read_start


@dataclass
class LoggedBlock:
    """A block that was proposed, and what came of it.

    Attributes:
        document: As it was logged.
        proposed_ns: Unix time.
        display: See `RigRecord.shown_on`.
        responses: None if the session ended before.
        answered_ns: Unix time; 0 without responses.
        thread: Its thread's settings as they were in force; None where nothing says so.
    """

    document: dict[str, Any]
    proposed_ns: int
    responses: BlockResponses | None = None
    answered_ns: int = 0
    display: DisplayDescription | None = None
    thread: ThreadSettings | None = None

    @property
    def timing(self) -> Timing:
        """When things happened in its trials."""
        return Timing.model_validate(self.document["timing"])


@dataclass
class LoggedSession:
    """Everything that a log says, but for the pixels and codes.

    Attributes:
        started_ns: Unix time of the first event.
        at_rig: What its rig said of itself.
        start: The first event; threads that were added are listed there too.
        remarks: Controls, amendments, restarts, rigs and the end: the events that are about no block.
        shapes: Hash of an image's pixels → (height, width, 3), in the order of first proposal.
    """

    path: Path
    start: SessionStarted
    started_ns: int
    at_rig: RigRecord = field(default_factory=RigRecord)
    end: SessionEnded | None = None
    n_events: int = 0
    last_ns: int = 0
    last_hash: str = ""
    blocks: list[LoggedBlock] = field(default_factory=list)
    remarks: list[Event] = field(default_factory=list)
    shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    course: Course = field(default_factory=lambda: Course(()))

    @property
    def state(self) -> str:
        """As the last event says; `running` without one."""
        return self.end.state if self.end else "running"

    @property
    def rig(self) -> RigAttached | None:
        """As it attached last; None before one came."""
        return self.at_rig.attached[-1] if self.at_rig.attached else None

    @property
    def simulated(self) -> tuple[str, ...]:
        """Parts of the rig that were not real at one attach or another."""
        return self.at_rig.simulated

    @property
    def site_ids(self) -> tuple[str, ...]:
        """The recorded sites; none before a rig came."""
        return self.rig.site_ids if self.rig else ()

    @property
    def answered(self) -> list[LoggedBlock]:
        """The blocks with responses; always the first ones."""
        return [block for block in self.blocks if block.responses is not None]

    def session_s(self, unix_ns: int) -> float:
        """Seconds since the first event."""
        return (unix_ns - self.started_ns) / 1e9

    def timeline(self) -> list[Placed]:
        """The onsets of `answered`, in seconds since the first event."""
        return placed([self._timed(block) for block in self.answered])

    def _timed(self, block: LoggedBlock) -> TimedBlock:
        timing = block.timing
        responses = block.responses
        shown = responses.presentations if responses else ()
        unfinished = shown and shown[-1].outcome is not Outcome.COMPLETED
        tail_s = 0.0 if unfinished else max(timing.on_ms / 1000, timing.count_window_s[1])
        if shown and shown[-1].times is not None:
            tail_s = max(tail_s, timing.kept_span_s[1])
        return TimedBlock(
            proposed_s=self.session_s(block.proposed_ns),
            answered_s=self.session_s(block.answered_ns),
            tail_s=tail_s,
            shown=shown,
            clock=responses.clock if responses else None,
        )


def read_session(
    log: SessionLog, at_event: Callable[[int, int], None] | None = None
) -> LoggedSession:
    """Read a log, finished or not; its hash chain is checked on the way.

    Args:
        log: Open for reading.
        at_event: Called with (events read, events in all) now and then.

    Raises:
        LogCorrupted: If the log was altered or cut within an event; the message names it.
        LogError: If it is empty, or of another version.
    """
    start = read_start(log)
    total = log.last_seq + 1
    session: LoggedSession | None = None
    for event in chained_events(log):
        if session is None:
            course = Course(start.settings.threads)
            session = LoggedSession(log.path, start, event.t_wall_ns, course=course)
        try:
            _take(session, event)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise LogCorrupted(
                f"event {event.seq} ({event.kind}) does not fit the events before it",
                where=str(log.path),
                got=f"{type(error).__name__}: {error}",
            ) from None
        if at_event is not None:
            at_event(event.seq + 1, total)
    if session is None:
        raise LogError("the session log is empty", where=str(log.path))
    return session


def _take(session: LoggedSession, event: Event) -> None:
    session.n_events += 1
    session.last_ns, session.last_hash = event.t_wall_ns, event.hash
    session.at_rig.feed(event)
    match event.kind:
        case EventKind.BLOCK_PROPOSED:
            thread = session.course.threads.get(event.document["thread"])
            session.blocks.append(LoggedBlock(event.document, event.t_wall_ns, thread=thread))
            height, width, depth = event.document["image_shape"]
            for stimulus in event.document["stimuli"]:
                session.shapes.setdefault(image_of(stimulus), (height, width, depth))
        case EventKind.RESPONSES_RECEIVED:
            responses = BlockResponses.model_validate(event.document)
            block = session.blocks[responses.block_index]
            block.responses, block.answered_ns = responses, event.t_wall_ns
            session.course.answered(block.document["thread"])
            block.display = session.at_rig.shown_on
        case EventKind.SESSION_STARTED:
            pass
        case _:
            _take_remark(session, event)


def _take_remark(session: LoggedSession, event: Event) -> None:
    where = f"{session.path}, event {event.seq}"
    session.remarks.append(event)
    if event.kind is EventKind.AMENDED:
        found = session.course.amend(event.document)
        if isinstance(found, AddThread):
            session.start = with_thread(session.start, found.settings)
    if event.kind is EventKind.SESSION_ENDED:
        session.end = validated(SessionEnded, event.document, where=where)
