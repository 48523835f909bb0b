"""Counts on one scale: baselines, and drift that the references tell."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from protocols.experiments.normalisation import (
    NormalisationSettings,
    Normaliser,
    mean_of_measured,
)

SITES = ("a", "b")
NOT_SHOWN = np.full(2, np.nan)
REFERENCES = np.array([[2.0, 10.0], [4.0, 10.0], [6.0, 40.0]])
COUNTS = np.array([[8.0, 20.0], [np.nan, np.nan]])


def normaliser(references=REFERENCES, blank=NOT_SHOWN, **settings):
    made = Normaliser(NormalisationSettings(**settings))
    made.learn(SITES, references, blank)
    return made


def test_by_default_counts_stay_as_they_are():
    counts = normaliser(REFERENCES[:0])(COUNTS)
    assert np.array_equal(counts, COUNTS, equal_nan=True)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"baseline": "given", "baseline_counts": {"b": 5.0}}, [8, 15]),
        ({"baseline": "references"}, [4, 0]),
        ({"baseline": "blank"}, [7, 18]),
        ({"scale": "mean"}, [2, 1]),
        ({"baseline": "blank", "scale": "mean"}, [7 / 3, 1]),
        ({"baseline": "references", "scale": "sd"}, [4 / np.sqrt(8 / 3), 0]),
        ({"scale": "sd"}, [8 / np.sqrt(8 / 3), 20 / np.sqrt(200)]),
    ],
)
def test_each_baseline_and_scale(settings, expected):
    on_scale = normaliser(blank=np.array([1.0, 2.0]), **settings)(COUNTS)
    assert on_scale[0] == pytest.approx(expected)
    assert np.isnan(on_scale[1]).all()


def test_a_gain_that_changes_is_cancelled():
    on_scale = Normaliser(NormalisationSettings(scale="mean", window_blocks=1))
    for gain in (1.0, 0.7, 0.5, 1.3):
        on_scale.learn(SITES, gain * REFERENCES, NOT_SHOWN)
        assert on_scale(gain * COUNTS)[0] == pytest.approx([2, 1])


def test_an_offset_and_a_gain_are_cancelled_together():
    on_scale = Normaliser(NormalisationSettings(baseline="references", scale="sd", window_blocks=1))
    for gain, offset in ((1.0, 0.0), (0.5, 3.0), (2.0, 1.0)):
        on_scale.learn(SITES, gain * REFERENCES + offset, NOT_SHOWN)
        assert on_scale(gain * COUNTS + offset)[0, 0] == pytest.approx(4 / np.sqrt(8 / 3))


def test_references_are_averaged_over_the_window_and_forgotten_after():
    on_scale = Normaliser(NormalisationSettings(scale="mean", window_blocks=2))
    levels = []
    for gain in (1.0, 3.0, 5.0):
        on_scale.learn(SITES, gain * REFERENCES, NOT_SHOWN)
        levels.append(COUNTS[0, 0] / on_scale(COUNTS)[0, 0])
    assert levels == pytest.approx([4, 8, 16])


def test_a_reference_that_was_missed_does_not_shift_the_scale():
    on_scale = Normaliser(NormalisationSettings(scale="mean", window_blocks=2))
    on_scale.learn(SITES, REFERENCES, NOT_SHOWN)
    missed = REFERENCES.copy()
    missed[2] = np.nan
    on_scale.learn(SITES, missed, NOT_SHOWN)
    assert on_scale(COUNTS)[0] == pytest.approx([2, 1])


def test_blocks_without_any_reference_leave_the_scale_as_it_was():
    on_scale = normaliser(scale="mean", window_blocks=1)
    on_scale.learn(SITES, np.full_like(REFERENCES, np.nan), NOT_SHOWN)
    assert on_scale(COUNTS)[0] == pytest.approx([2, 1])


def test_before_any_reference_was_measured_nothing_is_known():
    on_scale = normaliser(np.full_like(REFERENCES, np.nan), scale="mean")
    assert np.isnan(on_scale(COUNTS)).all()


def test_a_silent_site_is_not_divided_by_nothing():
    silent = REFERENCES * [0.0, 1.0]
    for scale in ("mean", "sd"):
        on_scale = normaliser(silent, scale=scale)(COUNTS)
        assert on_scale[0, 0] == pytest.approx(8 * 3)


def test_its_arguments_stay_as_they_are():
    counts = COUNTS.copy()
    normaliser(scale="mean")(counts)
    assert np.array_equal(counts, COUNTS, equal_nan=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": "given"}, "baseline_counts go with"),
        ({"baseline_counts": {"a": 1.0}}, "baseline_counts go with"),
        ({"baseline": "references", "scale": "mean"}, "nothing to divide by"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        NormalisationSettings(**settings)


def test_means_are_of_what_was_measured():
    values = np.array([[1.0, np.nan], [3.0, np.nan]])
    assert np.array_equal(mean_of_measured(values), [2, np.nan], equal_nan=True)


# --- what it is for ----------------------------------------------------------------------------

N_BLOCKS, N_EVOLVED, N_REFERENCES = 60, 30, 20
DRIFTS = {
    "none": np.ones(N_BLOCKS),
    "falls to half": np.linspace(1, 0.5, N_BLOCKS),
    "slow oscillation": 1 + 0.4 * np.sin(2 * np.pi * np.arange(N_BLOCKS) / 30),
}


def recorded(drift, random):
    """True rates of images that get better, their counts, and those of references."""
    level = np.linspace(2, 8, N_BLOCKS)[:, None]
    true = level * random.lognormal(0, 0.3, (N_BLOCKS, N_EVOLVED))
    of_references = random.gamma(2, 1.5, N_REFERENCES)
    gain = DRIFTS[drift][:, None]
    return true, random.poisson(gain * true), random.poisson(gain * of_references)


def fitness_of(counts, references, settings):
    on_scale = Normaliser(settings)
    found = []
    for evolved, natural in zip(counts, references, strict=True):
        on_scale.learn(("a",), natural[:, None].astype(float), np.array([np.nan]))
        found.append(on_scale(evolved[:, None].astype(float))[:, 0])
    return np.array(found)


def correlation(a, b):
    """Spearman's, over all images of all blocks: what an optimizer with a memory relies on."""
    ranks = [np.argsort(np.argsort(values.ravel())) for values in (a, b)]
    return np.corrcoef(*ranks)[0, 1]


def growth(fitness):
    """How much better the last ten blocks are than the first ten."""
    return fitness[-10:].mean() / fitness[:10].mean()


@pytest.mark.parametrize("drift", ["falls to half", "slow oscillation"])
def test_normalisation_rescues_the_order_of_images_across_blocks(drift, random):
    true, counts, references = recorded(drift, random)
    raw = correlation(fitness_of(counts, references, NormalisationSettings()), true)
    on_scale = fitness_of(counts, references, NormalisationSettings(scale="mean"))
    assert correlation(on_scale, true) > raw + 0.05


def test_normalisation_rescues_what_was_gained(random):
    true, counts, references = recorded("falls to half", random)
    raw = fitness_of(counts, references, NormalisationSettings())
    on_scale = fitness_of(counts, references, NormalisationSettings(scale="mean"))
    assert growth(raw) < 0.65 * growth(true)
    assert growth(on_scale) == pytest.approx(growth(true), rel=0.15)


def test_without_drift_little_is_lost(random):
    true, counts, references = recorded("none", random)
    raw = correlation(fitness_of(counts, references, NormalisationSettings()), true)
    on_scale = fitness_of(counts, references, NormalisationSettings(scale="mean"))
    assert correlation(on_scale, true) > raw - 0.02
