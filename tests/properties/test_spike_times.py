"""Spike times survive packing, and give the same counts in every window, to the tick."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DataError
from protocols.spike_times import (
    check_packed,
    counts_in,
    packed,
    packed_counts,
    packed_dtype,
    ticks_after,
    unpacked,
)

rates = st.sampled_from([1000.0, 24_414.0625, 25_000.0, 30_000.0, 40_000.0, 1e6, 1e9])
trains = st.lists(st.lists(st.integers(-9000, 9000), max_size=8), min_size=1, max_size=5)
edges = st.integers(-300, 300).map(lambda ms: ms / 1000)


def ticks_of(each: list[list[int]]) -> list[np.ndarray]:
    return [np.array(one, np.int64) for one in each]


@given(trains, edges, st.integers(1, 400), rates)
def test_packed_times_are_those_of_the_span(
    spikes: list[list[int]], start_s: float, length_ms: int, tick_hz: float
) -> None:
    span_s = (start_s, start_s + length_ms / 1000)
    low, high = (ticks_after(edge, tick_hz) for edge in span_s)
    found = unpacked(packed(ticks_of(spikes), span_s, tick_hz), len(spikes))
    expected = [sorted(tick for tick in one if low <= tick < high) for one in spikes]
    assert [one.tolist() for one in found] == expected


@given(trains, edges, st.integers(1, 300), rates)
def test_counts_of_any_window_within_the_span_are_exact(
    spikes: list[list[int]], start_s: float, length_ms: int, tick_hz: float
) -> None:
    window_s = (start_s, start_s + length_ms / 1000)
    times = packed(ticks_of(spikes), (-1, 1), tick_hz)
    counts = packed_counts(times, len(spikes), window_s, tick_hz)
    nanoseconds = [round(edge * 1e9) for edge in window_s]
    period = Fraction(10**9) / Fraction(tick_hz)
    kept = unpacked(times, len(spikes))
    by_hand = [
        sum(nanoseconds[0] <= int(tick) * period < nanoseconds[1] for tick in one) for one in kept
    ]
    assert counts.tolist() == by_hand
    assert counts_in(kept, window_s, tick_hz).tolist() == by_hand


@given(trains, st.integers(0, 100), st.integers(-3, 3))
def test_what_is_not_packed_right_is_refused(
    spikes: list[list[int]], place: int, change: int
) -> None:
    times = packed(ticks_of(spikes), (-1, 1), 30_000)
    ends = times[: len(spikes)].copy()
    ends[place % len(ends)] += change
    wrong = np.concatenate([ends, times[len(spikes) :]])
    in_order = (np.diff(ends, prepend=0) >= 0).all() and ends[-1] == len(times) - len(spikes)
    if not in_order:
        with pytest.raises(DataError, match="not packed"):
            check_packed(wrong, len(spikes))
    with pytest.raises(DataError):
        check_packed(times[:-1] if len(times) > len(spikes) else times[:0], len(spikes))


def test_a_site_out_of_order_is_refused() -> None:
    with pytest.raises(DataError, match="out of order"):
        check_packed(np.array([2, 2, 9, 5], np.int32), 2)
    check_packed(np.array([1, 2, 9, 5], np.int32), 2)


def test_long_spans_of_fast_clocks_are_64_bit() -> None:
    assert packed_dtype((-0.1, 0.3), 30_000) == np.int32
    assert packed_dtype((-0.1, 3), 1e9) == np.int64
