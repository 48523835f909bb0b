"""What people change while a session runs, as the log keeps it and the plans hear of it.

An amendment goes into its thread's plan with the next responses, whether these come from a rig, from
simulated neurons or from a log: live, recovered and verified sessions take the same course.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from protocols.documents import SessionStarted, ThreadSettings
from protocols.fields import FieldPlace
from protocols.responses import SiteId, without_empty
from protocols.settings import Frozen, ObjectiveChoice
from protocols.vocabulary import Placement


class _OfOneThread(Frozen):
    """About a thread of that name."""

    thread: str

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_empty(handler(self), "objective", "sites", "placed_by")


class Finish(_OfOneThread):
    """The thread shows no more of what comes before its test, and proposes the test."""

    kind: Literal["finish"] = "finish"


class DropSite(_OfOneThread):
    """The thread makes no more images for a site.

    Attributes:
        site: Which.
        sites: The targets that are left; none where the plan decides on its targets by itself.
        objective: What an evolution maximises from then on.
    """

    kind: Literal["drop_site"] = "drop_site"
    site: SiteId
    sites: tuple[SiteId, ...] = ()
    objective: ObjectiveChoice | None = None


class Retarget(_OfOneThread):
    """The thread makes images for other sites.

    Attributes:
        sites: All of its targets from then on.
        objective: What an evolution maximises from then on.
    """

    kind: Literal["retarget"] = "retarget"
    sites: tuple[SiteId, ...] = Field(min_length=1)
    objective: ObjectiveChoice | None = None


class Place(_OfOneThread):
    """The thread's images are shown elsewhere.

    Attributes:
        placed_by: Where `place` comes from, if it follows from mapped fields.
    """

    kind: Literal["place"] = "place"
    place: Placement
    placed_by: FieldPlace | None = None


class AddThread(Frozen):
    """The session has another thread.

    Attributes:
        settings: The thread's, with all defaults written out.
        equipment: What its plan uses besides what the session used before → digest.
    """

    kind: Literal["add_thread"] = "add_thread"
    settings: ThreadSettings
    equipment: dict[str, str] = Field(default_factory=dict)

    @property
    def thread(self) -> str:
        """The new thread's name."""
        return self.settings.name


Amendment: TypeAlias = Annotated[
    Finish | DropSite | Retarget | Place | AddThread, Field(discriminator="kind")
]


class Amended(Frozen):
    """The event: what holds from then on.

    Attributes:
        from_block: No block before it follows the amendment. Of the thread, the blocks do that it
            proposes after its next responses; a new thread begins there or later.
    """

    from_block: int = Field(ge=0)
    amendment: Amendment


def in_words(amendment: Amendment) -> str:
    """An amendment in one line, for people."""
    match amendment:
        case Finish():
            what = "told to finish"
        case DropSite():
            left = f"; left: {', '.join(amendment.sites)}" if amendment.sites else ""
            what = f"site {amendment.site} dropped{left}"
        case Retarget():
            what = f"retargeted to {', '.join(amendment.sites)}"
        case Place():
            by = f", by {amendment.placed_by.fields}" if amendment.placed_by else ""
            what = f"images {amendment.place}{by}"
        case AddThread():
            what = f"thread added ({amendment.settings.protocol})"
    return f"thread {amendment.thread}: {what}"


def amended(thread: ThreadSettings, amendment: Amendment) -> ThreadSettings:
    """The settings that describe a thread from then on."""
    match amendment:
        case Place():
            update = {"place": amendment.place, "placed_by": amendment.placed_by}
            return thread.model_copy(update=update)
        case DropSite(objective=objective) | Retarget(objective=objective) if objective:
            return _with(thread, objective=objective.model_dump(mode="json"))
        case DropSite(sites=sites) | Retarget(sites=sites) if sites:
            return _with(thread, targets=list(sites))
    return thread


def _with(thread: ThreadSettings, **values: Any) -> ThreadSettings:
    return thread.model_copy(update={"settings": {**thread.settings, **values}})


def with_thread(start: SessionStarted, thread: ThreadSettings) -> SessionStarted:
    """A session's start as if the thread had been there; for readers, who list a session's threads."""
    threads = (*start.settings.threads, thread)
    settings = start.settings.model_copy(update={"threads": threads})
    return start.model_copy(update={"settings": settings})


class Course:
    """A session's threads as they are, block by block: for whoever reads a log.

    Args:
        threads: As the session began.

    Attributes:
        threads: Name → settings, by the amendments that the thread's plan has heard of.
    """

    def __init__(self, threads: Iterable[ThreadSettings]) -> None:
        self.threads = {thread.name: thread for thread in threads}
        self._coming: dict[str, list[Amendment]] = {}

    def amend(self, document: Mapping[str, Any]) -> Amendment:
        """Take in an `Amended` event; it holds after the thread's next responses."""
        found = Amended.model_validate(document).amendment
        if isinstance(found, AddThread):
            self.threads[found.thread] = found.settings
        else:
            self._coming.setdefault(found.thread, []).append(found)
        return found

    def answered(self, thread: str) -> bool:
        """Responses to a block of the thread came; whether its later blocks have other settings."""
        before = self.threads[thread]
        for each in self._coming.pop(thread, ()):
            self.threads[thread] = amended(self.threads[thread], each)
        return self.threads[thread] != before
