"""Data quality: what was shown, what failed and why, and the fit of the recorder's clock."""

from __future__ import annotations

from collections.abc import Iterable

from protocols.amendments import Amended, in_words
from protocols.documents import Control, Event, EventKind
from protocols.settings import Frozen
from protocols.vocabulary import BlockResponses, Outcome, RecorderClock
from synth_server.readers.log.rig_record import AtRig, RigRecord
from synth_server.readers.log.tally import Tally

LARGE_RESIDUAL_S = 0.002
"""Of the clock's fit, worth a warning: counts are cut to milliseconds."""
FAILED = 0.2
"""Share of failed presentations that is worth a warning."""


class ClockOverview(Frozen):
    """The recorder's clock over a session.

    Attributes:
        n_blocks: Blocks in which it was known.
        first_offset_s: Recorder minus rig, at the first.
        last_offset_s: At the last.
        drift_ppm: As fitted in the last block.
        largest_residual_s: Root mean square about the line, of the worst block.
    """

    n_blocks: int
    first_offset_s: float
    last_offset_s: float
    drift_ppm: float
    largest_residual_s: float


class Quality(Frozen):
    """A session's data quality.

    Attributes:
        n_presentations: Showings, failed ones too.
        outcomes: How they ended, and how many did.
        faults: What the recorder could not account for, by name.
        onset_clocks: On which clock onsets were taken: `recorder`, `rig`, `virtual`.
        n_shown_again: Showings after the first attempt.
        n_unmeasured: Repetitions that never got counts.
        n_dropped_frames: Over all showings.
        n_resumed: How often the server was started again.
        at_rig: What happened at the rig besides: juice, misses, rests, calibrations.
        notes: Annotations of the experimenter, in order.
        clock: None if the recorder had none of its own.
        warnings: What somebody should look at, in words.
    """

    n_presentations: int
    outcomes: dict[str, int]
    faults: dict[str, int]
    onset_clocks: dict[str, int]
    n_shown_again: int
    n_unmeasured: int
    n_dropped_frames: int
    n_resumed: int
    at_rig: AtRig
    notes: tuple[str, ...]
    clock: ClockOverview | None
    warnings: tuple[str, ...]


def quality_of(events: Iterable[Event], drifting: Iterable[str] = ()) -> Quality:
    """The quality of a session, finished or not.

    Args:
        events: All of its log.
        drifting: What `readers.log.session_record.stability` says about sites whose responses changed.
    """
    tally, rig, resumed = Tally(), RigRecord(), 0
    notes: list[str] = []
    clocks: list[RecorderClock] = []
    n_asked: dict[int, int] = {}
    for event in events:
        rig.feed(event)
        match event.kind:
            case EventKind.BLOCK_PROPOSED:
                n_asked[event.document["index"]] = len(event.document["order"])
            case EventKind.SERVER_RESUMED:
                resumed += 1
            case EventKind.CONTROL:
                said = Control.model_validate(event.document)
                notes += [said.text] if said.command == "annotate" else []
            case EventKind.AMENDED:
                found = Amended.model_validate(event.document)
                notes.append(f"From block {found.from_block}: {in_words(found.amendment)}")
            case EventKind.RESPONSES_RECEIVED:
                responses = BlockResponses.model_validate(event.document)
                tally.add(responses, n_asked[responses.block_index])
                clocks += [responses.clock] if responses.clock else []
    clock = _overview(clocks)
    return Quality(
        n_presentations=tally.n_presentations,
        outcomes={outcome.value: n for outcome, n in tally.outcomes.items()},
        faults=dict(tally.faults.most_common()),
        onset_clocks=dict(tally.onset_clocks.most_common()),
        n_shown_again=tally.n_shown_again,
        n_unmeasured=tally.n_unmeasured,
        n_dropped_frames=tally.n_dropped_frames,
        n_resumed=resumed,
        at_rig=rig.counted,
        notes=tuple(notes),
        clock=clock,
        warnings=(*_warnings(tally, clock), *_at_rig(rig.counted), *drifting),
    )


def _at_rig(found: AtRig) -> list[str]:
    said = list(found.warnings)
    if found.late_spikes:
        said.append(
            f"{found.late_spikes} spikes came after their count was taken; where the block was still "
            "shown, the count was withdrawn and the image shown again."
        )
    return said


def _overview(clocks: list[RecorderClock]) -> ClockOverview | None:
    if not clocks:
        return None
    return ClockOverview(
        n_blocks=len(clocks),
        first_offset_s=clocks[0].offset_s,
        last_offset_s=clocks[-1].offset_s,
        drift_ppm=clocks[-1].drift_ppm,
        largest_residual_s=max(clock.residual_s for clock in clocks),
    )


def _warnings(tally: Tally, clock: ClockOverview | None) -> list[str]:
    said = []
    total, completed = tally.n_presentations, tally.outcomes[Outcome.COMPLETED]
    if total and 1 - completed / total > FAILED:
        said.append(f"{100 * (1 - completed / total):.0f} % of the presentations failed.")
    if tally.n_unmeasured:
        said.append(f"{tally.n_unmeasured} repetitions were given up after the last attempt.")
    if tally.faults:
        named = ", ".join(f"{name} ({n})" for name, n in tally.faults.most_common())
        said.append(f"The recorder could not account for {tally.faults.total()}: {named}.")
    if len(tally.onset_clocks) > 1:
        said.append("Onsets were taken on more than one clock.")
    if clock is not None and clock.largest_residual_s > LARGE_RESIDUAL_S:
        said.append(
            f"Trial words lay up to {1000 * clock.largest_residual_s:.1f} ms (RMS) off the clock's line."
        )
    return said
