"""The messages, as in `docs/reference/wire.md`.

Every request is idempotent: sent twice, it is answered twice and acted on once.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from protocols.documents import ThreadSettings
from protocols.fields import FieldPlace
from protocols.rig_description import RigDescription
from protocols.settings import Frozen
from protocols.vocabulary import BlockResponses, Digest, Placement, SiteId

WIRE_VERSION = 4
"""Raised with every change of a message: unknown fields are refused."""

SessionState: TypeAlias = Literal["running", "paused", "stopping", "finished", "stopped", "aborted"]
Text: TypeAlias = Annotated[str, Field(max_length=10_000)]
Name: TypeAlias = Annotated[str, Field(max_length=64)]


class Body(Frozen):
    """What a message says; `kind` names it in the header."""

    kind: ClassVar[str]


class Header(Frozen):
    """The first frame of every message, as JSON. Raw frames (images) follow it."""

    wire: int
    kind: Name
    id: Name = Field(default="", description="chosen by the asker, new for each request")
    reply_to: Name = Field(default="", description="the id of the request that this answers")
    session: Name = Field(default="", description="may be empty while a server has one session")
    body: dict[str, Any] = Field(default_factory=dict)


# --- work: rig → server ------------------------------------------------------------------------


class Hello(Body):
    """A rig asks which session it serves and how that is; about once a second while it shows a block.

    `says` is what the rig's own screen says at this moment (it rests, the recorder is silent), for
    `status` and the monitor; empty: all is well.
    """

    kind: ClassVar[str] = "hello"
    says: Annotated[str, Field(max_length=1000)] = ""


class Attach(Body):
    """A rig says who it is and which sites it records; a restarted rig says the same again."""

    kind: ClassVar[str] = "attach"
    rig_id: Name = Field(min_length=1)
    site_ids: tuple[SiteId, ...] = Field(min_length=1, max_length=10_000)
    software: Text = ""
    run: Name = Field(default="", description="chosen anew at each start of the rig")
    rig: RigDescription = Field(description="what it consists of, and what of it is simulated")
    accept_display_change: bool = Field(
        default=False, description="the experimenter lets the display differ from before"
    )


class NextBlock(Body):
    """Ask for a block by index, from 0; any block once proposed can be asked for again."""

    kind: ClassVar[str] = "next_block"
    block_index: int = Field(ge=0)


class ArrayHeader(Frozen):
    """What a raw frame of numbers holds, little-endian, in C order."""

    digest: Digest
    dtype: Literal["int32", "int64", "float32"]
    shape: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=2)


class SubmitResponses(Body):
    """Everything that happened while a block was shown; frame 1 + k holds the array `arrays[k]`."""

    kind: ClassVar[str] = "submit_responses"
    responses: BlockResponses
    arrays: tuple[ArrayHeader, ...] = ()


class Goodbye(Body):
    """The rig has nothing left to send."""

    kind: ClassVar[str] = "goodbye"


# --- work: server → rig ------------------------------------------------------------------------


class Welcome(Body):
    """Answers `Hello`: the session, and the seed that simulated neurons draw from."""

    kind: ClassVar[str] = "welcome"
    session_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(ge=0)
    state: SessionState


class Attached(Body):
    """Answers `Attach`; `next_block` is the first block without responses."""

    kind: ClassVar[str] = "attached"
    next_block: int = Field(ge=0)


class BlockReady(Body):
    """A block; its raw frames are the distinct images, in the order in which `stimuli` names them."""

    kind: ClassVar[str] = "block"
    block: dict[str, Any]


class NotYet(Body):
    """The server lives, but the block is not ready; ask again."""

    kind: ClassVar[str] = "not_yet"
    state: SessionState


class Finished(Body):
    """There is no such block and there will be none: the session is over."""

    kind: ClassVar[str] = "finished"
    state: SessionState
    n_blocks: int = Field(ge=0)


class Accepted(Body):
    """The responses are durable; the rig may forget them."""

    kind: ClassVar[str] = "accepted"
    block_index: int = Field(ge=0)
    responses_digest: str
    duplicate: bool


class Farewell(Body):
    """Answers `Goodbye`."""

    kind: ClassVar[str] = "farewell"


class RefusalReason(StrEnum):
    """Why a request was refused; programs act on it."""

    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    WIRE_VERSION = "wire_version"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_SESSION = "unknown_session"
    UNKNOWN_SITE = "unknown_site"
    UNKNOWN_THREAD = "unknown_thread"
    NOT_STEERED = "not_steered"
    OTHER_RIG = "other_rig"
    OTHER_DISPLAY = "other_display"
    PLACE_OFF_SCREEN = "place_off_screen"
    NO_SPIKE_TIMES = "no_spike_times"
    OUT_OF_ORDER = "out_of_order"
    RESPONSES_DO_NOT_FIT = "responses_do_not_fit"
    ALREADY_ANSWERED = "already_answered"
    SESSION_OVER = "session_over"
    LOG_UNWRITABLE = "log_unwritable"
    SERVER_FAILED = "server_failed"
    UNKNOWN_ENCODER = "unknown_encoder"
    SETTINGS_REFUSED = "settings_refused"
    BUSY = "busy"
    CANCELLED = "cancelled"
    TOO_LATE = "too_late"


class Refused(Body):
    """A request was not carried out, and why."""

    kind: ClassVar[str] = "refused"
    reason: RefusalReason
    what: Text
    expected: Text = ""
    got: Text = ""
    remedy: Text = ""


# --- control -----------------------------------------------------------------------------------


class Status(Body):
    """Ask how a session (or, with an empty session name, every session) is doing."""

    kind: ClassVar[str] = "status"


class Pause(Body):
    """Hand out no further block until `Resume`; the block on screen is finished."""

    kind: ClassVar[str] = "pause"


class Resume(Body):
    """Undo `Pause`."""

    kind: ClassVar[str] = "resume"


class Stop(Body):
    """Propose no further block; those already proposed are shown, then the session ends."""

    kind: ClassVar[str] = "stop"


class Abort(Body):
    """End the session now; the rig stops after its current trial and reports what it has."""

    kind: ClassVar[str] = "abort"


class Annotate(Body):
    """Write a line into the session log."""

    kind: ClassVar[str] = "annotate"
    text: Text = Field(min_length=1)


class Finish(Body):
    """Have a thread's test next, or what comes last in it; empty: all threads that can."""

    kind: ClassVar[str] = "finish"
    thread: Name = ""


class DropSite(Body):
    """Make no more images for a site; without a thread: in all that do."""

    kind: ClassVar[str] = "drop_site"
    site: SiteId
    thread: Name = ""


class Retarget(Body):
    """Make images for other sites; without a thread: in the only one that can."""

    kind: ClassVar[str] = "retarget"
    sites: tuple[SiteId, ...] = Field(min_length=1, max_length=10_000)
    thread: Name = ""


class Place(Body):
    """Show a thread's images elsewhere; without a thread: of the only one that can."""

    kind: ClassVar[str] = "place"
    place: Placement | FieldPlace
    thread: Name = ""


class AddThread(Body):
    """Have another thread in the session, as `[[threads]]` of a session.toml says it."""

    kind: ClassVar[str] = "add_thread"
    thread: ThreadSettings


class SessionStatus(Frozen):
    """One line of a status report."""

    session_id: Name
    state: SessionState
    rig_id: str
    rig_says: Text = Field(
        default="", description="what the rig's screen says now; empty: all is well"
    )
    simulated: tuple[str, ...] = Field(default=(), description="parts of the rig that are not real")
    blocks_proposed: int
    blocks_answered: int
    last_event: int = Field(description="sequence number of the last durable event")
    log: Text = Field(default="", description="where the log lies, on the server's computer")


class StatusReport(Body):
    """Answers `Status`, and every other control request once it is durable."""

    kind: ClassVar[str] = "status_report"
    sessions: tuple[SessionStatus, ...]


# --- watchers ----------------------------------------------------------------------------------


class Happened(Body):
    """An event of the session log, published after it became durable."""

    kind: ClassVar[str] = "happened"
    seq: int
    event: str
    document: dict[str, Any]


WORK_REQUESTS: tuple[type[Body], ...] = (
    Hello,
    Attach,
    NextBlock,
    SubmitResponses,
    Goodbye,
)
STEERING: tuple[type[Body], ...] = (Finish, DropSite, Retarget, Place, AddThread)
CONTROL_REQUESTS: tuple[type[Body], ...] = (
    Status,
    Pause,
    Resume,
    Stop,
    Abort,
    Annotate,
    *STEERING,
)
REPLIES: tuple[type[Body], ...] = (
    Welcome,
    Attached,
    BlockReady,
    NotYet,
    Finished,
    Accepted,
    Farewell,
    Refused,
    StatusReport,
)
PUBLISHED: tuple[type[Body], ...] = (Happened,)
