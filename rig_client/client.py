"""The rig client: fetch a block, show it, send what was counted, until the session is over."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotDone
from importlib.metadata import version
from typing import TypeVar

from protocols import plugins
from protocols.errors import LinkLost, Refusal, WireError
from protocols.interfaces import SessionInfo
from protocols.rig_description import RigDescription
from protocols.settings import Frozen
from protocols.vocabulary import Block, BlockResponses
from protocols.wire import messages as msg
from protocols.wire.codec import submission
from protocols.wire.security import load_client_keys
from rig_client.apparatus import GROUPS_OF_PARTS, Apparatus, apparatus_of
from rig_client.experimenter import Experimenter
from rig_client.link import Link
from rig_client.lock import check_no_hand_map
from rig_client.presenter import Presenter
from rig_client.settings import RigSettings
from rig_client.spool import Spool

logger = logging.getLogger(__name__)

GLANCE_S = 0.2
"""How often the screen is brought up to date while the rig waits."""
PARTING_S = 10.0
T = TypeVar("T")


class RigReport(Frozen):
    """What a rig did, in figures.

    Attributes:
        waited_s: Time without anything to show, after the first block arrived.
        presented_s: Time spent showing blocks.
    """

    session_id: str
    state: msg.SessionState
    blocks: int
    presentations: int
    waited_s: float
    presented_s: float


class RigClient:
    """One rig serving one session.

    Args:
        settings: `rig.toml`.
        accept_display_change: Let the display differ from what it was before in this session.
    """

    def __init__(self, settings: RigSettings, *, accept_display_change: bool = False) -> None:
        self._settings = settings
        self._accept_display_change = accept_display_change
        keys = load_client_keys(settings.keys) if settings.keys else None
        self._link = Link(settings.server, settings.session_id, keys, settings.resend_s)
        self._blocks = self._presentations = 0
        self._waited_s = self._presented_s = 0.0
        self._apparatus: Apparatus | None = None
        self._said = self._resting = ""
        self._experimenter: Experimenter | None = None
        self._submission: tuple[BlockResponses, Future[msg.Body]] | None = None

    def run(self) -> RigReport:
        """Serve the session to its end.

        Raises:
            Refusal: If the server refuses this rig, or its responses.
            SpoolError: If responses cannot be written to disk.
        """
        self._link.start()
        try:
            welcome = self._answered(self._link.request(msg.Hello()), msg.Welcome)
            session = SessionInfo(session_id=welcome.session_id, seed=welcome.seed)
            self._link.name_session(session.session_id)
            with contextlib.closing(Spool(self._settings.spool, session.session_id)) as self._spool:
                check_no_hand_map(self._settings.spool)
                return self._serve(session)
        finally:
            self._link.close()

    def _serve(self, session: SessionInfo) -> RigReport:
        with contextlib.closing(apparatus_of(self._settings, session)) as apparatus:
            self._apparatus = apparatus
            presenter = Presenter(
                apparatus,
                self._settings.trial,
                self._settings.word_bits,
                session.seed,
                self._rests,
                self._is_interrupted,
                self._spool.given_ml(),
                self._spool.keep_given_ml,
            )
            self._experimenter = Experimenter(apparatus, presenter)
            index = self._attach(apparatus)
            end = self._show_blocks(index, presenter)
            self._await_submission()
            self._part()
        return RigReport(
            session_id=session.session_id,
            state=end.state,
            blocks=self._blocks,
            presentations=self._presentations,
            waited_s=self._waited_s,
            presented_s=self._presented_s,
        )

    def _attach(self, apparatus: Apparatus) -> int:
        """Introduce this rig, hand in what lies in the spool; returns the block to go on with."""
        acquisition = apparatus.acquisition
        request = msg.Attach(
            rig_id=self._settings.rig_id,
            site_ids=acquisition.site_ids,
            software=f"stimloop {version('stimloop')}",
            run=uuid.uuid4().hex,
            rig=described(self._settings, apparatus),
            accept_display_change=self._accept_display_change,
        )
        index = self._answered(self._link.request(request), msg.Attached).next_block
        logger.info(
            "attached to %s with %d sites; going on with block %d",
            self._settings.server,
            len(acquisition.site_ids),
            index,
        )
        for responses in self._spool.waiting():
            logger.info("handing in block %d from the spool", responses.block_index)
            self._submit(responses)
            index = max(index, responses.block_index + 1)
        self._await_submission()
        if self._is_aborted():
            for responses in self._spool.unfinished(acquisition.site_ids, acquisition.tick_hz):
                logger.info("handing in what was shown of block %d", responses.block_index)
                self._submit(responses)
        return index

    def _show_blocks(self, index: int, presenter: Presenter) -> msg.Finished:
        coming = self._link.block(index)
        first = True
        while True:
            block = self._wait(coming, counted=not first)
            if isinstance(block, msg.Finished):
                return block
            if self._link.state in ("paused", "aborted"):
                coming = self._link.block(block.index)  # fetched before that; ask whether it stands
                continue
            coming = self._link.block(block.index + 1)
            self._show(block, presenter)
            first = False

    def _show(self, block: Block, presenter: Presenter) -> None:
        started = time.perf_counter()
        journal = self._spool.journal(block)
        responses = presenter.present(block, journal, self._is_to_stop)
        self._spool.put(responses, journal)
        self._presented_s += time.perf_counter() - started
        self._blocks += 1
        self._presentations += len(responses.presentations)
        logger.info(
            "block %d (%s, %s): %d presentations counted, %d not",
            block.index,
            block.thread,
            block.label,
            n_counted := len(list(responses.completed())),
            len(responses.presentations) - n_counted,
        )
        self._submit(responses)

    def _is_aborted(self) -> bool:
        return self._link.state == "aborted"

    def _is_to_stop(self) -> bool:
        """Between trials: whether to leave the block; waits while paused here, or without recorder."""
        while not self._is_aborted():
            self._heed()
            if trouble := self._at_the_rig() or self._recorder_trouble():
                self._say(trouble)
                time.sleep(GLANCE_S)
                continue
            self._say(self._resting)
            break
        return self._is_aborted()

    def _is_interrupted(self) -> bool:
        """While fixation is waited for: whether the rig was paused, or the session has ended."""
        self._heed()
        return bool(self._at_the_rig()) or self._is_aborted()

    def _recorder_trouble(self) -> str:
        return self._apparatus.acquisition.trouble() if self._apparatus else ""

    def _rests(self, why: str) -> None:
        """The presenter shows nothing for a while; empty: it works again."""
        self._resting = why
        self._say(why)

    def _at_the_rig(self) -> str:
        """Why the rig is paused at its keyboard; empty if it is not."""
        return self._experimenter.says if self._experimenter else ""

    def _heed(self) -> None:
        """Do what was asked for at the keyboard; a pause begins before the next trial.

        Raises:
            RigStopped: If it was to quit.
        """
        if self._experimenter is not None:
            self._experimenter.heed()

    def _submit(self, responses: BlockResponses) -> None:
        """Send responses, once those before them are acknowledged: the server takes them in order."""
        self._await_submission()
        request, frames = submission(responses)
        self._submission = responses, self._link.request(request, frames)

    def _await_submission(self) -> None:
        if self._submission is None:
            return
        responses, answer = self._submission
        index = responses.block_index
        try:
            _check_accepted(responses, self._wait(answer, counted=True))
        except Refusal as refusal:
            logger.error("block %d is kept at %s", index, self._spool.refused(index))
            if refusal.reason != msg.RefusalReason.SESSION_OVER:
                raise
        else:
            self._spool.acknowledged(index)
        self._submission = None

    def _part(self) -> None:
        """Say goodbye; a server that is gone already is not waited for."""
        try:
            self._link.request(msg.Goodbye()).result(timeout=PARTING_S)
        except (NotDone, Refusal):
            logger.info("the server has left; everything was acknowledged")

    def _answered(self, answer: Future[msg.Body], kind: type[T]) -> T:
        body = self._wait(answer, counted=False)
        if not isinstance(body, kind):
            raise Refusal("malformed", "the server gave a strange answer", got=type(body).__name__)
        return body

    def _wait(self, answer: Future[T], *, counted: bool) -> T:
        """Wait for an answer; meanwhile the screen says why."""
        started = time.perf_counter()
        while True:
            try:
                result = answer.result(timeout=GLANCE_S)
                break
            except NotDone:
                if answer.done():
                    raise
                if not self._link.is_alive():
                    raise LinkLost(
                        "the link to the server has failed",
                        remedy="nothing is lost; see the error above, start the rig client again",
                    ) from None
                self._heed()
                self._say(self._at_the_rig() or self._condition())
        self._say("")
        if counted:
            self._waited_s += time.perf_counter() - started
        return result

    def _say(self, text: str) -> None:
        """Bring the screen up to date; what it says goes to the terminal once."""
        if text == self._said:
            return
        self._said = text
        if text:
            logger.warning("%s", text)
        self._link.say(text)
        if self._apparatus is not None:
            self._apparatus.display.message(text)

    def _condition(self) -> str:
        silent_s = time.monotonic() - self._link.last_heard
        if self._link.trouble:
            return self._link.trouble
        if silent_s > self._settings.silence_s:
            return (
                f"no answer from {self._settings.server}: nothing is lost; "
                "waiting until the server is back"
            )
        return "paused" if self._link.state == "paused" else ""


def _check_accepted(responses: BlockResponses, answer: msg.Body) -> None:
    """Only what the server certainly has may be forgotten."""
    got = answer.responses_digest if isinstance(answer, msg.Accepted) else answer.kind
    if got != responses.digest:
        raise WireError(
            "the server acknowledged other responses than were sent",
            where=f"block {responses.block_index}",
            expected=responses.digest,
            got=got,
            remedy="they stay in the rig's spool folder; start the rig client again",
        )


def described(settings: RigSettings, apparatus: Apparatus) -> RigDescription:
    """What this rig says about itself, for the log: everything of rig.toml, the screen, what is simulated."""
    elsewhere = getattr(apparatus.acquisition, "shows_images", False)
    values = settings.model_dump(mode="json", exclude={"keys"})
    for kind, group in GROUPS_OF_PARTS.items():
        choice = getattr(settings, kind)
        options = plugins.settings_of(group, choice, plugins.load(group, choice.name))
        values[kind]["options"] = plugins.resolved(options)
    return RigDescription(
        settings=values,
        display=None if elsewhere else apparatus.display.describe(),
        tick_hz=apparatus.acquisition.tick_hz,
        simulated=() if elsewhere else apparatus.simulated,
    )
