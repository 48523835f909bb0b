"""The table of presentations: one row for each showing, completed or not, in order of time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Placement
from synth_server.readers.log.logged_session import LoggedBlock, LoggedSession
from synth_server.readers.log.rig_record import stamp
from synth_server.readers.log.timeline import Placed
from synth_server.session.log import image_of

COLUMNS: dict[str, str] = {
    "session_s": "Onset, in seconds since the session's first event; see aligned_by.",
    "block_index": "Block, counted through the session from 0.",
    "thread": "Thread (plan) that proposed the block.",
    "block_label": "The block's name, such as 'generation 3' or 'test'.",
    "generation": "Generation of the optimizer, from 0; -1 (in CSV: empty) if none made the block.",
    "trial": "Trial within the block, from 0: presentations of one fixation.",
    "repetition": "Of the image within the block, from 0.",
    "attempt": "Showings of the same repetition before this one; above 0 if it was shown again.",
    "role": "Why the image was shown: evolved, reference, natural, stretch and so on.",
    "label": "The image's name for people; may be empty.",
    "image_index": "Image, counted in the order of first proposal from 0.",
    "image_sha256": "SHA-256 of the image's shape and pixels; stimloop's name of the image.",
    "stimulus_id": "What the log calls the image at its place: image_sha256 if the block gave it no "
    "place, else a hash of both. One image at two places is two stimuli.",
    "x_deg": "Image's centre, right of the screen's centre, degrees; NaN (in CSV: empty) if unknown.",
    "y_deg": "Image's centre, above the screen's centre, degrees; NaN (in CSV: empty) if unknown.",
    "size_deg": "Image's width and height, degrees; NaN (in CSV: empty) if unknown.",
    "place_from": "Who gave the place: block; display (the rig's own, as it attached); or unknown.",
    "onset_s": "Onset as it was reported, in seconds on onset_clock.",
    "onset_clock": "Clock of onset_s: rig (display), recorder, or virtual (dry run).",
    "aligned_by": "What brought onset_s to session_s: rig, virtual, recorder, recorder fit, or order.",
    "outcome": "completed, fixation_break, dropped_frame or aborted; only completed has counts.",
    "word": "Trial word sent to the recorder at onset; 0 if none was.",
    "fault": "What the recorder lacked, if that is why it was aborted; else 'none' (in CSV: empty).",
    "dropped_frames": "Frames of this presentation that came late.",
    "count_start_s": "Start of the count window, in seconds after onset (included).",
    "count_stop_s": "Stop of the count window, in seconds after onset (excluded).",
    "on_s": "Planned duration of the image in seconds; it goes sooner if fixation is broken.",
    "shown_ms": "Milliseconds that the image was on the screen by the display's flips; NaN (in CSV: "
    "empty) if the display does not know.",
    "has_times": "1 if spike times were kept around the onset, else 0.",
    "kept_start_s": "Start of the span whose spike times were asked for, in seconds after onset.",
    "kept_stop_s": "Stop of that span, in seconds after onset (excluded).",
    "simulated": "Which parts of the rig were not real; else 'none' (in CSV: empty).",
}
"""Name → meaning; the order of the columns in every export."""


@dataclass(frozen=True)
class PresentationTable:
    """All presentations of a session, in the order of `session_s`.

    Attributes:
        columns: Each of `COLUMNS`, `(n,)`.
        counts: `(n, n_sites)` spikes in the count window; NaN unless completed.
        site_ids: Of the columns of `counts`.
    """

    columns: dict[str, NDArray[Any]]
    counts: NDArray[np.float64]
    site_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.counts)


def presentation_table(
    session: LoggedSession, timeline: list[Placed] | None = None
) -> PresentationTable:
    """Every presentation that a log has responses of."""
    image_index = {image: place for place, image in enumerate(session.shapes)}
    simulated = stamp(session.simulated) or "none"
    cells: dict[str, list[Any]] = defaultdict(list)
    counts: list[tuple[float, ...]] = []
    unmeasured = (float("nan"),) * len(session.site_ids)
    for block, when in zip(session.answered, timeline or session.timeline(), strict=True):
        _add_block(cells, block, when, image_index)
        cells["simulated"] += [simulated] * len(when.onset_s)
        shown = block.responses.presentations if block.responses else ()
        counts += [each.spike_counts or unmeasured for each in shown]
    columns = {name: _column(name, cells[name]) for name in COLUMNS}
    order = np.argsort(columns["session_s"], kind="stable")
    table = np.array(counts, dtype=np.float64).reshape(len(order), len(session.site_ids))
    return PresentationTable(
        {name: column[order] for name, column in columns.items()}, table[order], session.site_ids
    )


def _add_block(
    cells: dict[str, list[Any]], block: LoggedBlock, when: Placed, image_index: dict[str, int]
) -> None:
    document, timing = block.document, block.timing
    window_s, kept_s = timing.count_window_s, timing.kept_span_s
    stimuli = {stimulus["id"]: stimulus for stimulus in reversed(document["stimuli"])}
    generation = -1 if document["generation"] is None else document["generation"]
    shown = block.responses.presentations if block.responses else ()
    for each, session_s, aligned_by in zip(shown, when.onset_s, when.aligned_by, strict=True):
        stimulus = stimuli[each.stimulus_id]
        row = {
            "session_s": session_s,
            "block_index": document["index"],
            "thread": document["thread"],
            "block_label": document["label"],
            "generation": generation,
            "trial": each.trial,
            "repetition": each.repetition,
            "attempt": each.attempt,
            "role": stimulus["role"],
            "label": stimulus["label"],
            "image_index": image_index[image_of(stimulus)],
            "image_sha256": image_of(stimulus),
            "stimulus_id": each.stimulus_id,
            **_where(stimulus, block),
            "onset_s": each.onset_s,
            "onset_clock": each.onset_clock,
            "aligned_by": aligned_by,
            "outcome": each.outcome.value,
            "word": each.word,
            "fault": each.fault or "none",
            "dropped_frames": each.dropped_frames,
            "count_start_s": window_s[0],
            "count_stop_s": window_s[1],
            "on_s": timing.on_ms / 1000,
            "shown_ms": each.shown_ms or float("nan"),
            "has_times": int(each.times is not None),
            "kept_start_s": kept_s[0],
            "kept_stop_s": kept_s[1],
        }
        for name, value in row.items():
            cells[name].append(value)


def _where(stimulus: Mapping[str, Any], block: LoggedBlock) -> dict[str, Any]:
    """Where the image was shown, and who says so."""
    if (given := stimulus.get("place")) is not None:
        return {**given, "place_from": "block"}
    if block.display is None:
        return {**dict.fromkeys(Placement.model_fields, float("nan")), "place_from": "unknown"}
    return {**block.display.place.model_dump(), "place_from": "display"}


def _column(name: str, values: list[Any]) -> NDArray[Any]:
    if name.endswith(("_s", "_deg", "_ms")):
        return np.array(values, dtype=np.float64)
    if name in ("block_index", "generation", "trial", "repetition", "attempt", "image_index"):
        return np.array(values, dtype=np.int64)
    if name in ("word", "dropped_frames", "has_times"):
        return np.array(values, dtype=np.int64)
    return np.array(values, dtype=object)
