"""The session log's schema: what each kind of event says.

Report, monitor, NWB and replay read these documents and nothing else. Blocks are logged as
`Block.document()`, their images and codes beside them, by digest.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from protocols.fields import FieldPlace
from protocols.interfaces import SessionInfo
from protocols.rig_description import RigDescription
from protocols.settings import Frozen
from protocols.vocabulary import Placement, SiteId

LOG_VERSION = 2
"""Raised when an event changes its meaning or loses a field."""


class EventKind(StrEnum):
    """What can happen in a session."""

    SESSION_STARTED = "session_started"
    BLOCK_PROPOSED = "block_proposed"
    RESPONSES_RECEIVED = "responses_received"
    RIG_ATTACHED = "rig_attached"
    CONTROL = "control"
    AMENDED = "amended"
    SERVER_RESUMED = "server_resumed"
    SESSION_ENDED = "session_ended"


class Event(Frozen):
    """One row of the log; `hash` covers all other fields, so the rows form a chain."""

    seq: int
    t_mono_ns: int = Field(description="server's monotonic clock; comparable within one run")
    t_wall_ns: int = Field(description="Unix time")
    kind: EventKind
    document: dict[str, Any]
    prev_hash: str
    hash: str


class ThreadSettings(Frozen):
    """One plan of a session."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    protocol: str = Field(min_length=1, description="a plug-in of stimloop.protocols")
    settings: dict[str, Any] = Field(default_factory=dict)
    place: Placement | FieldPlace | None = Field(
        default=None, description="where its images are shown; none: where the display shows images"
    )
    placed_by: FieldPlace | None = Field(
        default=None, description="where `place` comes from; written by the server"
    )


class SessionSettings(SessionInfo):
    """`session.toml`: what a session does."""

    threads: tuple[ThreadSettings, ...] = Field(min_length=1, max_length=1000)


class SessionStarted(Frozen):
    """The first event: everything that decides what the plans will propose."""

    log_version: int
    wire_version: int
    settings: SessionSettings
    equipment: dict[str, str] = Field(description="generators and image sets → digest")
    versions: dict[str, str] = Field(description="distributions → version")
    device: str


class RigAttached(Frozen):
    """A rig started, or started again, or said something new.

    Attributes:
        rig_id: Its name.
        site_ids: What it records, in the order of the counts.
        software: In words.
        run: Chosen anew at each start of the rig.
        rig: Settings, display, recorder, what is simulated.
        display_change_accepted: Whether the experimenter let the display differ from before.
    """

    rig_id: str
    site_ids: tuple[SiteId, ...]
    software: str
    run: str = ""
    rig: RigDescription
    display_change_accepted: bool = False


class Control(Frozen):
    """Somebody pressed a button or wrote a note."""

    command: Literal["pause", "resume", "stop", "abort", "annotate"]
    text: str = ""


class ServerResumed(Frozen):
    """The server was restarted and went on from this log."""

    versions: dict[str, str]


class SessionEnded(Frozen):
    """The last event."""

    state: Literal["finished", "stopped", "aborted"]
    n_blocks: int
    session_digest: str = Field(description="over all blocks and responses, in block order")
