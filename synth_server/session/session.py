"""A session: what the plans propose and what the rig reports, each durable before it is passed on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from protocols.amendments import AddThread, Amended, Amendment
from protocols.digests import combined_digest, document_digest
from protocols.documents import (
    Control,
    Event,
    EventKind,
    RigAttached,
    SessionEnded,
    SessionSettings,
    ThreadSettings,
)
from protocols.errors import LogError, Refusal, ResponsesRefused
from protocols.interfaces import Objective
from protocols.vocabulary import Block, BlockResponses
from protocols.wire.messages import Accepted, Attach, RefusalReason, SessionState, SessionStatus
from synth_server.session.amending import Amending, ThreadMaker
from synth_server.session.attachment import check_can_show, check_same_rig, check_sites
from synth_server.session.conductor import Conductor
from synth_server.session.expected import tell_length
from synth_server.session.log import SessionLog
from synth_server.session.products import Interrupted
from synth_server.session.states import TRANSITIONS
from synth_server.session.steering import Wish, amendments_for
from synth_server.session.validation import check_responses

logger = logging.getLogger(__name__)


class Session:
    """One session, live. `record`, `learn`, `advance` and `add_thread` belong to the worker thread;
    the rest may be called from any.

    Args:
        settings: What the session does.
        log: Open for writing.
        conductor: Fresh, or refilled from the log.
        objectives: The plans' objectives; a rig that lacks their sites is refused.
        maker: Makes plans of threads that are added; without one, none can be.

    """

    def __init__(
        self,
        settings: SessionSettings,
        log: SessionLog,
        conductor: Conductor,
        objectives: Sequence[Objective] = (),
        maker: ThreadMaker | None = None,
    ) -> None:
        self._objectives = objectives
        self.settings = settings
        self._amending = Amending(settings.threads, conductor, objectives, maker)
        self.log = log
        self.conductor = conductor
        self.rig: RigAttached | None = None
        self.rig_says = ""
        self.state: SessionState = "running"
        self.failure = ""
        self.log_problem: LogError | None = None
        self.publish: Callable[[Event], None] = lambda _event: None
        self._guard = threading.RLock()
        self._block_events: list[Event] = []
        self._block_digests: list[str] = []
        self._response_digests: dict[int, str] = {}
        self._undurable: Block | None = None
        self._unlearned: list[BlockResponses] = []
        self._last_block: dict[str, int] = {}
        self._halted = self._ended = False

    # --- the worker's -------------------------------------------------------------------------

    def advance(self) -> None:
        """Commit every block that can be proposed now; end the session when it is over."""
        while self._unlearned:
            self.learn(self._unlearned.pop(0))
        while self._propose():
            pass
        if self.is_over and self.state != "aborted":
            self.end()

    def _propose(self) -> bool:
        """Commit the next block, if there is one; no command can come in between.

        A block that could not be committed (the disk is full) is kept for the next call.
        """
        with self._guard:
            if self.state not in ("running", "paused"):
                return False
            self._undurable = self._undurable or self.conductor.propose()
            if self._undurable is None:
                return False
            self._log_block(self._undurable)
            self._undurable = None
            return True

    def record(self, responses: BlockResponses) -> Accepted:
        """Check responses and make them durable; from then on they may be acknowledged.

        Raises:
            Refusal: If they do not fit the block, or come out of order.
            LogError: If they cannot be written.
        """
        index = responses.block_index
        if index in self._response_digests:
            return self._again(responses)
        if self._ended:
            raise Refusal(
                RefusalReason.SESSION_OVER,
                "the session is over",
                got=f"responses to block {index}",
                remedy="they stay in the rig's spool folder",
            )
        if index != self.n_answered or index >= self.n_proposed:
            raise Refusal(
                RefusalReason.OUT_OF_ORDER,
                "responses come in the order of the blocks",
                expected=f"block {self.n_answered}",
                got=f"block {index}",
            )
        if self.rig is None:
            raise Refusal(
                RefusalReason.OTHER_RIG, "attach first: say who you are and which sites you record"
            )
        try:
            check_responses(self.conductor.outstanding[index], responses, self.rig.site_ids)
        except ResponsesRefused as error:
            told = f"{error.where}: {error.got}"
            raise Refusal.of(RefusalReason.RESPONSES_DO_NOT_FIT, error, got=told) from None
        with self._guard:
            self._append(EventKind.RESPONSES_RECEIVED, responses, responses.arrays)
            self._note_responses(responses)
        return Accepted(block_index=index, responses_digest=responses.digest, duplicate=False)

    def learn(self, responses: BlockResponses) -> None:
        """Send durable responses into their plan.

        A plan that computes at length is broken off when the session is told to end.
        """
        try:
            self.conductor.accept(responses, self.amendments_with(responses.block_index))
        except Interrupted as interrupted:
            logger.info("session %s: %s", self.session_id, interrupted)

    def amendments_with(self, block_index: int) -> tuple[Amendment, ...]:
        """What came in before the responses to that block, and after those before them; asked once."""
        return self._amending.with_responses(block_index)

    def add_thread(self, wish: ThreadSettings) -> None:
        """Have another thread from the next responses on; its first block is computed now.

        Raises:
            Refusal: If the session is over, has a thread of that name, or the thread cannot run.
        """
        with self._guard:
            self._check_running("add_thread")
        thread = self._amending.new_thread(wish)
        if thread is None:
            return
        with self._amending.built(thread, self.rig) as equipment, self._guard:
            self._check_running("add_thread")
            self._amend(AddThread(settings=thread, equipment=equipment))
        if self.rig is not None:
            tell_length(self.session_id, (thread,), len(self.rig.site_ids))

    def end(self) -> None:
        """Write the last event, once."""
        with self._guard:
            if self._ended:
                return
            if self.state == "stopping":
                self.state = "stopped"
            elif self.state != "aborted":
                self.state = "finished"
            self._append(
                EventKind.SESSION_ENDED,
                SessionEnded.model_validate(
                    {
                        "state": self.state,
                        "n_blocks": self.n_proposed,
                        "session_digest": self.digest,
                    }
                ),
            )
            self._ended = True

    # --- anybody's ----------------------------------------------------------------------------

    def is_told_to_end(self) -> bool:
        """Whether what a plan computes now is in vain."""
        return self._halted or self.state in ("stopping", "aborted")

    def halt(self) -> None:
        """The server ends: break off what is computed."""
        self._halted = True

    @property
    def threads(self) -> Mapping[str, ThreadSettings]:
        """Name → settings of all threads, by all that was wished so far."""
        return self._amending.threads

    @property
    def session_id(self) -> str:
        """The session's name."""
        return self.settings.session_id

    @property
    def n_proposed(self) -> int:
        """Blocks proposed, and so durable."""
        return len(self._block_events)

    @property
    def n_answered(self) -> int:
        """Blocks whose responses are durable; always the first ones."""
        return len(self._response_digests)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to show."""
        if self.state == "aborted" or self._ended:
            return True
        nothing_to_come = self.conductor.exhausted or self.state == "stopping"
        return nothing_to_come and self.n_answered == self.n_proposed

    @property
    def has_ended(self) -> bool:
        """Whether the last event is written."""
        return self._ended

    @property
    def digest(self) -> str:
        """Over all blocks and responses, in block order: one seed, one digest."""
        return combined_digest(
            f"{block} {self._response_digests.get(index, '-')}"
            for index, block in enumerate(self._block_digests)
        )

    @property
    def status(self) -> SessionStatus:
        """One line for a status report."""
        return SessionStatus(
            session_id=self.session_id,
            state=self.state,
            rig_id=self.rig.rig_id if self.rig else "",
            rig_says=self.rig_says,
            simulated=self.rig.rig.simulated if self.rig else (),
            blocks_proposed=self.n_proposed,
            blocks_answered=self.n_answered,
            last_event=self.log.last_seq,
            log=str(self.log.path.resolve()),
        )

    def block(self, index: int) -> Block | None:
        """A proposed block, from memory while it awaits responses and from the log afterwards."""
        if index >= self.n_proposed:
            return None
        waiting = self.conductor.outstanding.get(index)
        return waiting or self.log.block(self._block_events[index])

    def attach(self, request: Attach) -> None:
        """Take note of the rig; the first one stays this session's rig. Each start of it is logged.

        Raises:
            Refusal: If another rig serves this session; if it records other sites than before, or not
                what the plans need; if its display is another than before, and the experimenter has
                not accepted that; or if images would be shown where its display cannot.
        """
        with self._guard:
            rig = RigAttached(
                display_change_accepted=request.accept_display_change,
                **request.model_dump(exclude={"accept_display_change"}),
            )
            if self.rig is not None:
                check_same_rig(self.rig, rig)
            check_sites(self._objectives, rig)
            check_can_show(rig, self.threads.values(), self.conductor.outstanding.values())
            if self.rig is None and not self._ended:
                tell_length(self.session_id, self.threads.values(), len(rig.site_ids))
            if rig != self.rig and not self._ended:
                self._append(EventKind.RIG_ATTACHED, rig)
            self.rig = rig

    def control(self, command: str, text: str = "") -> None:
        """Carry out one of `states.COMMANDS`, durably; repeating one changes nothing.

        Raises:
            Refusal: If the session is over.
        """
        with self._guard:
            if self._ended or (self.state == "aborted" and command != "annotate"):
                raise Refusal(RefusalReason.SESSION_OVER, "the session is over", got=command)
            following: SessionState | None = TRANSITIONS.get((self.state, command))
            if following is None and command != "annotate":
                return
            self._append(
                EventKind.CONTROL, Control.model_validate({"command": command, "text": text})
            )
            self.state = following or self.state

    def steer(self, wish: Wish) -> None:
        """Change a thread's course from its next responses on, durably; repeating it changes nothing.

        Raises:
            Refusal: If the session is over, or a thread or site is unknown or cannot do it.
        """
        with self._guard:
            self._check_running(wish.kind)
            for amendment in amendments_for(wish, self._amending.situation(self.rig)):
                self._amend(amendment)

    def _check_running(self, asked: str) -> None:
        if self._ended or self.state not in ("running", "paused"):
            raise Refusal(
                RefusalReason.SESSION_OVER,
                "nothing further is proposed in this session",
                expected="a session that runs or is paused",
                got=f"{asked}: the session is {self.state}",
            )

    def _amend(self, amendment: Amendment) -> None:
        last = self._last_block.get(amendment.thread)
        is_decided = last in self._response_digests if last is not None else True
        first = self.n_proposed + (is_decided and not isinstance(amendment, AddThread))
        self._append(EventKind.AMENDED, Amended(from_block=first, amendment=amendment))
        self._amending.note(amendment)

    def _note_responses(self, responses: BlockResponses) -> None:
        self._response_digests[responses.block_index] = responses.digest
        self._amending.note_responses(responses.block_index)

    # --- refilling, see `recovery` ------------------------------------------------------------

    def restore(self, event: Event) -> None:
        """Take note of an event that is in the log already."""
        document = event.document
        match event.kind:
            case EventKind.BLOCK_PROPOSED:
                self._note_block(event)
            case EventKind.RESPONSES_RECEIVED:
                self._note_responses(BlockResponses.model_validate(document))
            case EventKind.AMENDED:
                amendment = Amended.model_validate(document).amendment
                if isinstance(amendment, AddThread):
                    self._amending.prepare(amendment.settings)
                self._amending.note(amendment)
            case EventKind.RIG_ATTACHED:
                self.rig = RigAttached.model_validate(document)
            case EventKind.CONTROL:
                command = Control.model_validate(document).command
                self.state = TRANSITIONS.get((self.state, command), self.state)
            case EventKind.SESSION_ENDED:
                self.state = SessionEnded.model_validate(document).state
                self._ended = True

    def learn_later(self, responses: BlockResponses) -> None:
        """Have responses sent into their plan by the next `advance`."""
        self._unlearned.append(responses)

    def _log_block(self, block: Block) -> None:
        arrays: dict[str, Any] = dict(block.distinct_images())
        if block.codes_digest is not None and block.codes is not None:
            arrays[block.codes_digest] = block.codes
        self._note_block(self._append(EventKind.BLOCK_PROPOSED, block.document(), arrays))

    def _note_block(self, event: Event) -> None:
        self._last_block[event.document["thread"]] = event.document["index"]
        self._block_digests.append(document_digest(event.document))
        self._block_events.append(event)

    def _append(
        self,
        kind: EventKind,
        document: BaseModel | Mapping[str, Any],
        arrays: Mapping[str, Any] | None = None,
    ) -> Event:
        event = self.log.append(kind, document, arrays)
        self.publish(event)
        return event

    def _again(self, responses: BlockResponses) -> Accepted:
        known = self._response_digests[responses.block_index]
        if responses.digest != known:
            raise Refusal(
                RefusalReason.ALREADY_ANSWERED,
                "other responses to this block were accepted before",
                expected=known,
                got=responses.digest,
                remedy="the first ones stand; these stay in the rig's spool folder",
            )
        return Accepted(block_index=responses.block_index, responses_digest=known, duplicate=True)
