"""Scores: against textbook numbers, with gaps, and where nothing can be said."""

import numpy as np
import pytest

from encoders.recording import Recording
from encoders.validation import (
    correlation_interval,
    correlations,
    evaluate,
    explained_variance,
    noise_corrected,
    split_half_reliability,
)
from protocols.errors import DataError


def test_correlations_leave_out_what_was_not_measured(random):
    a, b = random.normal(size=(50, 3)), random.normal(size=(50, 3))
    gaps = b.copy()
    gaps[:10, 1] = np.nan
    r = correlations(a, gaps)
    assert r[0] == pytest.approx(np.corrcoef(a[:, 0], b[:, 0])[0, 1])
    assert r[1] == pytest.approx(np.corrcoef(a[10:, 1], b[10:, 1])[0, 1])


def test_a_constant_prediction_scores_zero_and_a_constant_measurement_nothing(random):
    values = random.normal(size=(20, 1))
    assert correlations(np.ones((20, 1)), values)[0] == 0
    assert np.isnan(correlations(values, np.ones((20, 1)))[0])
    with pytest.raises(DataError, match="do not fit"):
        correlations(values, values.T)


def test_explained_variance_is_that_of_the_mean_and_below(random):
    y = random.normal(size=(100, 1))
    assert explained_variance(y, y)[0] == 1
    assert explained_variance(np.full_like(y, y.mean()), y)[0] == pytest.approx(0)
    assert explained_variance(-y, y)[0] < -2


@pytest.mark.parametrize("n_repeats", [2, 10])
def test_reliability_and_the_noise_ceiling_are_those_of_the_noise(n_repeats):
    """Signal variance 1, noise variance 2 a trial: reliability n / (n + 2)."""
    random = np.random.default_rng(0)
    signal = random.normal(size=(3000, 4))
    trials = signal[:, :, None] + np.sqrt(2) * random.normal(size=(3000, 4, n_repeats))
    reliability = split_half_reliability(trials, random, n_splits=5)
    assert reliability == pytest.approx(n_repeats / (n_repeats + 2), abs=0.04)
    corrected = noise_corrected(correlations(signal, trials.mean(axis=2)), reliability)
    assert corrected == pytest.approx(1, abs=0.03)


def test_reliability_survives_ragged_repetitions():
    random = np.random.default_rng(0)
    trials = random.normal(size=(2000, 2, 1)) + random.normal(size=(2000, 2, 8))
    trials[::2, :, 5:] = np.nan
    trials[::10, :, 1:] = np.nan
    assert split_half_reliability(trials, random, 5) == pytest.approx(0.85, abs=0.05)


def test_unreliable_sites_are_not_corrected():
    assert np.isnan(noise_corrected(np.array([0.1]), np.array([0.01]))[0])
    assert np.isnan(noise_corrected(np.array([0.1]), np.array([-0.2]))[0])


class MeanLuminance:
    site_ids = ("b", "a")

    def predict(self, images):
        light = images.mean(axis=(1, 2, 3))
        return np.stack([light, -light], axis=1)


def a_recording(n_repeats: int | None) -> Recording:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    light = images.mean(axis=(1, 2, 3))
    responses = np.stack([-light, light])
    if n_repeats:
        responses = responses[:, :, None] + random.normal(size=(2, 60, n_repeats))
    return Recording.of(images, responses, ["a", "b"])


def test_an_encoder_is_scored_by_name_of_site():
    scores = evaluate(MeanLuminance(), a_recording(4), np.random.default_rng(0))
    assert [site.site for site in scores.sites] == ["b", "a"]
    assert scores.median("r") == pytest.approx(1, abs=0.02)
    assert scores.median("r_noise_corrected") == pytest.approx(1, abs=0.01)
    assert scores.sites[0].explained_variance == pytest.approx(1, abs=0.02)


def test_without_trials_there_is_no_reliability():
    scores = evaluate(MeanLuminance(), a_recording(None), np.random.default_rng(0))
    assert scores.median("r") == pytest.approx(1)
    assert scores.median("reliability") is None
    assert scores.sites[0].r_noise_corrected is None


def test_few_images_leave_a_wide_interval() -> None:
    """Of Fisher's table: r = 0.5 of 28 images lies between 0.16 and 0.74."""
    assert correlation_interval(0.5, 28) == pytest.approx((0.156, 0.736), abs=0.002)
    assert correlation_interval(0.5, 3) == (-1.0, 1.0)
    low, high = correlation_interval(1.0, 100)
    assert -1 <= low <= high <= 1
