"""Live rates: what is shown is what was heard, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.live_interfaces import Fresh
from rig_client.acquisition.recording import Limits, Recording
from rig_client.handmap.rates import AVERAGE_S, STALE_S, LiveRates

RATE_HZ = 1000
WAIT_S = 0.05


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def span(*counts: float, duration_s: float = 0.1, fault: str = "", lag_s: float = 0.05) -> Fresh:
    return Fresh(duration_s, np.array(counts, float), 0.01, lag_s, fault)


def told(*spans: Fresh, hidden: bool = False, step_s: float = 0.1) -> LiveRates:
    rates = LiveRates()
    for number, one in enumerate(spans):
        rates.take(one, number * step_s, hidden=hidden)
    return rates


# --- from spans to rates ---------------------------------------------------------------------------


def test_a_rate_is_of_the_last_half_second_and_not_known_before():
    rates = told(*[span(1, 0)] * 4)
    assert "less than 0.5 s" in rates.reading().trouble
    assert rates.reading().rates is None
    rates.take(span(1, 0), 0.4, hidden=False)
    np.testing.assert_allclose(rates.reading().rates, [10, 0])
    for number in range(5):
        rates.take(span(3, 1), 0.5 + number / 10, hidden=False)
    np.testing.assert_allclose(rates.reading().rates, [30, 10])
    assert rates.reading().window_s == pytest.approx(0.5)
    assert rates.reading().has_fired.tolist() == [True, True]


def test_the_slow_average_is_right_from_the_first_span_on_and_forgets():
    rates = told(*[span(2)] * 6)
    np.testing.assert_allclose(rates.reading().smooth, [20])
    for number in range(int(10 * AVERAGE_S)):
        rates.take(span(0), 0.6 + number / 10, hidden=False)
    # The average of 0.6 s at 20 and 2 s at 0, weighted by exp(−age / 2 s).
    weights = np.exp(-np.arange(26) / 10 / AVERAGE_S)
    expected = 20 * weights[20:].sum() / weights.sum()
    np.testing.assert_allclose(rates.reading().smooth, [expected], rtol=1e-6)


@pytest.mark.parametrize("fault", ["message_gap", "no connection to the recorder"])
def test_trouble_is_no_data_and_not_zero_until_a_whole_window_is_heard_again(fault):
    rates = told(*[span(5)] * 6, span(0, duration_s=0, fault=fault))
    reading = rates.reading()
    assert (reading.trouble, reading.rates, reading.smooth) == (fault, None, None)
    for number in range(4):
        rates.take(span(1), 0.7 + number / 10, hidden=False)
    assert rates.reading().rates is None
    rates.take(span(1), 1.1, hidden=False)
    np.testing.assert_allclose(rates.reading().rates, [10])


def test_a_recorder_that_stops_without_a_word_is_no_data():
    rates = told(*[span(5)] * 6)
    nothing = span(0, duration_s=0)
    rates.take(nothing, 0.5 + STALE_S, hidden=False)
    assert rates.reading().trouble == ""
    rates.take(nothing, 0.6 + STALE_S, hidden=False)
    assert "nothing new for 1.1 s" in rates.reading().trouble
    assert rates.reading().rates is None


def test_a_baseline_is_of_what_was_heard_while_hidden_long_after_the_answer():
    """0.5 s after hiding, spans that began before count for nothing; then one second is needed."""
    rates = told(*[span(9)] * 10)
    for number in range(6):
        rates.take(span(9, lag_s=0), 1.0 + number / 10, hidden=True)
    assert rates.reading().baseline is None
    for number in range(6, 17):
        rates.take(span(1, lag_s=0), 1.0 + number / 10, hidden=True)
    np.testing.assert_allclose(rates.reading().baseline, [10])
    rates.take(span(9), 3.0, hidden=False)
    np.testing.assert_allclose(rates.reading().baseline, [10])


def test_a_gap_within_the_baseline_begins_it_anew():
    rates = LiveRates()
    for number in range(14):
        rates.take(span(1, lag_s=0), number / 10, hidden=True)
    rates.take(span(0, duration_s=0, fault="message_gap"), 1.4, hidden=True)
    for number in range(15, 20):
        rates.take(span(1, lag_s=0), number / 10, hidden=True)
    assert rates.reading().baseline is None


# --- from a recorder to spans ----------------------------------------------------------------------


def recording(clock: Clock, quiet_s: float | None = None) -> Recording:
    limits = Limits(settle_s=WAIT_S, is_measured=False, quiet_s=quiet_s)
    return Recording(("a", "b"), RATE_HZ, limits, clock)


def flow(made: Recording, clock: Clock, first: int, last: int, spikes: dict[int, str]) -> None:
    """A stream that says every 10 ms how far it has come."""
    for sample in range(first, last):
        clock.now_s += 1 / RATE_HZ
        if sample in spikes:
            made.spike(sample, spikes[sample])
        if sample % 10 == 0:
            made.heard(sample)


def test_every_spike_is_told_once_in_spans_that_follow_each_other():
    clock = Clock()
    made = recording(clock)
    assert "nothing has come" in made.fresh().fault
    flow(made, clock, 0, 301, {})
    assert "just begun" in made.fresh().fault
    random = np.random.default_rng(1)
    spikes = {int(sample): "ab"[n % 2] for n, sample in enumerate(random.integers(301, 3000, 300))}
    total, duration_s, begin = np.zeros(2), 0.0, 300 - round(WAIT_S * RATE_HZ)
    now = 301
    while now < 3000:
        step = int(random.integers(1, 120))
        flow(made, clock, now, now + step, spikes)
        now += step
        fresh = made.fresh()
        assert fresh.fault == ""
        total, duration_s = total + fresh.counts, duration_s + fresh.duration_s
    until = begin + round(duration_s * RATE_HZ)
    known = [site for sample, site in spikes.items() if begin <= sample < until]
    assert total.tolist() == [known.count("a"), known.count("b")]
    assert 0 < now - until <= 2 * WAIT_S * RATE_HZ, "no more is held back than stragglers need"
    assert fresh.lag_s == pytest.approx(WAIT_S, abs=0.02)


def test_stragglers_within_the_wait_are_counted():
    clock = Clock()
    made = recording(clock)
    flow(made, clock, 0, 301, {})
    made.fresh()
    flow(made, clock, 301, 401, {})
    assert made.fresh().counts.sum() == 0
    made.spike(360, "a")  # 40 ms behind
    flow(made, clock, 401, 601, {})
    assert made.fresh().counts.tolist() == [1, 0]


def test_a_gap_a_restart_and_a_caller_that_slept_are_faults_and_no_counts():
    clock = Clock()
    made = recording(clock)
    flow(made, clock, 0, 301, {})
    made.fresh()
    flow(made, clock, 301, 501, {310: "a"})
    made.gap("message_gap", 320, 330)
    fresh = made.fresh()
    assert (fresh.duration_s, "message_gap" in fresh.fault) == (0, True)
    flow(made, clock, 501, 601, {520: "b"})
    assert (made.fresh().counts.tolist(), fresh.counts.tolist()) == ([0, 1], [0, 0])
    made.restarted()
    assert made.fresh().fault
    flow(made, clock, 0, 301, {})
    assert "just begun" in made.fresh().fault
    flow(made, clock, 301, 4001, {})
    assert "not asked for in time" in made.fresh().fault


def test_a_stream_of_events_that_is_silent_goes_on_for_a_while_and_is_then_unknown():
    """Nothing says that time passes but this computer's clock; after three seconds nobody knows."""
    clock = Clock()
    made = recording(clock, quiet_s=0.25)
    for sample in range(0, 1000, 50):
        clock.now_s += 0.05
        made.spike(sample, "a")
    made.fresh()
    duration_s, total = 0.0, 0.0
    for _ in range(25):
        clock.now_s += 0.1
        made.drained()
        fresh = made.fresh()
        assert fresh.fault == ""
        duration_s, total = duration_s + fresh.duration_s, total + fresh.counts.sum()
    assert total == 2, (
        "of 900 and 950, behind which stragglers could have come when it was first asked"
    )
    assert duration_s == pytest.approx(2.5 - 0.25 + WAIT_S, abs=0.02)
    clock.now_s += 0.6
    made.drained()
    assert "nothing has come for 3.1 s" in made.fresh().fault


def test_a_busy_stream_of_events_that_falls_silent_is_doubted_at_once():
    """Ten spikes in 50 ms, all the time; then none for 0.6 s."""
    clock = Clock()
    made = recording(clock, quiet_s=0.25)
    for sample in range(0, 3000, 5):
        clock.now_s += 0.005
        made.spike(sample, "a")
    made.fresh()
    clock.now_s += 0.6
    made.drained()
    assert made.fresh().fault
