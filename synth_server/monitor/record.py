"""What the monitor knows of a session: fed with its events, asked for the page's documents."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.amendments import Amended, in_words
from protocols.documents import Control, Event, EventKind
from protocols.errors import DataError
from protocols.experiments.normalisation import mean_of_measured
from protocols.rig_description import DisplayDescription
from protocols.vocabulary import BlockResponses, Role
from protocols.wire.messages import SessionState
from synth_server.monitor.documents import (
    BlockLine,
    Disk,
    LastEvent,
    Link,
    Note,
    Overview,
    Phase,
    ThreadLine,
)
from synth_server.monitor.health import NS, HealthRecord
from synth_server.readers.evolution.stability import warnings
from synth_server.readers.log.evolved_thread import EvolvedThread
from synth_server.readers.log.rig_record import COUNTED, stamp
from synth_server.readers.log.session_record import EvolutionRecord
from synth_server.readers.log.synthesised_images import AIMS
from synth_server.readers.statistics.scores import scores
from synth_server.session.products import Progress
from synth_server.session.states import TRANSITIONS

N_NOTES = 50


@dataclass
class LoggedBlock:
    """Where a block and its responses stand in the log, and what its sites did on average.

    Attributes:
        counts: Mean `(n_sites,)` over the evolved images or, where there are none, over all;
            None until answered, NaN where nothing was counted.
        reference_counts: The same over the references.
        display: See `readers.log.rig_record.RigRecord.shown_on`.
    """

    line: BlockLine
    proposed_seq: int
    answered_seq: int | None = None
    counts: NDArray[np.float64] | None = None
    reference_counts: NDArray[np.float64] | None = None
    display: DisplayDescription | None = None


class MonitorRecord:
    """Everything that the events so far say; not safe to use from several threads.

    Attributes:
        evolution: What the terminal's progress and the reports know as well.
        blocks: By index; an unbroken sequence.
        revisions: By thread; grows with its documents.
    """

    def __init__(self) -> None:
        self.evolution = EvolutionRecord()
        self.blocks: list[LoggedBlock] = []
        self.revisions: dict[str, int] = {}
        self.last_seq = -1
        self._health = HealthRecord()
        self._state: SessionState = "running"
        self._last: LastEvent | None = None
        self._notes: deque[Note] = deque(maxlen=N_NOTES)
        self._lines: dict[str, ThreadLine] = {}
        self._stimuli: dict[int, list[dict[str, Any]]] = {}

    def feed(self, event: Event) -> None:
        """Take in the next event of the log."""
        self.evolution.feed(event)
        self._health.feed(event)
        self.last_seq = event.seq
        self._last = LastEvent(seq=event.seq, kind=event.kind.value, unix_s=event.t_wall_ns / NS)
        match event.kind:
            case EventKind.SESSION_STARTED:
                self.revisions = dict.fromkeys(self.evolution.threads, 0)
            case EventKind.BLOCK_PROPOSED:
                self._propose(event)
            case EventKind.RESPONSES_RECEIVED:
                self._answer(event, BlockResponses.model_validate(event.document))
            case EventKind.CONTROL:
                self._obey(event, Control.model_validate(event.document))
            case EventKind.AMENDED:
                self._amend(event, Amended.model_validate(event.document))
            case EventKind.SESSION_ENDED:
                self._state = event.document["state"]

    def _propose(self, event: Event) -> None:
        document = event.document
        line = BlockLine(
            index=document["index"],
            thread=document["thread"],
            label=document["label"],
            generation=document["generation"],
            n_images=len(document["stimuli"]),
            n_showings=len(document["order"]),
            answered=False,
        )
        self.blocks.append(LoggedBlock(line, event.seq))
        self._stimuli[line.index] = document["stimuli"]
        self._changed(line.thread)

    def _answer(self, event: Event, responses: BlockResponses) -> None:
        block = self.blocks[responses.block_index]
        block.answered_seq = event.seq
        block.display = self.evolution.at_rig.shown_on
        self._notes += rig_notes(responses, event.t_wall_ns / NS)
        block.line = block.line.model_copy(update={"answered": True})
        stimuli = self._stimuli.pop(responses.block_index)
        means = responses.mean_by_stimulus([each["id"] for each in stimuli])
        roles = [Role(each["role"]) for each in stimuli]
        evolved = [role is Role.EVOLVED for role in roles]
        block.counts = mean_of_measured(means[evolved] if any(evolved) else means)
        block.reference_counts = mean_of_measured(means[[role is Role.REFERENCE for role in roles]])
        self._changed(block.line.thread)

    def _obey(self, event: Event, control: Control) -> None:
        self._state = TRANSITIONS.get((self._state, control.command), self._state)
        note = Note(unix_s=event.t_wall_ns / NS, command=control.command, text=control.text)
        self._notes.append(note)

    def _amend(self, event: Event, found: Amended) -> None:
        text = f"{in_words(found.amendment)} (from block {found.from_block})"
        self._notes.append(Note(unix_s=event.t_wall_ns / NS, command="amended", text=text))
        self.revisions.setdefault(found.amendment.thread, 0)
        self._changed(found.amendment.thread)

    def _changed(self, thread: str) -> None:
        self.revisions[thread] += 1
        self._lines.pop(thread, None)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.evolution.end is not None

    def thread(self, name: str) -> EvolvedThread:
        """The thread of that name.

        Raises:
            DataError: If the session has none.
        """
        if name not in self.evolution.threads:
            raise DataError(
                "this session has no such thread",
                expected=", ".join(self.evolution.threads),
                got=name,
            )
        return self.evolution.threads[name]

    def block(self, index: int) -> LoggedBlock:
        """The block of that index.

        Raises:
            DataError: If it was not proposed yet.
        """
        if not 0 <= index < len(self.blocks):
            raise DataError("this block was not proposed", expected=f"0 … {len(self.blocks) - 1}")
        return self.blocks[index]

    def phase(self, name: str) -> Phase:
        """What a thread does; one that tests synthesised images does so from its first one on."""
        thread = self.thread(name)
        if thread.objective is not None and thread.protocol not in CONTROL_PROTOCOLS:
            return "evolution"
        is_control = (
            thread.protocol in CONTROL_PROTOCOLS or self.evolution.control.threads[name].aim
        )
        return "control" if is_control else "other"

    def overview(
        self,
        *,
        reading: bool,
        problem: str,
        computing: Progress | None,
        link: Link,
        disk: Disk | None,
    ) -> Overview:
        """The session at a glance, beside what the log does not say."""
        record = self.evolution
        start = record.started
        n_answered = record.n_answered
        on_screen = self.blocks[n_answered].line if n_answered < len(self.blocks) else None
        return Overview(
            session_id=start.settings.session_id,
            seed=start.settings.seed,
            state=self._state,
            reading=reading,
            problem=problem,
            simulated=stamp(record.at_rig.simulated),
            at_rig=record.at_rig.counted,
            started_unix_s=record.started_ns / NS,
            ended_unix_s=record.last_ns / NS if self.has_ended else None,
            n_sites=len(record.rig.site_ids) if record.rig else 0,
            n_proposed=len(self.blocks),
            n_answered=n_answered,
            threads=tuple(self._line(name) for name in record.threads),
            on_screen=None if self.has_ended else on_screen,
            computing=None if self.has_ended else computing,
            health=self._health.health,
            link=Link(state="over") if self.has_ended else link,
            disk=disk,
            last_event=self._last,
            notes=tuple(self._notes),
        )

    def _line(self, name: str) -> ThreadLine:
        if name not in self._lines:
            self._lines[name] = self._made_line(name)
        return self._lines[name]

    def _n_generations(self, name: str) -> int | None:
        start = self.evolution.start
        for thread in start.settings.threads if start else ():
            if thread.name == name and "n_generations" in thread.settings:
                return int(thread.settings["n_generations"])
        return None

    def _made_line(self, name: str) -> ThreadLine:
        thread = self.thread(name)
        line = ThreadLine(
            name=name,
            phase=self.phase(name),
            protocol=thread.protocol,
            revision=self.revisions[name],
            n_generations=self._n_generations(name),
        )
        if not thread.measured:
            return line
        number = thread.measured[-1]
        return line.model_copy(
            update={
                "generation": number,
                "evolved": scores(thread.generations[number].evolved),
                "reference": scores(thread.generations[number].reference),
                "warnings": warnings(thread),
            }
        )


def rig_notes(responses: BlockResponses, answered_unix_s: float) -> list[Note]:
    """What happened at the rig while a block was shown, but for juice and misses.

    The last thing on the rig's clock is taken to have happened when the responses came.
    """
    times_s = [event.at_s for event in responses.events]
    times_s += [one.onset_s for one in responses.presentations if one.onset_clock != "recorder"]
    last_s = max(times_s, default=0.0)
    return [
        Note(
            unix_s=answered_unix_s - (last_s - event.at_s),
            command=event.kind,
            text=event.text,
            at_rig=True,
        )
        for event in responses.events
        if event.kind not in COUNTED
    ]


CONTROL_PROTOCOLS = tuple(role.value for role in AIMS)
"""Protocols that are named after the role of their images."""
