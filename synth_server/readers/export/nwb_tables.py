"""The tables of an NWB file: presentations, trials, sites, images, scores, codes, clocks."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols import plugins
from protocols.amendments import Amended, in_words
from protocols.documents import Event, EventKind
from protocols.errors import StimloopError
from protocols.interfaces import Objective
from protocols.settings import PluginChoice
from synth_server.readers.export.libraries import nwb
from synth_server.readers.log.logged_session import LoggedBlock, LoggedSession
from synth_server.readers.log.presentations import COLUMNS, PresentationTable
from synth_server.readers.log.rig_record import stamp
from synth_server.readers.log.timeline import Placed
from synth_server.session.log import SessionLog, image_of

logger = logging.getLogger(__name__)
Columns = Mapping[str, tuple[str, NDArray[Any]]]
"""Name → (description, values)."""


def presentations(table: PresentationTable) -> Any:
    """`TimeIntervals`: one row a showing, its counts as a vector over the table of sites."""
    start_s = table.columns["session_s"]
    described = {
        name: (meaning, table.columns[name])
        for name, meaning in COLUMNS.items()
        if name != "session_s"
    }
    described["spike_counts"] = (
        "Spikes in the count window [count_start_s, count_stop_s) after onset, a column a row of "
        "the table 'sites'; NaN unless outcome is 'completed'.",
        table.counts,
    )
    return _intervals(
        "presentations",
        "One row a showing of an image, whatever came of it. stop_time is onset plus shown_ms or, "
        "where the display does not know, plus the planned duration on_s.",
        start_s,
        start_s + shown_s(table),
        described,
    )


def shown_s(table: PresentationTable) -> NDArray[np.float64]:
    """How long each image was on the screen, `(n,)` s; as planned where the display does not know."""
    measured_s: NDArray[np.float64] = table.columns["shown_ms"] / 1000
    return np.where(np.isnan(measured_s), table.columns["on_s"], measured_s)


def trials(table: PresentationTable) -> Any:
    """`TimeIntervals`: one row a trial, that is, one fixation."""
    columns = table.columns
    keys = list(zip(columns["block_index"].tolist(), columns["trial"].tolist(), strict=True))
    rows: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows[key].append(row)
    ends_s = columns["session_s"] + shown_s(table)
    completed = columns["outcome"] == "completed"
    members = list(rows.values())
    first = np.array([each[0] for each in members], dtype=np.int64)
    described = {
        name: (COLUMNS[name], columns[name][first]) for name in ("block_index", "thread", "trial")
    }
    described["n_presentations"] = (
        "Presentations of the trial.",
        np.array([len(each) for each in members], dtype=np.int64),
    )
    described["n_completed"] = (
        "Presentations of the trial with counts.",
        np.array([int(completed[each].sum()) for each in members], dtype=np.int64),
    )
    return _intervals(
        "trials",
        "One row a trial: the presentations of one fixation.",
        columns["session_s"][first],
        np.array([ends_s[each].max() for each in members]),
        described,
    )


def sites(session: LoggedSession, electrodes: Any) -> Any:
    """The recorded sites, in the order of the counts; their spike times are in `Units`."""
    n_sites = len(session.site_ids)
    return nwb("hdmf.common").DynamicTable(
        name="sites",
        description="The recorded sites, in the order of the columns of spike_counts. What a site "
        "is (a channel's threshold crossings, a sorted unit) was set at the recorder. Where spike "
        "times were kept, row for row the table of units holds them.",
        columns=[
            _vector("site_id", "Name of the site.", np.array(session.site_ids, dtype=object)),
            nwb("hdmf.common").DynamicTableRegion(
                name="electrode",
                description="Row of the electrodes table.",
                data=list(range(n_sites)),
                table=electrodes,
            ),
        ],
        id=list(range(n_sites)),
    )


def clocks(session: LoggedSession, timeline: list[Placed]) -> Any:
    """How each block's clocks ran: what brought its onsets to the session's time axis."""
    columns: dict[str, tuple[str, NDArray[Any]]] = {
        "block_index": (COLUMNS["block_index"], _block_indices(session.answered)),
        "session_offset_s": (
            "Session's time minus display's clock; not exact to better than the time from a "
            "block's end to the arrival of its responses. NaN if all onsets are on a recorder's clock "
            "that nothing ties to the display's.",
            np.array([np.nan if when.clock == "recorder" else when.offset_s for when in timeline]),
        ),
    }
    fits = [block.responses.clock if block.responses else None for block in session.answered]
    if any(fits):
        columns |= {
            f"recorder_{name}": (
                f"{meaning}; NaN if unknown.",
                np.array([np.nan if fit is None else getattr(fit, name) for fit in fits]),
            )
            for name, meaning in _FITTED.items()
        }
    return table(
        "clocks",
        "One row a block with responses. onset_s + session_offset_s is the session's time, for "
        "the rig's or a virtual clock. recorder = rig + recorder_offset_s at the last word.",
        columns,
    )


_FITTED = {
    "offset_s": "Recorder's clock minus rig's, at the block's last word",
    "drift_ppm": "µs that the recorder's clock gains in a second of the rig's",
    "residual_s": "Root mean square of what the fitted line leaves",
    "n_words": "Trial words that the line was fitted to",
}


def images(session: LoggedSession, labels: Mapping[str, str], shown: PresentationTable) -> Any:
    """One row a unique image."""
    ids = list(session.shapes)
    n_shown = Counter(shown.columns["image_index"].tolist())
    shapes = np.array([session.shapes[image_id] for image_id in ids], dtype=np.int64)
    return table(
        "images",
        "Every image that was proposed, once, in the order of first proposal.",
        {
            "sha256": (COLUMNS["image_sha256"], np.array(ids, dtype=object)),
            "label": (COLUMNS["label"], np.array([labels[each] for each in ids], dtype=object)),
            "height_px": ("Pixels.", shapes[:, 0]),
            "width_px": ("Pixels.", shapes[:, 1]),
            "n_presentations": (
                "Showings, whatever came of them.",
                np.array([n_shown[place] for place in range(len(ids))], dtype=np.int64),
            ),
        },
    )


def scores(session: LoggedSession) -> Any:
    """One row an image of an answered block: what the thread's objective makes of its counts."""
    image_index = {image_id: place for place, image_id in enumerate(session.shapes)}
    objectives: dict[int, Objective | None] = {}
    cells: dict[str, list[Any]] = defaultdict(list)
    for block in session.answered:
        thread = block.thread
        if id(thread) not in objectives:
            objectives[id(thread)] = _objective(thread.name, thread.settings) if thread else None
        for row in _scored(block, objectives[id(thread)]):
            for name, value in row.items():
                cells[name].append(value)
    return table(
        "scores",
        "One row an image of a block with responses. score is what the thread's objective makes "
        "of the image's mean counts, before any normalisation to references; NaN if the image was "
        "not counted or the thread has no objective.",
        {
            "block_index": (COLUMNS["block_index"], _integers(cells["block_index"])),
            "thread": (COLUMNS["thread"], np.array(cells["thread"], dtype=object)),
            "generation": (COLUMNS["generation"], _integers(cells["generation"])),
            "role": (COLUMNS["role"], np.array(cells["role"], dtype=object)),
            "image_index": (
                "Row of the table 'images'.",
                _integers([image_index[each] for each in cells["image"]]),
            ),
            "stimulus_id": (COLUMNS["stimulus_id"], np.array(cells["id"], dtype=object)),
            "n_counted": ("Completed presentations in the block.", _integers(cells["n_counted"])),
            "score": ("Of the objective.", np.array(cells["score"], dtype=np.float64)),
        },
    )


def codes(session: LoggedSession, log: SessionLog) -> Iterator[Any]:
    """For each thread with a generator, one row a code that made an image."""
    image_index = {image_id: place for place, image_id in enumerate(session.shapes)}
    for thread in session.start.settings.threads:
        blocks = [
            block
            for block in session.blocks
            if block.document["thread"] == thread.name and block.document["codes_digest"]
        ]
        if not blocks:
            continue
        each = [log.array(block.document["codes_digest"]) for block in blocks]
        lengths = [len(values) for values in each]
        made = [
            image_index[image_of(stimulus)]
            for block, n in zip(blocks, lengths, strict=True)
            for stimulus in block.document["stimuli"][:n]
        ]
        generations = [
            -1 if b.document["generation"] is None else b.document["generation"] for b in blocks
        ]
        yield table(
            f"codes_{thread.name}",
            f"The codes from which the generator of thread {thread.name} made images.",
            {
                "block_index": (COLUMNS["block_index"], np.repeat(_block_indices(blocks), lengths)),
                "generation": (COLUMNS["generation"], np.repeat(_integers(generations), lengths)),
                "image_index": ("Row of the table 'images'.", _integers(made)),
                "code": ("Generator input, (code_dim,).", np.concatenate(each)),
            },
        )


def events(session: LoggedSession) -> Any:
    """What happened besides blocks: commands, notes, restarts, rigs, the end."""
    return table(
        "session_events",
        "Commands, amendments, notes, restarts and the end of the session, by the server's clock.",
        {
            "session_s": (
                "Seconds since the session's start.",
                np.array([session.session_s(event.t_wall_ns) for event in session.remarks]),
            ),
            "kind": (
                "As in the session log.",
                np.array([event.kind.value for event in session.remarks], dtype=object),
            ),
            "text": (
                "What was commanded or noted, who came, how it ended.",
                np.array([_sentence(event) for event in session.remarks], dtype=object),
            ),
        },
    )


def _sentence(event: Event) -> str:
    document = event.document
    match event.kind:
        case EventKind.CONTROL:
            return f"{document['command']}: {document['text']}".rstrip(": ")
        case EventKind.AMENDED:
            found = Amended.model_validate(document)
            return f"from block {found.from_block}: {in_words(found.amendment)}"
        case EventKind.RIG_ATTACHED:
            said = [f"rig {document['rig_id']}", stamp(document["rig"]["simulated"])]
            if document["display_change_accepted"]:
                said.append("its display may differ from before, by the experimenter's leave")
            return "; ".join(part for part in said if part)
        case EventKind.SESSION_ENDED:
            return str(document["state"])
    return event.kind.value.replace("_", " ")


def rig_events(session: LoggedSession, timeline: list[Placed]) -> Any:
    """What happened at the rig besides showing images."""
    cells: dict[str, list[Any]] = defaultdict(list)
    session_s = []
    for block, when in zip(session.answered, timeline, strict=True):
        events = block.responses.events if block.responses else ()
        session_s.append(when.on_session(np.array([event.at_s for event in events], np.float64)))
        for event in events:
            cells["block_index"].append(block.document["index"])
            cells["trial"].append(-1 if event.trial is None else event.trial)
            for name in ("kind", "at_s", "ms", "ml", "text"):
                cells[name].append(getattr(event, name))
    return table(
        "rig_events",
        "Rewards, misses, rests, calibrations, warnings of display and recorder, as the rig told.",
        {
            "session_s": (
                "Seconds since the session's start; NaN if nothing ties the clock of at_s to it.",
                np.concatenate([np.empty(0), *session_s]),
            ),
            "at_s": ("Seconds on the display's clock.", np.array(cells["at_s"], np.float64)),
            "block_index": (COLUMNS["block_index"], _integers(cells["block_index"])),
            "trial": (
                "Trial within the block; -1 if it belongs to none.",
                _integers(cells["trial"]),
            ),
            "kind": ("What happened.", np.array(cells["kind"], dtype=object)),
            "ms": (
                "Duration of a reward in milliseconds; else 0.",
                np.array(cells["ms"], np.float64),
            ),
            "ml": (
                "Millilitres given by this rig since it was started, this reward included; 0 if it "
                "does not know.",
                np.array(cells["ml"], np.float64),
            ),
            "text": ("In words.", np.array(cells["text"], dtype=object)),
        },
    )


def table(name: str, description: str, columns: Columns) -> Any:
    """A `DynamicTable`; None if it would have no row."""
    n_rows = len(next(iter(columns.values()))[1])
    if not n_rows:
        return None
    return nwb("hdmf.common").DynamicTable(
        name=name,
        description=description,
        columns=[_vector(each, meaning, values) for each, (meaning, values) in columns.items()],
        id=list(range(n_rows)),
    )


def _intervals(
    name: str,
    description: str,
    start_s: NDArray[np.float64],
    stop_s: NDArray[np.float64],
    columns: Columns,
) -> Any:
    described: dict[str, tuple[str, NDArray[Any]]] = {
        "start_time": ("Onset, in seconds since the session's start.", start_s),
        "stop_time": ("End, in seconds since the session's start.", stop_s),
        **columns,
    }
    return nwb("pynwb.epoch").TimeIntervals(
        name=name,
        description=description,
        columns=[_vector(each, meaning, values) for each, (meaning, values) in described.items()],
        id=list(range(len(start_s))),
    )


def _vector(name: str, description: str, values: NDArray[Any]) -> Any:
    data = values.tolist() if values.dtype == object else values
    return nwb("hdmf.common").VectorData(name=name, description=description, data=data)


def _scored(block: LoggedBlock, objective: Objective | None) -> Iterator[dict[str, Any]]:
    document, responses = block.document, block.responses
    if responses is None:
        return
    ids = [stimulus["id"] for stimulus in document["stimuli"]]
    counts = responses.counts_by_stimulus(ids)
    means = responses.mean_by_stimulus(ids)
    values = np.full(len(ids), np.nan)
    if objective is not None:
        values = objective(means, responses.site_ids)
    for stimulus, repeats, value in zip(document["stimuli"], counts, values, strict=True):
        yield {
            "block_index": document["index"],
            "thread": document["thread"],
            "generation": -1 if document["generation"] is None else document["generation"],
            "role": stimulus["role"],
            "id": stimulus["id"],
            "image": image_of(stimulus),
            "n_counted": len(repeats),
            "score": float(value),
        }


def _objective(thread: str, settings: Mapping[str, Any]) -> Objective | None:
    """None, with a warning, if it is a laboratory's own that is not installed here."""
    if "objective" not in settings:
        return None
    try:
        choice = PluginChoice.model_validate(settings["objective"])
        objective: Objective = plugins.create("stimloop.objectives", choice)
    except StimloopError as error:
        logger.warning("no scores of thread %s: %s", thread, error)
        return None
    return objective


def _block_indices(blocks: list[LoggedBlock]) -> NDArray[np.int64]:
    return _integers([block.document["index"] for block in blocks])


def _integers(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
