"""PSTH, baseline, latency, and the count window with the highest reliability.

Everything comes from the spike times that the log keeps. The count window is chosen on half of the
repetitions and its reliability reported on the other half, which was not used to choose it.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.documents import EventKind
from protocols.errors import DataError
from protocols.settings import Frozen
from protocols.spike_times import PackedTimes, check_packed, ticks_after
from protocols.vocabulary import Timing
from synth_server.session.log import SessionLog

BIN_MS = 5
STEP_MS = 10
STARTS_MS = range(40, 101, STEP_MS)
LENGTHS_MS = range(50, 201, STEP_MS)
BASELINE_MS = (-20, 40)
"""After onset, before any answer to the image; the answer to the image before is over by then."""
LATENCIES_MS = (30, 200)
N_BINS, N_SD = 3, 3.0
LEAST_REPETITIONS = 4
Floats = NDArray[np.float64]


class Course(NamedTuple):
    """Spikes around onsets, in bins of `BIN_MS`.

    Attributes:
        edges_ms: `(n_bins + 1,)` after onset.
        binned: `(n, n_sites, n_bins)` spikes of each completed presentation with times.
        counted: `(n, n_sites)` spikes that the session counted, in its own window.
        stimulus: `(n,)` number of its image at its place.
        role: `(n,)` why it was shown.
        site_ids: Names of the sites.
        n_left_out: Presentations around which less was kept than around the first.
    """

    edges_ms: NDArray[np.int64]
    binned: NDArray[np.uint16]
    counted: Floats
    stimulus: NDArray[np.int64]
    role: tuple[str, ...]
    site_ids: tuple[str, ...]
    n_left_out: int = 0

    def counts(self, start_ms: float, stop_ms: float) -> Floats:
        """`(n, n_sites)` spikes in `[start, stop)` ms, whose edges are those of bins."""
        inside = (self.edges_ms[:-1] >= start_ms) & (self.edges_ms[1:] <= stop_ms)
        total: Floats = self.binned[:, :, inside].sum(axis=2, dtype=np.float64)
        return total

    def psth(self, rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        """`(n_sites, n_bins)` mean spikes/s."""
        return np.asarray(self.binned[rows].mean(axis=0) / (BIN_MS / 1000), np.float64)


class CountWindow(Frozen):
    """A count window `[start, stop)` ms, and how well counts in it repeat.

    Attributes:
        chosen_on: Split-half reliability on the repetitions that it was chosen by: too high by luck.
        reliability: On the other half of the repetitions.
    """

    start_ms: float
    stop_ms: float
    chosen_on: float | None
    reliability: float | None


class SiteCourse(Frozen):
    """One site's time course.

    Attributes:
        site: Its name.
        baseline: Spikes/s in `BASELINE_MS` after onset.
        rate: Spikes/s in the session's count window.
        snr: Rate above baseline, over the standard deviation of a single showing's baseline rate in
            a window as long; null without any spike in the baseline.
        latency_ms: First of three bins of 5 ms above baseline + 3 SD; null if there is none.
        reliability: Split-half, of the session's count window, on the half that chose no window.
        best: This site's best window; null with fewer than 4 repetitions.
    """

    site: str
    baseline: float
    rate: float
    snr: float | None
    latency_ms: float | None
    reliability: float | None
    best: CountWindow | None


class TimeCourses(Frozen):
    """`windows.json`.

    Attributes:
        n: Completed presentations with spike times.
        n_left_out: Presentations around which a shorter span was kept than around the first.
        n_repeated: Images with at least 4 repetitions: what windows are chosen by.
        count_window_ms: In which the session counted.
        best: One window for all sites: the best median reliability; null without repetitions.
        sites: As the recorder orders them.
    """

    n: int
    n_left_out: int = 0
    n_repeated: int
    count_window_ms: tuple[float, float]
    best: CountWindow | None
    sites: tuple[SiteCourse, ...]


def read_course(log_path: Path) -> tuple[Course, Timing]:
    """Spikes around every completed presentation whose times were kept; the first block's timing.

    Raises:
        LogError: If the log cannot be read.
        DataError: If no spike times were kept.
    """
    log = SessionLog(log_path)
    timing: Timing | None = None
    blocks: dict[int, dict[str, str]] = {}
    spans: dict[int, tuple[float, float]] = {}
    rows, names, roles, counted = [], [], [], []
    n_left_out = 0
    sites: tuple[str, ...] = ()
    edges = np.zeros(0, np.int64)
    try:
        for event in log.events(EventKind.BLOCK_PROPOSED, EventKind.RESPONSES_RECEIVED):
            if event.kind is EventKind.BLOCK_PROPOSED:
                stimuli = event.document["stimuli"]
                blocks[event.document["index"]] = {one["id"]: one["role"] for one in stimuli}
                own = Timing.model_validate(event.document["timing"])
                spans[event.document["index"]] = own.kept_span_s
                if timing is None:
                    timing = own
                    start, stop = (round(1000 * edge) for edge in timing.kept_span_s)
                    first = -(-start // BIN_MS) * BIN_MS
                    edges = np.arange(first, stop + 1, BIN_MS)
                continue
            responses = log.responses(event)
            known, sites = blocks.pop(responses.block_index), responses.site_ids
            start_s, stop_s = spans[responses.block_index]
            covers = 1000 * start_s <= edges[0] and 1000 * stop_s >= edges[-1]
            for shown in responses.completed():
                if shown.times is None or not covers:
                    n_left_out += shown.times is not None
                    continue
                times = responses.arrays[shown.times]
                rows.append(_binned(times, len(sites), edges, responses.tick_hz))
                names.append(shown.stimulus_id)
                roles.append(known[shown.stimulus_id])
                counted.append(shown.spike_counts or ())
    finally:
        log.close()
    if not rows or timing is None:
        raise DataError(
            "no spike times were kept in this session",
            where=str(log_path),
            expected="a recorder that gives spike times, and a completed presentation",
            got="counts only" if timing else "no block",
        )
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    stimulus = np.array([number[name] for name in names])
    binned, own_counts = np.stack(rows).astype(np.uint16), np.array(counted, np.float64)
    return Course(edges, binned, own_counts, stimulus, tuple(roles), sites, n_left_out), timing


def _binned(
    times: PackedTimes, n_sites: int, edges_ms: NDArray[np.int64], tick_hz: float
) -> NDArray[np.uint16]:
    """`(n_sites, n_bins)` spikes of one packed presentation."""
    check_packed(times, n_sites)
    ends, spikes = times[:n_sites].astype(np.int64), times[n_sites:]
    site = np.repeat(np.arange(n_sites), np.diff(ends, prepend=0))
    edges = np.array([ticks_after(edge / 1000, tick_hz) for edge in edges_ms.tolist()])
    place = np.searchsorted(edges, spikes, side="right") - 1
    n_bins = len(edges) - 1
    inside = (place >= 0) & (place < n_bins)
    found = np.bincount(site[inside] * n_bins + place[inside], minlength=n_sites * n_bins)
    return found.reshape(n_sites, n_bins).astype(np.uint16)


def time_courses(course: Course, timing: Timing) -> TimeCourses:
    """All sites' figures."""
    halves = _halves(course.stimulus)
    own = (timing.count_start_ms, timing.count_stop_ms)
    windows = [
        (start, start + length)
        for start in STARTS_MS
        for length in LENGTHS_MS
        if start + length <= course.edges_ms[-1]
    ]
    repeated = len(np.unique(course.stimulus[halves >= 0]))
    chosen = other = np.full((0, len(course.site_ids)), np.nan)
    if repeated >= 3 and windows:
        tables = [course.counts(*window) for window in windows]
        chosen = np.stack([_split_half(t, course.stimulus, halves, (0, 1)) for t in tables])
        other = np.stack([_split_half(t, course.stimulus, halves, (2, 3)) for t in tables])
    in_own = (
        _split_half(course.counted, course.stimulus, halves, (2, 3))
        if repeated >= 3
        else np.full(len(course.site_ids), np.nan)
    )
    return TimeCourses(
        n=len(course.stimulus),
        n_left_out=course.n_left_out,
        n_repeated=repeated,
        count_window_ms=own,
        best=_best(windows, np.median(np.nan_to_num(chosen), axis=1), np.median(other, axis=1)),
        sites=tuple(
            _site(
                course,
                number,
                own,
                in_own[number],
                _best(windows, chosen[:, number], other[:, number]),
            )
            for number in range(len(course.site_ids))
        ),
    )


def _site(
    course: Course,
    number: int,
    own: tuple[float, float],
    reliability: float,
    best: CountWindow | None,
) -> SiteCourse:
    psth = course.psth()[number]
    low, high = BASELINE_MS
    quiet = (course.edges_ms[:-1] >= low) & (course.edges_ms[1:] <= high)
    baseline = float(psth[quiet].mean()) if quiet.any() else float("nan")
    length_s = (own[1] - own[0]) / 1000
    rate = float(course.counted[:, number].mean()) / length_s
    # A count in a window as long as the session's has this standard deviation, if it is Poisson.
    noise = np.sqrt(baseline / length_s) if baseline > 0 else 0.0
    return SiteCourse(
        site=course.site_ids[number],
        baseline=round(baseline, 3),
        rate=round(rate, 3),
        snr=round((rate - baseline) / noise, 3) if noise else None,
        latency_ms=latency_ms(psth, course.edges_ms, len(course.stimulus)),
        reliability=_known(reliability),
        best=best,
    )


def latency_ms(psth: Floats, edges_ms: NDArray[np.int64], n: int) -> float | None:
    """Start of the first of three bins in a row above baseline + 3 SD; None if there are none.

    Args:
        psth: `(n_bins,)` mean spikes/s of one site.
        edges_ms: `(n_bins + 1,)` after onset.
        n: Showings behind it. The SD of a bin is that of the baseline's bins, or that of Poisson
            counts, or that of one spike in all, whichever is largest: few bins can be equal by luck.
    """
    starts = edges_ms[:-1]
    quiet = psth[(starts >= BASELINE_MS[0]) & (edges_ms[1:] <= BASELINE_MS[1])]
    if len(quiet) < N_BINS:
        return None
    a_spike = 1 / (n * BIN_MS / 1000)
    mean = float(quiet.mean())
    spread = max(float(quiet.std(ddof=1)), float(np.sqrt(mean * a_spike)), a_spike)
    above = psth > mean + N_SD * spread
    above &= (starts >= LATENCIES_MS[0]) & (starts < LATENCIES_MS[1] + N_BINS * BIN_MS)
    row = np.convolve(above, np.ones(N_BINS), "valid") == N_BINS
    return float(starts[int(row.argmax())]) if row.any() else None


def _halves(stimulus: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n,)` 0 or 1: the repetitions that choose; 2 or 3: those that report; -1: of too few."""
    seen: dict[int, int] = defaultdict(int)
    total = np.bincount(stimulus)
    part = np.empty(len(stimulus), np.int64)
    for row, number in enumerate(stimulus.tolist()):
        turn = seen[number] % 4
        seen[number] += 1
        part[row] = (0, 2, 1, 3)[turn] if total[number] >= LEAST_REPETITIONS else -1
    return part


def _split_half(
    counts: Floats, stimulus: NDArray[np.int64], part: NDArray[np.int64], two: tuple[int, int]
) -> Floats:
    """`(n_sites,)`: correlation over images of two parts' mean counts, Spearman-Brown corrected."""
    used = np.unique(stimulus[part >= 0])
    means = []
    for one in two:
        rows = part == one
        sums = np.zeros((int(stimulus.max()) + 1, counts.shape[1]))
        np.add.at(sums, stimulus[rows], counts[rows])
        n = np.bincount(stimulus[rows], minlength=len(sums))[:, None]
        means.append((sums / np.maximum(n, 1))[used])
    a, b = (each - each.mean(axis=0) for each in means)
    size = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    r = np.where(size > 0, (a * b).sum(axis=0) / np.where(size > 0, size, 1), np.nan)
    corrected: Floats = 2 * r / (1 + np.maximum(r, -0.99))
    return corrected


def _best(windows: list[tuple[int, int]], chosen: Floats, other: Floats) -> CountWindow | None:
    if not len(chosen) or not np.isfinite(chosen).any():
        return None
    place = int(np.nanargmax(chosen))
    start, stop = windows[place]
    return CountWindow(
        start_ms=start,
        stop_ms=stop,
        chosen_on=_known(chosen[place]),
        reliability=_known(other[place]),
    )


def _known(value: float) -> float | None:
    return round(float(value), 3) if np.isfinite(value) else None
