"""Methods paragraphs on the rig and on timing, from what was measured; the plan where it differs."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from protocols.documents import RigAttached
from protocols.rig_description import RigDescription
from protocols.vocabulary import Placement, Timing
from synth_server.readers.log.rig_in_words import part, said_of_display
from synth_server.readers.log.rig_record import RigRecord, is_other, stamp
from synth_server.readers.log.shown_times import Shown, Spread
from synth_server.report.words import n_of, times

AS_PLANNED_MS = 1.0
"""A measured duration that is closer to the plan is told without it."""
STEADY_MS = 1.0
"""A spread that is narrower is not told."""
MAX_PLACES = 8


def rig_paragraphs(rig: RigRecord) -> list[str]:
    """What was simulated, the display, the recorder, the eye tracker; and what changed within."""
    if not rig.attached:
        return []
    said = []
    if rig.simulated:
        said.append(f"{stamp(rig.simulated)}. These parts of the rig were not real.")
    said.append(_apparatus(rig.attached[-1]))
    for one, other in pairwise(rig.attached):
        before, now = one.rig.display, other.rig.display
        if is_other(before, now):
            changes = "; ".join(before.differences(now)) if before and now else "another display"
            said.append(
                f"Within the session the display was changed, which the experimenter accepted: {changes}."
            )
    return said


def _apparatus(attached: RigAttached) -> str:
    rig = attached.rig
    said = [f"Rig {attached.rig_id}."]
    said.append(
        said_of_display(rig.display)
        if rig.display
        else "The rig knows of no display: another program shows the images."
    )
    if recorder := part(rig, "acquisition"):
        what = (
            f"with spike times in steps of {1e6 / rig.tick_hz:.4g} µs"
            if rig.tick_hz
            else "which counts spikes and gives no times"
        )
        said.append(f"{n_of(len(attached.site_ids), 'site')} were recorded by {recorder}, {what}.")
    if tracker := part(rig, "fixation"):
        said.append(f"Fixation was watched by {tracker}{_window(rig)}.")
    return " ".join(said)


def _window(rig: RigDescription) -> str:
    """Where the eye had to be, if the tracker's settings say so."""
    chosen = rig.settings.get("fixation") or {}
    options = chosen.get("options") or {} if isinstance(chosen, dict) else {}
    radius_deg = options.get("radius_deg")
    return f", within {radius_deg:g}° of the fixation point" if radius_deg else ""


def frame_ms_of(rig: RigRecord) -> float:
    """A frame of the display, as measured; 0 if it is not known, or is not one in the session."""
    found = [each.rig.display for each in rig.attached if each.rig.display is not None]
    if not found or any(is_other(found[0], each) for each in found):
        return 0.0
    return found[-1].frame_ms


def timing_paragraph(timing: Timing, whose: str, shown: Shown, frame_ms: float) -> str:
    """When things happened in the trials of some threads.

    Args:
        timing: The plan.
        whose: Names of the threads, in brackets, or nothing.
        shown: What was measured.
        frame_ms: One frame of the display; 0 if unknown.
    """
    said = [
        f"Timing{whose}: {_on(timing, shown.shown_ms, frame_ms)}",
        _apart(timing, shown.apart_ms, frame_ms),
        _pauses(timing),
        f"Spikes were counted from {timing.count_start_ms:g} ms (included) to "
        f"{timing.count_stop_ms:g} ms (excluded) after onset.",
        _times(timing, shown),
        _places(shown.places),
        "A presentation that failed (fixation broken before the end of its count window, a frame "
        f"dropped, a gap in the recording) was shown again, {times(timing.max_attempts)} at most.",
    ]
    return " ".join(part for part in said if part)


def _on(timing: Timing, measured: Spread, frame_ms: float) -> str:
    if not measured.n:
        return (
            f"by plan an image was on for {timing.on_ms:g} ms; the display did not tell how long it "
            "was."
        )
    return (
        f"an image was on the screen for {_duration(measured, frame_ms)}, by the display's flips"
        f"{_plan(measured.median, timing.on_ms)}."
    )


def _apart(timing: Timing, measured: Spread, frame_ms: float) -> str:
    many = n_of(timing.presentations_per_trial, "image")
    planned_ms = timing.on_ms + timing.off_ms
    if not measured.n:
        return f"{many} to a trial, each followed by {timing.off_ms:g} ms of gray by plan."
    return (
        f"{many} to a trial, {_duration(measured, frame_ms)} from onset to onset"
        f"{_plan(measured.median, planned_ms)}."
    )


def _duration(measured: Spread, frame_ms: float) -> str:
    said = f"{measured.median:.1f} ms"
    notes = []
    if frame_ms:
        frames = round(measured.median / frame_ms)
        notes.append(f"{n_of(frames, 'frame')} of {frame_ms:.2f} ms")
    if measured.most - measured.least > STEADY_MS:
        notes.append(
            f"median of {measured.n}, which were {measured.least:.1f} to {measured.most:.1f} ms"
        )
    return f"{said} ({', '.join(notes)})" if notes else said


def _plan(measured_ms: float, planned_ms: float) -> str:
    if abs(measured_ms - planned_ms) < AS_PLANNED_MS:
        return ""
    return f"; planned were {planned_ms:g} ms"


def _pauses(timing: Timing) -> str:
    low, high = timing.inter_trial_ms
    said = []
    if high:
        said.append(f"{low:g} ms" if low == high else f"{low:g} to {high:g} ms, evenly drawn,")
        said.append("passed between trials")
    if timing.timeout_ms:
        said.append(
            f"{'and ' if said else ''}{timing.timeout_ms:g} ms more after fixation was broken"
        )
    text = " ".join(said)
    return f"By plan, {text}." if text else ""


def _times(timing: Timing, shown: Shown) -> str:
    if not shown.n_with_times:
        return ""
    start_ms, stop_ms = (1000 * edge for edge in timing.kept_span_s)
    of = ""
    if shown.n_with_times < shown.n_completed:
        of = f" of {shown.n_with_times} of {shown.n_completed} presentations"
    return f"Spike times were kept from {start_ms:g} to {stop_ms:g} ms around onset{of}."


def _places(places: Iterable[Placement | None]) -> str:
    known = sorted({str(place) for place in places if place is not None})
    if not known:
        return ""
    more = f" and {len(known) - MAX_PLACES} other places" if len(known) > MAX_PLACES else ""
    return f"Images were {'; '.join(known[:MAX_PLACES])}{more}."
