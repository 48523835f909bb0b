"""A session's threads as people wish them, and what was wished on its way into the plans."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from protocols.amendments import AddThread, Amendment, DropSite, Finish, Retarget, amended
from protocols.documents import RigAttached, ThreadSettings
from protocols.errors import LogError, Refusal, StimloopError
from protocols.interfaces import Objective, Plan
from protocols.vocabulary import Block, Placement
from protocols.wire.messages import RefusalReason
from synth_server.session.attachment import check_can_show, check_sites
from synth_server.session.conductor import Conductor
from synth_server.session.steering import Situation

logger = logging.getLogger(__name__)


class ThreadMaker(Protocol):
    """Makes the plans of threads that are added; see `session.build.Workshop`."""

    @property
    def digests(self) -> Mapping[str, str]:
        """What plans use → digest."""
        ...

    @property
    def predicted(self) -> Mapping[str, Sequence[str]]:
        """Thread → sites that its given encoder predicts."""
        ...

    def resolved(self, thread: ThreadSettings) -> ThreadSettings:
        """With all defaults written out."""
        ...

    def plan(self, thread: ThreadSettings) -> Plan:
        """A fresh plan."""
        ...

    def forget(self, n_objectives: int, digests: Mapping[str, str]) -> None:
        """Undo what a plan that is not used has asked for."""
        ...


class Amending:
    """What was wished so far; the session logs it, and keeps other threads out meanwhile.

    Args:
        threads: As the session began.
        conductor: Of the session.
        objectives: All plans' objectives; grows with threads that are added.
        maker: Makes plans of threads that are added; without one, none can be.

    Attributes:
        threads: Name → settings of all threads, by all that was wished so far.
    """

    def __init__(
        self,
        threads: Iterable[ThreadSettings],
        conductor: Conductor,
        objectives: Sequence[Objective],
        maker: ThreadMaker | None,
    ) -> None:
        self.threads = {thread.name: thread for thread in threads}
        self._conductor, self._objectives, self._maker = conductor, objectives, maker
        self._coming: list[Amendment] = []
        self._told: dict[int, tuple[Amendment, ...]] = {}
        self._finishing: set[str] = set()
        self._dropped: set[tuple[str, str]] = set()

    def situation(self, rig: RigAttached | None) -> Situation:
        """What wishes are checked against now."""
        return Situation(
            self.threads,
            self._conductor.live,
            frozenset(self._finishing),
            frozenset(self._dropped),
            rig,
            self._maker.predicted if self._maker else {},
        )

    def note(self, amendment: Amendment) -> None:
        """Take in an amendment that is in the log."""
        self._coming.append(amendment)
        name = amendment.thread
        match amendment:
            case AddThread(settings=settings):
                self.threads[name] = settings
            case Finish():
                self._finishing.add(name)
            case DropSite(site=site):
                self._dropped.add((name, site))
            case Retarget(sites=sites):
                self._dropped -= {(name, site) for site in sites}
        self.threads[name] = amended(self.threads[name], amendment)

    def note_responses(self, block_index: int) -> None:
        """Responses to that block are in the log; all that was wished before goes with them."""
        self._told[block_index] = tuple(self._coming)
        self._coming.clear()

    def with_responses(self, block_index: int) -> tuple[Amendment, ...]:
        """What goes with the responses to that block; asked once."""
        return self._told.pop(block_index, ())

    # --- threads that are added ----------------------------------------------------------------

    def new_thread(self, wish: ThreadSettings) -> ThreadSettings | None:
        """With its defaults; None if the session has exactly this one already.

        Raises:
            Refusal: If its settings are wrong, or another thread has its name.
        """
        try:
            thread = self._maker.resolved(wish) if self._maker else wish
        except StimloopError as error:
            raise Refusal.of(RefusalReason.SETTINGS_REFUSED, error) from None
        known = self.threads.get(thread.name)
        if known is None:
            return thread
        if known == thread:
            return None
        raise Refusal(
            RefusalReason.SETTINGS_REFUSED,
            "the session has a thread of this name",
            expected=f"a name other than {', '.join(self.threads)}",
            got=thread.name,
            remedy="give the new thread another name",
        )

    def prepare(self, thread: ThreadSettings) -> Block | None:
        """Build a thread's plan, and have its first block computed."""
        if self._maker is None:
            raise LogError("this session's threads are fixed", where=f"thread {thread.name}")
        place = thread.place if isinstance(thread.place, Placement) else None
        return self._conductor.prepare(thread.name, self._maker.plan(thread), place)

    @contextmanager
    def built(self, thread: ThreadSettings, rig: RigAttached | None) -> Iterator[dict[str, str]]:
        """A thread's plan and first block; gives what it uses besides what the session used before.

        What fails, here or within, is undone.

        Raises:
            Refusal: If the plan cannot begin, or the rig cannot show it.
        """
        if self._maker is None:
            raise Refusal(RefusalReason.SETTINGS_REFUSED, "this session's threads are fixed")
        n_objectives, before = len(self._objectives), dict(self._maker.digests)
        try:
            first = self.prepare(thread)
            if first is None:
                raise StimloopError("the thread proposes nothing", where=f"thread {thread.name}")
            if rig is not None:
                check_sites(self._objectives[n_objectives:], rig)
                check_can_show(rig, [thread], [first])
            yield {k: v for k, v in self._maker.digests.items() if before.get(k) != v}
        except BaseException as error:
            self._maker.forget(n_objectives, before)
            if isinstance(error, Refusal | LogError) or not isinstance(error, Exception):
                raise
            logger.warning("thread %s cannot be added: %s", thread.name, error)
            known = error if isinstance(error, StimloopError) else StimloopError(repr(error))
            raise Refusal.of(RefusalReason.SETTINGS_REFUSED, known) from None
