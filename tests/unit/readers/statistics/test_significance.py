"""Permutation tests and effect sizes against values that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from synth_server.readers.statistics.resemblance import resemblances, sampled_correlation
from synth_server.readers.statistics.significance import (
    N_PERMUTATIONS,
    cohens_d,
    correlation_p,
    difference_p,
)


def test_p_of_a_difference_that_can_be_counted(random):
    """Of the 20 ways to part 1…6 into threes, two are as far apart as 1 2 3 | 4 5 6."""
    p = difference_p(np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), random)
    assert p == pytest.approx(0.1, abs=0.012)


def test_p_at_its_ends(random):
    assert difference_p(np.ones(5), np.ones(5), random) == 1.0
    far = difference_p(np.zeros(30), np.ones(30), random)
    assert far == 1 / (N_PERMUTATIONS + 1)
    assert difference_p(np.empty(0), np.ones(5), random) is None
    assert difference_p(np.ones(1), np.ones(1), random) is None


def test_p_is_uniform_where_nothing_differs():
    p = [
        difference_p(*np.random.default_rng(seed).normal(size=(2, 8)), np.random.default_rng(seed))
        for seed in range(80)
    ]
    assert 0.4 < np.mean(p) < 0.6
    assert np.mean(np.array(p) < 0.2) == pytest.approx(0.2, abs=0.12)


def test_p_of_a_correlation(random):
    x = np.arange(20.0)
    assert correlation_p(x, 3 - 2 * x, random) == 1 / (N_PERMUTATIONS + 1)
    noise = np.random.default_rng(3).normal(size=20)
    expected = pearsonr(x, noise).pvalue
    assert correlation_p(x, noise, random) == pytest.approx(expected, abs=0.03)
    assert correlation_p(x, np.ones(20), random) is None
    assert correlation_p(x[:3], x[:3], random) is None


def test_d_is_cohens(random):
    first, second = np.array([2.0, 4, 6, 8]), np.array([1.0, 2, 3])
    found = cohens_d(first, second, random)
    assert found is not None
    pooled = np.sqrt((3 * first.var(ddof=1) + 2 * second.var(ddof=1)) / 5)
    assert found.value == pytest.approx((5 - 2) / pooled)
    assert cohens_d(first, second[:1], random) is None


def test_d_holds_what_is_true():
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        found = cohens_d(random.normal(1, 1, 100), random.normal(0, 1, 100), random)
        assert found is not None
        estimate = found.estimate()
        assert estimate.low is not None
        assert estimate.high is not None
        held += estimate.low <= 1 <= estimate.high
    assert 51 <= held <= 60


def test_correlations_are_those_of_scipy(random):
    first = random.integers(0, 5, 30).astype(float)
    second = first + random.integers(0, 8, 30)
    drawn = random.integers(30, size=(500, 30))
    found = sampled_correlation(first, second, drawn)
    assert found.value == pytest.approx(pearsonr(first, second).statistic)
    ranked = sampled_correlation(first, second, drawn, of_ranks=True)
    assert ranked.value == pytest.approx(spearmanr(first, second).statistic)
    again = [spearmanr(first[rows], second[rows]).statistic for rows in drawn]
    assert ranked.low == pytest.approx(np.percentile(again, 2.5))


def test_what_never_varies_correlates_with_nothing(random):
    drawn = random.integers(6, size=(50, 6))
    assert sampled_correlation(np.ones(6), np.arange(6.0), drawn).value is None


def test_resemblance_is_to_the_mean():
    ours = np.array([[1.0, 0, 0, 1], [0, 1, 1, 2]])
    theirs = np.array([[0.5, 0.5, 0.5, 1.5], [5, 5, 5, 5], [3, 3, 3, 1]])
    found = resemblances(theirs, ours)
    assert found[0] == pytest.approx(1.0)
    assert np.isnan(found[1])
    assert found[2] == pytest.approx(-1.0)
