"""Whether sites stayed what they were: gain and selectivity over blocks, from references alone."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.vocabulary import Role
from synth_server.readers.evolution.stability import (
    WINDOW,
    correlation,
    gain,
    reference_counts,
    reliability,
    site_stability,
    stabilities,
    warnings,
)
from synth_server.readers.log.evolved_thread import EvolvedThread, Showing
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from synth_server.session.build import new_session
from tests.playing import attach, play

N_BLOCKS, N_REFERENCES = 40, 20
TIME = np.linspace(0, 1, N_BLOCKS)[:, None]


def preferences(random):
    return random.gamma(1.5, 2.0, N_REFERENCES)


def judged(rates, random):
    return site_stability("t", "s", tuple(range(len(rates))), random.poisson(rates).astype(float))


def test_a_site_that_stays_is_left_in_peace(random):
    found = judged(np.tile(preferences(random), (N_BLOCKS, 1)), random)
    assert found.warning == ""
    assert np.mean(found.gain) == pytest.approx(1, abs=0.02)
    assert found.final_gain == pytest.approx(1, abs=0.25)
    assert found.selectivity > 0.85
    assert found.correlation[: 2 * WINDOW - 1] == (None,) * (2 * WINDOW - 1)
    assert min(found.correlation[2 * WINDOW - 1 :]) > 0.7


def test_a_gain_that_falls_is_told(random):
    fall = np.linspace(1, 0.5, N_BLOCKS)[:, None]
    sites = [judged(fall * preferences(random), random) for _ in range(30)]
    assert np.mean([each.final_gain for each in sites]) == pytest.approx(0.53, abs=0.03)
    told = [each.warning for each in sites]
    assert sum("times the spikes of the first blocks" in each for each in told) >= 28
    assert not any("preferred" in each for each in told)
    assert np.mean([each.gain[0] - each.gain[-1] for each in sites]) == pytest.approx(0.67, abs=0.1)


def test_other_preferences_are_told(random):
    rates = np.where(TIME < 0.5, preferences(random), preferences(random))
    found = judged(rates, random)
    assert "preferred otherwise" in found.warning
    assert found.selectivity < 0.5
    assert found.correlation[2 * WINDOW - 1] > 0.7
    assert found.correlation[-1] < 0.5


def test_whoever_looks_on_is_warned(random):
    """The same words as in the summary, of the driven sites."""

    class Driven:
        def sites(self, recorded):
            return (recorded[1],)

    thread = EvolvedThread("t", "evolve", Driven())
    thread.site_ids = ("a", "b")
    expected = preferences(random) + 1
    for phase in range(N_BLOCKS):
        for number, rate in enumerate(expected):
            counts = random.poisson([[rate, rate * (0.4 if phase > 20 else 1)]]).astype(float)
            thread.natural.append(Showing(str(number), Role.REFERENCE, phase, counts))
    (found,) = stabilities(thread)
    assert found.warning
    assert warnings(thread) == (f"t, b: {found.warning}",)


def test_few_sites_that_stay_are_warned_of(random):
    """Poisson counts of 2 spikes an image: of a hundred sites, hardly one."""
    rates = [np.tile(preferences(random) * 2 / 3, (N_BLOCKS, 1)) for _ in range(100)]
    assert sum(judged(each, random).warning != "" for each in rates) <= 2


def test_the_standard_error_is_the_spread_of_the_gain(random):
    expected = preferences(random) + 1
    found = [gain(random.poisson(expected).astype(float), expected) for _ in range(2000)]
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(1, abs=0.01)
    assert np.median([each.sem for each in found]) == pytest.approx(values.std(), rel=0.15)


def test_references_that_were_missed_are_left_out():
    expected = np.array([1.0, 2.0, 5.0])
    counts = np.array([2.0, np.nan, 10.0])
    assert gain(counts, expected) == pytest.approx((2.0, 0.0))
    assert gain(np.full(3, np.nan), expected) == (None, None)
    assert gain(counts, np.zeros(3)) == (None, None)
    assert gain(counts[:1], expected[:1]) == (2.0, None)


def test_correlation_needs_references_that_differ():
    a = np.arange(8.0)
    assert correlation(a, a)[0] == pytest.approx(1)
    assert correlation(np.ones(8), a) == (None, 8)
    assert correlation(a, np.ones(8)) == (0.0, 8), "now it answers all alike"
    assert correlation(a[:5], a[:5]) == (None, 5)


def test_reliability_is_the_part_that_is_not_noise(random):
    signal = random.normal(10, 2, 500)
    counts = signal + random.normal(0, 2, (WINDOW, 500))
    assert reliability(counts) == pytest.approx(4 / (4 + 4 / WINDOW), abs=0.06)
    assert reliability(random.normal(10, 2, (WINDOW, 500))) is None
    assert reliability(counts[:1]) is None


def test_a_site_too_noisy_to_tell_is_not_judged(random):
    found = judged(np.ones((N_BLOCKS, N_REFERENCES)), random)
    assert found.selectivity is None
    assert found.warning == ""


def test_a_short_session_gets_no_verdict(random):
    found = judged(np.tile(preferences(random), (2 * WINDOW - 1, 1)), random)
    assert (found.final_gain, found.selectivity, found.warning) == (None, None, "")
    assert len(found.gain) == 2 * WINDOW - 1


def test_blocks_are_generations_and_images_are_found_by_id():
    thread = EvolvedThread("t", "evolve", None)
    thread.site_ids = ("a", "b")
    for phase, name, count in ((0, "x", 1), (0, "y", 2), (2, "y", 5), ("test", "x", 9)):
        counts = np.array([[count, 0.0], [count + 2, 0.0]])
        thread.natural.append(Showing(name, Role.REFERENCE, phase, counts))
    thread.natural.append(Showing("x", Role.BEST_NATURAL, 0, np.ones((1, 2))))
    generations, counts = reference_counts(thread)
    assert generations == (0, 2)
    assert np.array_equal(counts[:, :, 0], [[2, 3], [np.nan, 6]], equal_nan=True)


def test_the_summary_names_each_driven_site(evolve_settings, tmp_path):
    session = new_session(evolve_settings, tmp_path / "session.sqlite")
    attach(session)
    play(session)
    session.log.close()
    record = read_record(tmp_path / "session.sqlite")
    found = summarize(record).stability
    assert [(each.thread, each.site) for each in found] == [
        ("site-00", "site-00"),
        ("site-01", "site-01"),
    ]
    assert found == tuple(s for t in record.threads.values() for s in stabilities(t))
    for each in found:
        assert each.generations == (0, 1, 2)
        assert each.gain == pytest.approx([1, 1, 1]), "made-up counts have no noise"
        assert each.gain_sem == pytest.approx([0, 0, 0], abs=1e-9)
    assert stabilities(EvolvedThread("t", "evolve", None)) == ()
