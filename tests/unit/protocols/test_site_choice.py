"""Targets by what was measured: the reliable ones, and none where none is."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from protocols.errors import DataError
from protocols.experiments.site_choice import BestTargets, chosen_targets, reliabilities
from protocols.experiments.stretch import StretchSettings

SITES = ("noisy", "good", "fair", "silent")


@pytest.fixture
def counts():
    random = np.random.default_rng(0)
    signal = random.uniform(1, 8, (2, 60, 1))
    made = random.poisson(np.broadcast_to(3.0, (4, 60, 10))).astype(float)
    made[1] = random.poisson(np.broadcast_to(signal[0], (60, 10)) * 3)
    made[2] = random.poisson(np.broadcast_to(signal[1], (60, 10)))
    made[3] = 0
    made[1, 3, 2] = np.nan
    return made


def test_reliability_is_that_of_the_mean_over_all_passes(counts):
    """Against the variance that the means would have without noise: signal / (signal + noise / n)."""
    found = dict(zip(SITES, reliabilities(counts, np.random.default_rng(1)), strict=True))
    means = counts[2].mean(axis=1)
    noise = (counts[2].var(axis=1, ddof=1) / 10).mean()
    assert found["fair"] == pytest.approx(1 - noise / means.var(ddof=1), abs=0.04)
    assert found["good"] > found["fair"] > 0.6
    assert abs(found["noisy"]) < 0.5
    assert np.isnan(found["silent"])
    assert np.isnan(reliabilities(counts[:, :, :1], np.random.default_rng(1))).all()


def chosen(counts, wanted, predicted=SITES):
    return chosen_targets(wanted, counts, SITES, predicted, np.random.default_rng(1))


def test_the_best_are_chosen_among_those_that_can_be_fitted(counts):
    assert chosen(counts, BestTargets()) == ("good", "fair")
    assert chosen(counts, BestTargets(best=1)) == ("good",)
    assert chosen(counts, BestTargets(), ("noisy", "fair")) == ("fair",)


def test_no_reliable_site_is_an_error_that_says_the_best(counts):
    with pytest.raises(DataError, match="no site is reliable enough"):
        chosen(counts, BestTargets(least_reliability=0.9), ("noisy", "silent"))


def test_settings_take_names_or_a_choice():
    assert StretchSettings(targets={"best": 3}).named_targets == ()
    assert StretchSettings(targets=("a", "b")).named_targets == ("a", "b")
    with pytest.raises(ValidationError, match="twice"):
        StretchSettings(targets=("a", "a"))
    with pytest.raises(ValidationError):
        StretchSettings(targets=())
    with pytest.raises(ValidationError, match="by a mapping"):
        StretchSettings(targets={"best": 3}, encoder="e", candidates={"a": ("x",)})
