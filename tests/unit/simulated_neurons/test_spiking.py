"""Counts: what the window integrates, how they vary, and how slowly the gain drifts."""

import numpy as np
import pytest

from protocols.seeds import random_stream
from protocols.spike_times import counts_in
from simulated_neurons.spiking import (
    TICK_HZ,
    Drive,
    drawn_counts,
    drawn_ticks,
    drift_gain,
    latencies,
)

RATES = np.array([0.0, 10.0, 60.0])


@pytest.mark.parametrize(
    ("window_s", "driven_s"),
    [
        ((0.05, 0.15), 0.1),
        ((0.07, 0.17), 0.08),
        ((0.0, 0.05), 0.0),
        ((0.15, 0.3), 0.0),
        ((-0.1, 0.1), 0.05),
        ((0.0, 1.0), 0.1),
        ((0.1, 0.12), 0.02),
    ],
)
def test_the_expected_count_is_the_integral_of_the_rate(window_s, driven_s):
    counts = Drive(RATES, baseline=4, on_s=0.1, latency_s=0.05).expected(window_s)
    length = window_s[1] - window_s[0]
    np.testing.assert_allclose(counts, RATES * driven_s + 4 * (length - driven_s), atol=1e-12)
    assert np.all(counts >= 0)


def test_adjacent_windows_add_up():
    def counts(start, stop):
        return Drive(RATES, baseline=3, on_s=0.1, latency_s=0.05).expected((start, stop))

    np.testing.assert_allclose(counts(0, 0.08) + counts(0.08, 0.2), counts(0, 0.2))


@pytest.mark.parametrize(
    ("noise", "fano"), [("poisson", 1), ("overdispersed", 1), ("overdispersed", 2.5)]
)
def test_noise_has_the_mean_and_the_fano_factor_asked_for(noise, fano):
    random = random_stream(0, "test")
    expected = np.repeat([0.0, 1.0, 6.0], 40_000)
    counts = drawn_counts(expected, noise, fano=fano, random=random).reshape(3, -1)
    assert np.array_equal(counts, np.rint(counts))
    assert counts.min() == 0
    assert not counts[0].any()
    np.testing.assert_allclose(counts[1:].mean(axis=1), [1, 6], rtol=0.03)
    np.testing.assert_allclose(counts[1:].var(axis=1) / counts[1:].mean(axis=1), fano, rtol=0.05)


def test_fano_does_not_touch_poisson():
    one, same = (
        drawn_counts(np.full(9, 5.0), "poisson", fano=fano, random=random_stream(0, "test"))
        for fano in (1, 9)
    )
    assert np.array_equal(one, same)


def test_without_noise_the_count_is_the_expectation_and_a_copy():
    expected = np.array([0.25, 3.0])
    counts = drawn_counts(expected, "none", fano=1, random=random_stream(0))
    assert np.array_equal(counts, expected)
    assert not np.shares_memory(counts, expected)


def drifts(seed: int, amplitude: float) -> np.ndarray:
    return np.array(
        [
            drift_gain(seed, block_index=block, place=place, amplitude=amplitude)
            for block in range(120)
            for place in (0.0, 0.25, 0.5, 0.75)
        ]
    )


def test_drift_is_slow_bounded_and_the_seeds_own():
    gains = drifts(1, 0.3)
    assert np.all(np.abs(gains - 1) <= 0.3)
    assert np.ptp(gains) > 0.3
    assert np.abs(np.diff(gains)).max() < 0.04
    assert np.array_equal(gains, drifts(1, 0.3))
    assert not np.allclose(gains, drifts(2, 0.3))
    assert np.all(drifts(1, 0) == 1)


def test_drift_runs_on_over_the_end_of_a_block():
    end = drift_gain(5, block_index=3, place=1, amplitude=0.5)
    assert end == pytest.approx(drift_gain(5, block_index=4, place=0, amplitude=0.5))


def test_a_transient_moves_spikes_and_makes_none():
    flat = Drive(RATES, baseline=4, on_s=0.1, latency_s=0.05)
    peaked = flat._replace(transient=0.8)
    np.testing.assert_allclose(peaked.expected((0.0, 0.3)), flat.expected((0.0, 0.3)))
    np.testing.assert_allclose(peaked.expected((0.05, 0.09)), RATES * 0.04 * 1.8)
    assert np.all(peaked.expected((0.1, 0.15))[1:] < flat.expected((0.1, 0.15))[1:])


def test_each_site_has_a_latency_of_its_own():
    found = latencies(0, ("a", "b", "c"), (50, 110))
    assert np.all((found >= 0.05) & (found < 0.11))
    assert len(set(found)) == 3
    assert np.array_equal(latencies(0, ("a", "b"), (50, 110)), found[:2])
    drive = Drive(np.array([0.0, 50.0, 50.0]), baseline=0, on_s=0.1, latency_s=found)
    random = random_stream(0, "test")
    ticks = [
        drawn_ticks(drive, drive.expected((0.0, 0.3)).round(), (0.0, 0.3), (-0.1, 0.4), random)
        for _ in range(20)
    ]
    for site in (1, 2):
        spikes = np.concatenate([each[site] for each in ticks]) / 30_000
        assert found[site] - 1e-4 <= spikes.min() <= found[site] + 0.02
        assert spikes.max() < found[site] + 0.1


def test_spike_times_give_the_count_and_follow_the_rate():
    """200 spikes/s from 50 to 150 ms, 10 before and after; the count of the window is given."""
    drive = Drive(np.array([200.0, 0.0]), baseline=10, on_s=0.1, latency_s=0.05)
    random = random_stream(0, "times")
    window_s, kept_s = (0.07, 0.17), (-0.1, 0.3)
    in_time = np.zeros(4)
    for _ in range(400):
        counts = drawn_counts(drive.expected(window_s), "poisson", fano=1, random=random)
        ticks = drawn_ticks(drive, counts, window_s, kept_s, random)
        assert counts_in(ticks, window_s, TICK_HZ).tolist() == counts.tolist()
        for place, span in enumerate([(-0.1, 0.05), (0.05, 0.15), (0.15, 0.3), (-0.1, 0.3)]):
            in_time[place] += counts_in(ticks, span, TICK_HZ)[0]
    np.testing.assert_allclose(in_time[:3] / 400, [1.5, 20, 1.5], rtol=0.1)
    assert in_time[3] == in_time[:3].sum()


def test_multiplicative_noise_scales_with_the_count_and_is_never_negative():
    expected = np.repeat([2.0, 8.0], 20_000)
    counts = drawn_counts(
        expected, "multiplicative", sigma=0.2, random=random_stream(0, "test")
    ).reshape(2, -1)
    assert counts.mean(axis=1) == pytest.approx([2, 8], rel=0.01)
    assert counts.std(axis=1) == pytest.approx([0.4, 1.6], rel=0.02)
    wide = drawn_counts(expected, "multiplicative", sigma=2, random=random_stream(0, "test"))
    assert wide.min() == 0
    exact = drawn_counts(expected, "multiplicative", random=random_stream(0, "test"))
    assert np.array_equal(exact, expected)
