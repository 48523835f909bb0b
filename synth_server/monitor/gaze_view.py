"""Where the subject looked while the images of a block were on, for the page."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.documents import EventKind
from protocols.vocabulary import BlockResponses, Placement, Timing
from synth_server.monitor.documents import GazeDocument, PlacedImage
from synth_server.monitor.record import LoggedBlock, MonitorRecord
from synth_server.readers.log.timeline import on_one_clock
from synth_server.session.log import SessionLog, image_of

MAX_POINTS = 1500
"""On the page; more are thinned evenly."""
MAX_IMAGES = 9


def gaze_document(record: MonitorRecord, log: SessionLog, index: int) -> GazeDocument:
    """Of the block of that index; without points if no gaze was kept, or it is not answered yet.

    Raises:
        DataError: If there is no such block.
    """
    block = record.block(index)
    if block.answered_seq is None:
        return GazeDocument(block=index)
    proposed = next(log.events(EventKind.BLOCK_PROPOSED, after=block.proposed_seq - 1))
    answered = next(log.events(EventKind.RESPONSES_RECEIVED, after=block.answered_seq - 1))
    responses = log.responses(answered)
    samples = responses.gaze_samples()
    if samples is None or responses.gaze is None:
        return GazeDocument(block=index)
    places = _places(proposed.document, block)
    on, stimulus_of, while_on = _while_on(
        samples[:, 0].astype(np.float64) + responses.gaze.start_s,
        responses,
        Timing.model_validate(proposed.document["timing"]),
    )
    valid = on & (samples[:, 3] > 0)
    points = samples[valid, 1:3]
    within = _within(
        points, [places.get(stimulus_of.get(row, "")) for row in np.flatnonzero(valid)]
    )
    display = block.display
    return GazeDocument(
        block=index,
        points=tuple((round(float(x), 2), round(float(y), 2)) for x, y in _thinned(points)),
        n_samples=int(on.sum()),
        share_valid=float(valid.sum() / on.sum()) if on.any() else None,
        share_on_image=within if while_on else None,
        while_on=while_on,
        images=_images(proposed.document, places),
        fixation_point_deg=display.fixation_point_deg if display else (0, 0),
        bounds_deg=display.bounds_deg if display else None,
    )


def _places(document: dict[str, Any], block: LoggedBlock) -> dict[str, Placement]:
    """Stimulus id → its place, where it is known."""
    usual = block.display.place if block.display else None
    given = {
        one["id"]: Placement.model_validate(one["place"]) if one.get("place") else usual
        for one in document["stimuli"]
    }
    return {name: place for name, place in given.items() if place is not None}


def _images(document: dict[str, Any], places: dict[str, Placement]) -> tuple[PlacedImage, ...]:
    first: dict[Placement, str] = {}
    for one in document["stimuli"]:
        if one["id"] in places:
            first.setdefault(places[one["id"]], image_of(one))
    found = [PlacedImage(image=image, place=place) for place, image in first.items()]
    return tuple(found[:MAX_IMAGES])


def _while_on(
    times_s: NDArray[np.float64], responses: BlockResponses, timing: Timing
) -> tuple[NDArray[np.bool_], dict[int, str], bool]:
    """Which samples are of shown images, and of which: row → stimulus id; whether that is known."""
    onset_s, _, clock = on_one_clock(responses.presentations, responses.clock)
    stimulus: dict[int, str] = {}
    if clock == "recorder":
        return np.ones(len(times_s), dtype=bool), stimulus, False
    on = np.zeros(len(times_s), dtype=bool)
    for shown, start_s in zip(responses.presentations, onset_s, strict=True):
        stop_s = start_s + (shown.shown_ms or timing.on_ms) / 1000
        rows = np.flatnonzero((times_s >= start_s) & (times_s < stop_s))
        on[rows] = True
        stimulus |= dict.fromkeys(rows.tolist(), shown.stimulus_id)
    return on, stimulus, True


def _within(points: NDArray[np.float32], places: list[Placement | None]) -> float | None:
    """Share of the points that lie within their image; None if a place is not known."""
    known = [place for place in places if place is not None]
    if not known or len(known) < len(places):
        return None
    centre = np.array([(place.x_deg, place.y_deg) for place in known])
    half = np.array([place.size_deg / 2 for place in known])
    return float((np.abs(points - centre) <= half[:, None]).all(axis=1).mean())


def _thinned(points: NDArray[np.float32]) -> NDArray[np.float32]:
    if len(points) <= MAX_POINTS:
        return points
    thinned: NDArray[np.float32] = points[np.linspace(0, len(points) - 1, MAX_POINTS).astype(int)]
    return thinned
