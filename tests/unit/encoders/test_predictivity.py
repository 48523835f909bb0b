"""Two figures by one word; and ridge from products alone, against scikit-learn."""

import numpy as np
import pytest

from encoders.kernel_ridge import predicted_from_products
from encoders.predictivity import (
    from_recordings,
    predictivity,
    reliability_of,
    split_mean_r,
)
from encoders.recording import Recording


def data(n=80, p=200, sites=3, seed=0):
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, p)) + 2
    y = x[:, :sites] * 3 + x[:, sites : 2 * sites] + random.standard_normal((n, sites)) * 2
    return x, y


@pytest.mark.parametrize("p", [12, 200])
def test_ridge_from_products_is_scikit_learns(p):
    linear = pytest.importorskip("sklearn.linear_model")
    from encoders.baselines import RIDGE_STRENGTHS

    x, y = data(p=p)
    train, test = np.arange(60), np.arange(60, 80)
    centred = x - x[train].mean(axis=0)
    scale = (centred[train] ** 2).sum(axis=1).mean()
    strengths = scale * np.array(RIDGE_STRENGTHS)
    model = linear.RidgeCV(alphas=strengths, alpha_per_target=True).fit(centred[train], y[train])
    expected = model.predict(centred[test])
    found = predicted_from_products(x @ x.T, y, train, test)
    np.testing.assert_allclose(found, expected, atol=1e-8)
    assert len(set(np.log10(model.alpha_).round(6))) >= 1
    assert np.corrcoef(found[:, 0], y[test, 0])[0, 1] > 0.2


def test_images_that_are_all_alike_predict_the_mean():
    y = np.arange(20.0)[:, None]
    found = predicted_from_products(np.ones((20, 20)), y, np.arange(15), np.arange(15, 20))
    assert found[:, 0] == pytest.approx(7.0)


def test_both_figures_by_their_formulas():
    r, reliability = np.array([0.3, 0.5, 0.6]), np.array([0.5, 0.64, 0.9])
    found = predictivity(r, reliability)
    assert found.r == 0.5
    assert found.noise_corrected == pytest.approx(0.5 / 0.8)
    assert found.brain_score == pytest.approx(0.25 / 0.64)
    assert predictivity(r, None)[1:] == (None, None)


def test_a_site_of_noise_is_left_out_of_ours_alone():
    found = predictivity(np.array([0.1, 0.5, 0.6]), np.array([0.01, 0.64, 0.9]))
    assert found.noise_corrected == pytest.approx((0.5 / 0.8 + 0.6 / 0.9**0.5) / 2)


def test_each_split_is_fitted_to_its_own_images():
    seen = []
    images = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)
    light = images.mean(axis=(1, 2, 3))
    recording = Recording.of(images, np.stack([light, light])[:, :, None].repeat(4, axis=2))

    def fitted(train, test_images):
        seen.append((train.n_images, len(test_images)))
        return test_images.mean(axis=(1, 2, 3))[:, None].repeat(2, axis=1)

    predict = from_recordings(fitted, recording)
    r = split_mean_r(predict, recording.means, np.random.default_rng(0), n_splits=3)
    assert seen == [(54, 6)] * 3
    assert r == pytest.approx(1)
    assert reliability_of(recording, np.random.default_rng(0)) == pytest.approx(1)
    half = np.arange(30)
    split_mean_r(predict, recording.means, np.random.default_rng(0), images=half, n_splits=1)
    assert seen[-1] == (27, 3)


def test_one_trial_an_image_tells_no_reliability():
    images = np.random.default_rng(1).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    once = Recording.of(images, np.random.default_rng(0).random((2, 20, 1)))
    assert reliability_of(once, np.random.default_rng(0)) is None
