"""`Units` of an NWB file: every site's spike times, on the session's axis, and when it was observed.

Kept spans overlap where images follow each other quickly, and a spike in two of them is one spike. So
every instant belongs to one presentation only: the last one whose count window has begun or, if that
one's span is over by then, the next. Where a trial word told the recorder the onset, this is decided in
samples of the recorder's clock, and nothing is counted twice or lost at an edge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.spike_times import ticks_after, unpacked
from synth_server.readers.export.libraries import nwb
from synth_server.readers.log.logged_session import LoggedBlock, LoggedSession
from synth_server.readers.log.timeline import Placed
from synth_server.session.log import SessionLog

SAME_CLOCK_S = 0.05
"""By how much two onsets may be further apart on the recorder's clock than on the session's axis."""


SEAM_S = 1e-3
"""By how much the ends of two spans that join may differ on the session's axis: the clocks drift."""


@dataclass
class KeptSpan:
    """The span of one presentation whose spike times were kept, in ticks around its onset.

    Attributes:
        session_s: The onset on the session's axis.
        recorder_s: The onset on the recorder's clock; None if no trial word told it.
        tick_hz: Ticks in a second.
        first: The first tick that belongs to it.
        stop: The first that does not any more.
        counts_from: Start of its count window.
        digest: Of its packed spike times.
        joins: Whether it begins where the one before stops.
    """

    session_s: float
    recorder_s: float | None
    tick_hz: float
    first: int
    stop: int
    counts_from: int
    digest: str
    joins: bool = False

    def at_s(self, ticks: Any) -> Any:
        """Ticks around the onset on the session's axis, s."""
        return self.session_s + np.asarray(ticks) / self.tick_hz


def kept_spans(session: LoggedSession, timeline: Sequence[Placed]) -> list[KeptSpan]:
    """Of all presentations with spike times, in the order of time; none overlaps another."""
    spans = [
        span
        for block, when in zip(session.answered, timeline, strict=True)
        for span in _of_block(block, when)
    ]
    spans.sort(key=lambda span: span.session_s)
    for one, following in pairwise(spans):
        gap = _ticks_between(one, following)
        edge = max(one.first, min(one.stop, gap + following.counts_from))
        following.joins = edge - gap >= following.first
        one.stop, following.first = edge, max(following.first, edge - gap)
    return [_within_session(span) for span in spans if span.first < span.stop]


def _of_block(block: LoggedBlock, when: Placed) -> Iterator[KeptSpan]:
    responses, timing = block.responses, block.timing
    if responses is None:
        return
    hz = responses.tick_hz
    for shown, session_s in zip(responses.presentations, when.onset_s, strict=True):
        if shown.times is not None:
            start, stop = (ticks_after(edge, hz) for edge in timing.kept_span_s)
            yield KeptSpan(
                session_s=float(session_s),
                recorder_s=shown.onset_s if shown.onset_clock == "recorder" else None,
                tick_hz=hz,
                first=start,
                stop=stop,
                counts_from=ticks_after(timing.count_window_s[0], hz),
                digest=shown.times,
            )


def _ticks_between(one: KeptSpan, following: KeptSpan) -> int:
    """From onset to onset; in the recorder's samples if both are on its clock, and it went on."""
    apart_s = following.session_s - one.session_s
    if one.recorder_s is not None and following.recorder_s is not None:
        on_recorder_s = following.recorder_s - one.recorder_s
        if abs(on_recorder_s - apart_s) < SAME_CLOCK_S:
            apart_s = on_recorder_s
    return round(apart_s * one.tick_hz)


def _within_session(span: KeptSpan) -> KeptSpan:
    """A virtual clock begins with the session: what would lie before is left out."""
    first = max(span.first, int(np.ceil(-span.session_s * span.tick_hz)))
    span.joins = span.joins and first == span.first
    span.first = min(first, span.stop)
    return span


def observed_s(spans: Sequence[KeptSpan]) -> NDArray[np.float64]:
    """`(n, 2)`: when sites were observed, on the session's axis; spans that join are one."""
    intervals: list[list[float]] = []
    for span in spans:
        start, stop = float(span.at_s(span.first)), float(span.at_s(span.stop))
        if span.joins and intervals and abs(start - intervals[-1][1]) < SEAM_S:
            intervals[-1][1] = max(intervals[-1][1], stop)
        else:
            intervals.append([start, stop])
    return np.array(intervals, dtype=np.float64).reshape(-1, 2)


def spike_times_s(
    spans: Sequence[KeptSpan], log: SessionLog, n_sites: int
) -> list[NDArray[np.float64]]:
    """Each site's spikes on the session's axis, rising; each spike once.

    Raises:
        LogCorrupted: If spike times are missing or were altered.
    """
    each: list[list[NDArray[np.float64]]] = [[np.empty(0)] for _ in range(n_sites)]
    for span in spans:
        for site, ticks in enumerate(unpacked(log.array(span.digest), n_sites)):
            own = ticks[(ticks >= span.first) & (ticks < span.stop)]
            each[site].append(span.at_s(own))
    return [np.sort(np.concatenate(parts)) for parts in each]


def units(
    session: LoggedSession, timeline: Sequence[Placed], log: SessionLog, electrodes: Any
) -> Any:
    """`Units`, row for row the table of sites; None if no spike time was kept, or no spike came."""
    spans = kept_spans(session, timeline)
    times_s = spike_times_s(spans, log, len(session.site_ids))
    if not any(len(one) for one in times_s):
        return None
    intervals_s = observed_s(spans)
    table = nwb("pynwb.misc").Units(
        name="units",
        description="Spike times of every site around images that were counted, in seconds since "
        "the session's start; nothing is known outside obs_intervals. In the neighbourhood of an "
        "onset they are as exact as the recorder's clock. What a site is (threshold crossings, a "
        "sorted unit) was set at the recorder.",
        resolution=1 / max(span.tick_hz for span in spans),
        electrode_table=electrodes,
    )
    table.add_column(name="site_id", description="Name of the site.")
    for place, (site, spikes_s) in enumerate(zip(session.site_ids, times_s, strict=True)):
        table.add_unit(
            spike_times=spikes_s, obs_intervals=intervals_s, electrodes=[place], site_id=site
        )
    return table
