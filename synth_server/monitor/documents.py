"""What the page is given: the JSON documents behind `synth-server monitor`.

Times are Unix seconds by the server's clock, durations seconds by its monotonic clock; counts are
mean spikes in the count window of one showing. None stands where something is not known.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocols.rig_description import Edges
from protocols.settings import Frozen
from protocols.vocabulary import Placement, RecorderClock
from protocols.wire.messages import SessionState
from synth_server.readers.control.gains import ControlSummary
from synth_server.readers.evolution.stability import SiteStability
from synth_server.readers.log.rig_record import AtRig
from synth_server.readers.statistics.scores import Scores
from synth_server.session.products import Progress

Phase = Literal["evolution", "control", "other"]
"""What a thread does: evolves images, tests images that an encoder made, or shows given ones."""
LinkState = Literal["connected", "silent", "refused", "over", "looking"]


class Link(Frozen):
    """Whether the server can be told something.

    Attributes:
        state: `over`: nobody is asked, since the session has ended; `looking`: nobody was yet.
        rig_id: The rig that serves the session, by what the server says.
        rig_says: What the rig's own screen says now, such as that it rests; empty: all is well.
        said: What is wrong, in words.
    """

    state: LinkState = "looking"
    rig_id: str = ""
    rig_says: str = ""
    said: str = ""


class Disk(Frozen):
    """The disk that the log lies on."""

    free_bytes: int
    log_bytes: int


class LastEvent(Frozen):
    """The newest durable event."""

    seq: int
    kind: str
    unix_s: float


class Health(Frozen):
    """Is the recording sound, and does the loop keep up?

    Attributes:
        generation_s: From a thread's responses to its next block, the last one and the median.
        rig_wait_s: From responses to the next block, where it was not there before them: the last, and
            the sum; that is, how long the rig had nothing to show.
        rig_wait_share: That sum, of the time since the first responses.
        late_frames: Frames that came late, over all presentations.
        faults: Presentations that the recorder could not account for, by the fault's name.
        clock: The recorder's against the rig's, by the last block; None if it has none of its own.
        due_unix_s: When responses to the block on screen are overdue, by the timing of its trials;
            None while nothing is awaited.
    """

    generation_s: float | None = None
    median_generation_s: float | None = None
    rig_wait_s: float | None = None
    total_rig_wait_s: float = 0.0
    rig_wait_share: float | None = None
    presentations: int = 0
    completed: int = 0
    fixation_break: int = 0
    dropped_frame: int = 0
    aborted: int = 0
    late_frames: int = 0
    faults: dict[str, int] = Field(default_factory=dict)
    clock: RecorderClock | None = None
    due_unix_s: float | None = None


class BlockLine(Frozen):
    """One block, without its images."""

    index: int
    thread: str
    label: str
    generation: int | None
    n_images: int
    n_showings: int
    answered: bool


class ThreadLine(Frozen):
    """One thread at a glance.

    Attributes:
        revision: Grows with everything that changes the thread's document.
        n_generations: How many there will be; None if the protocol has none.
        evolved: Of the last measured generation, objective scores.
        reference: The same of the references among them.
    """

    name: str
    phase: Phase
    protocol: str
    revision: int
    generation: int | None = None
    n_generations: int | None = None
    evolved: Scores | None = None
    reference: Scores | None = None
    warnings: tuple[str, ...] = ()


class Note(Frozen):
    """What somebody wrote into the log, which button was pressed, or what happened at the rig.

    Attributes:
        unix_s: Of what happened at the rig: by its clock, as if its responses had come at once.
        at_rig: Whether it is one of the rig's events; `command` is its kind then.
    """

    unix_s: float
    command: str
    text: str
    at_rig: bool = False


class Overview(Frozen):
    """The session at a glance; sent whenever it changes.

    Attributes:
        reading: The log is still being read from its beginning.
        problem: Why it cannot be read, in words; empty if it can.
        simulated: What stands on the page if not all of the rig was real; else empty.
        at_rig: Juice, misses, rests, warnings, up to the last answered block.
        on_screen: The first block without responses.
        computing: What the server computes between two blocks, if that takes long.
    """

    session_id: str
    seed: int
    state: SessionState
    reading: bool
    problem: str = ""
    simulated: str = ""
    at_rig: AtRig = AtRig()
    started_unix_s: float
    ended_unix_s: float | None
    n_sites: int
    n_proposed: int
    n_answered: int
    threads: tuple[ThreadLine, ...]
    on_screen: BlockLine | None
    computing: Progress | None
    health: Health
    link: Link
    disk: Disk | None
    last_event: LastEvent | None
    notes: tuple[Note, ...]


class GenerationDocument(Frozen):
    """A generation in the curve.

    Attributes:
        evolved: Objective scores over its evolved images; of an objective that is one site's count,
            these are spikes.
        reference: Of the references shown among them.
        best_id: The stimulus with the highest score.
        best_image: Its pixels' hash.
        block: Index of the block that showed it first.
    """

    generation: int
    evolved: Scores
    reference: Scores
    best_id: str | None
    best_image: str | None
    block: int


class HeatMap(Frozen):
    """Mean counts of every site in every block of a thread.

    Attributes:
        columns: The generation, or the block's label.
        counts: A row a site; over the evolved images where there are such, else over all.
        reference: The same over the references; None where there are none.
    """

    sites: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[float | None, ...], ...]
    reference: tuple[tuple[float | None, ...], ...]


class ThreadDocument(Frozen):
    """One thread.

    Attributes:
        unit: Of the scores: `spikes`, or `score`.
        count_window_ms: `[start, stop)` after onset.
        best_reference: Score of the reference image that is highest over all its showings so far.
        stability: See `synth_server.readers.evolution.stability`.
    """

    name: str
    protocol: str
    phase: Phase
    best_reference: float | None = None
    revision: int
    unit: str
    count_window_ms: tuple[float, float]
    sites: tuple[str, ...]
    recorded: tuple[str, ...]
    generations: tuple[GenerationDocument, ...]
    stability: tuple[SiteStability, ...]
    heat: HeatMap
    blocks: tuple[BlockLine, ...]


class KindOfImage(Frozen):
    """Images of one kind at one site: each one's id, its pixels' hash and its mean count."""

    role: str
    ids: tuple[str, ...]
    images: tuple[str, ...]
    counts: tuple[float, ...]


class TargetDocument(Frozen):
    """What a site answered to the images made for it, and to others, image by image."""

    site: str
    kinds: tuple[KindOfImage, ...]


class DistributionsDocument(Frozen):
    """Responses to images that an encoder made and to their controls, so far.

    Attributes:
        summary: Gains with confidence intervals, see `synth_server.readers.control.gains`.
    """

    thread: str
    revision: int
    targets: tuple[TargetDocument, ...]
    summary: ControlSummary


class ShownDocument(Frozen):
    """An image of a block.

    Attributes:
        image: Its pixels' hash.
        place: Where it was shown, if the block says so; else where the display shows images.
        count: Mean over its completed showings, at the site asked for; None if there are none.
        n: How many these are.
    """

    id: str
    image: str
    place: Placement | None
    role: str
    label: str
    targets: tuple[str, ...]
    count: float | None
    n: int


class BlockDocument(Frozen):
    """A block with its images, and their counts once it is answered.

    Attributes:
        at: Which sites the counts are of, in words.
    """

    block: BlockLine
    at: str
    images: tuple[ShownDocument, ...]


class PlacedImage(Frozen):
    """An image where it was shown."""

    image: str
    place: Placement


class GazeDocument(Frozen):
    """Where the subject looked while the images of a block were on.

    Attributes:
        points: `(x, y)` in degrees from the screen's centre; the valid samples, or an even choice.
        n_samples: All while images were on, valid or not.
        share_valid: Of these.
        share_on_image: Of the valid ones, those within the image that was on; None if its place is
            not known.
        while_on: False if nothing ties the recorder's onsets to the tracker's clock: then samples are
            those of the whole block.
        images: One at each place, the first that was shown there.
        fixation_point_deg: On the screen.
        bounds_deg: Edges of the screen, if they are known.
    """

    block: int
    points: tuple[tuple[float, float], ...] = ()
    n_samples: int = 0
    share_valid: float | None = None
    share_on_image: float | None = None
    while_on: bool = True
    images: tuple[PlacedImage, ...] = ()
    fixation_point_deg: tuple[float, float] = (0, 0)
    bounds_deg: Edges | None = None
