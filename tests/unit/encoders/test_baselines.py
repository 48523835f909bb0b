"""Baselines: on the same features, and a clear word where their library is missing."""

import sys

import numpy as np
import pytest

from encoders.baselines import partial_least_squares, ridge
from encoders.features import FeatureStore, Tap
from encoders.recording import Recording
from encoders.validation import correlations
from protocols.errors import DataError, InstallationError

TAP = Tap(layer="blocks.0", input_px=None, weights="random")


@pytest.fixture
def recording() -> Recording:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (120, 1, 1, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    light = images.mean(axis=(1, 2, 3))
    return Recording.of(images, np.stack([light, 300 - light]))


@pytest.mark.parametrize("baseline", [ridge, partial_least_squares])
def test_baselines_predict_held_out_images_in_their_units(recording, baseline):
    pytest.importorskip("sklearn")
    train, test = recording.of_images(np.arange(90)), recording.of_images(np.arange(90, 120))
    predicted = baseline(TAP, FeatureStore(device="cpu"))(train, test.images)
    assert predicted.shape == (30, 2)
    assert correlations(predicted, test.means).min() > 0.9
    assert predicted.mean(axis=0) == pytest.approx(test.means.mean(axis=0), rel=0.1)


def test_gaps_are_refused(recording):
    pytest.importorskip("sklearn")
    recording.means[3, 1] = np.nan
    with pytest.raises(DataError, match="every site measured"):
        ridge(TAP, FeatureStore(device="cpu"))(recording, recording.images)


@pytest.mark.parametrize("baseline", [ridge, partial_least_squares])
def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch, baseline):
    for name in ("sklearn", "sklearn.linear_model", "sklearn.cross_decomposition"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InstallationError, match="pip install scikit-learn"):
        baseline(TAP, FeatureStore(device="cpu"))
