"""Spike times relative to an image's onset: how they are packed, checked and counted.

Times are whole ticks of the recorder's clock (its samples), relative to the onset's tick. So a count
window's edges are exact, and counts can be computed again for another window from what was kept.

A packed presentation is one array: for each site the place after its last spike (`n_sites` numbers
that never fall), then all times, site by site, each site's in order. Its numbers are 32-bit unless
the kept span is longer than 2^31 ticks: then 64-bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError

Ticks: TypeAlias = NDArray[np.int64]
"""`(n_spikes,)` of one site, rising: whole ticks relative to the onset."""
PackedTimes: TypeAlias = NDArray[Any]
"""`(n_sites + n_spikes,)` int32 or int64, see above."""


@lru_cache(maxsize=4096)
def ticks_after(offset_s: float, tick_hz: float) -> int:
    """The first tick that is not before `offset_s` after tick 0; exact to the nanosecond."""
    nanoseconds = round(offset_s * 10**9)
    rate = Fraction(tick_hz).limit_denominator(10**6)
    return -((-nanoseconds * rate.numerator) // (10**9 * rate.denominator))


def packed_dtype(span_s: tuple[float, float], tick_hz: float) -> np.dtype[Any]:
    """int32, or int64 if the kept span `[start, stop)` s does not fit."""
    longest = max(abs(ticks_after(edge, tick_hz)) for edge in span_s)
    return np.dtype(np.int32 if longest < 2**31 else np.int64)


def packed(
    ticks: Sequence[NDArray[Any]], span_s: tuple[float, float], tick_hz: float
) -> PackedTimes:
    """One array of all sites' times; those outside the kept span are left out.

    Args:
        ticks: For each site `(n_spikes,)` whole ticks relative to the onset, in any order.
        span_s: Kept span, half-open `[start, stop)` s around the onset.
        tick_hz: Ticks in a second.
    """
    start, stop = (ticks_after(edge, tick_hz) for edge in span_s)
    site = np.repeat(np.arange(len(ticks)), [len(each) for each in ticks])
    spikes = np.concatenate([np.zeros(0, np.int64), *ticks]).astype(np.int64)
    inside = (spikes >= start) & (spikes < stop)
    site, spikes = site[inside], spikes[inside]
    ends = np.cumsum(np.bincount(site, minlength=len(ticks)))
    order = np.lexsort((spikes, site))
    times: PackedTimes = np.concatenate([ends, spikes[order]]).astype(packed_dtype(span_s, tick_hz))
    return times


def check_packed(times: PackedTimes, n_sites: int) -> None:
    """Raise `DataError` unless the array is a packed presentation of `n_sites` sites."""
    ends, spikes = times[:n_sites], times[n_sites:]
    fits = times.ndim == 1 and len(ends) == n_sites >= 1
    if not fits or (np.diff(ends, prepend=0) < 0).any() or ends[-1] != len(spikes):
        raise DataError(
            "spike times are not packed as they must be",
            expected=f"{n_sites} ends that never fall, the last of them the number of spikes",
            got=f"{times.shape} {times.dtype}, ends {ends.tolist()!r:.80}",
        )
    falls = np.flatnonzero(np.diff(spikes) < 0) + 1
    if not np.isin(falls, ends).all():
        raise DataError("spike times of a site are out of order")


def unpacked(times: PackedTimes, n_sites: int) -> tuple[Ticks, ...]:
    """Each site's `(n_spikes,)` times in ticks, rising.

    Raises:
        DataError: If the array is no packed presentation of `n_sites` sites.
    """
    check_packed(times, n_sites)
    ends = times[:n_sites].astype(np.int64)
    return tuple(np.split(times[n_sites:].astype(np.int64), ends[:-1]))


def packed_counts(
    times: PackedTimes, n_sites: int, window_s: tuple[float, float], tick_hz: float
) -> NDArray[np.float64]:
    """`(n_sites,)` spikes in the half-open window `[start, stop)` s after the onset, from packed times.

    Raises:
        DataError: If the array is no packed presentation of `n_sites` sites.
    """
    check_packed(times, n_sites)
    start, stop = (ticks_after(edge, tick_hz) for edge in window_s)
    spikes = times[n_sites:]
    so_far = np.concatenate([[0], np.cumsum((spikes >= start) & (spikes < stop))])
    until = so_far[times[:n_sites]]
    return np.diff(until, prepend=0).astype(np.float64)


def counts_in(
    ticks: Sequence[NDArray[Any]], window_s: tuple[float, float], tick_hz: float
) -> NDArray[np.float64]:
    """`(n_sites,)` spikes in the half-open window `[start, stop)` s after the onset."""
    start, stop = (ticks_after(edge, tick_hz) for edge in window_s)
    return np.array([((each >= start) & (each < stop)).sum() for each in ticks], np.float64)


def union_s(one_s: tuple[float, float], other_s: tuple[float, float]) -> tuple[float, float]:
    """The shortest span that covers both, `[start, stop)` s."""
    return min(one_s[0], other_s[0]), max(one_s[1], other_s[1])
