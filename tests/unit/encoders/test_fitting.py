"""Fitting: from images to an encoder, on neurons whose rates are known."""

import numpy as np
import pytest
import torch

from encoders.encoder import DifferentiableEncoder, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureStore, Tap
from encoders.fitting import FitSettings, fit, published
from encoders.gradient import AdamSettings
from encoders.recording import Recording
from encoders.two_stage import Penalties
from encoders.validation import correlations
from protocols.errors import DataError
from protocols.interfaces import Encoder

SMALL = Tap(layer="blocks.1", input_px=None, weights="random")
DEEPER = Tap(layer="blocks.2", input_px=None, weights="random")
WEAK = Penalties(spatial=0.02, mixing=0.02)
FAST = FitSettings(taps=(SMALL,), penalties=(WEAK,), max_sweeps=4)


def smooth_images(n: int, height: int = 24, width: int = 40) -> np.ndarray:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (n, height // 8, width // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def local_rates(images: np.ndarray) -> np.ndarray:
    """Two sites: red against green at the left, blue at the right; `(2, n)` spikes/s."""
    values = images.astype(float)
    left, right = values[:, 8:16, 8:16].mean((1, 2)), values[:, 8:16, 24:32].mean((1, 2))
    return np.stack([20 + 0.05 * (left[:, 0] - left[:, 1]), 0.1 * right[:, 2]])


@pytest.fixture(scope="module")
def recording() -> Recording:
    images = smooth_images(160)
    return Recording.of(images, local_rates(images), ["left", "right"])


@pytest.fixture(scope="module")
def store() -> FeatureStore:
    return FeatureStore(device="cpu")


@pytest.fixture(scope="module")
def halves(recording):
    return recording.of_images(np.arange(120)), recording.of_images(np.arange(120, 160))


def test_a_fit_predicts_images_it_never_saw_in_their_units(halves, store):
    train, test = halves
    encoder = fit(train, FAST, store).encoder
    predicted = encoder.predict(test.images)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder, DifferentiableEncoder)
    assert predicted.dtype == np.float64
    assert correlations(predicted, test.means).min() > 0.6
    assert predicted.mean(axis=0) == pytest.approx(test.means.mean(axis=0), rel=0.15)
    assert np.array_equal(encoder.predict(test.images, store).round(3), predicted.round(3))


def test_masks_lie_where_the_sites_look(recording, store):
    encoder = fit(recording, FAST, store).encoder
    assert isinstance(encoder, TwoStageEncoder)
    weight = encoder.readout.masks.square().sum(dim=1)
    assert weight.shape == (2, 10)
    centre = (weight * (torch.arange(10) + 0.5)).sum(dim=1) / weight.sum(dim=1)
    assert abs(centre[0] - 3) < 1.5
    assert abs(centre[1] - 7) < 1.5
    assert (encoder.readout.masks.sum(dim=(1, 2)) >= 0).all()


def test_rates_are_differentiable_and_agree_with_predict(recording, store):
    encoder = fit(recording, FAST, store).encoder
    pixels = torch.tensor(recording.images[:2]).permute(0, 3, 1, 2) / 255
    pixels.requires_grad_()
    rates = encoder.rates(pixels)
    assert rates.shape == (2, 2)
    expected = torch.tensor(encoder.predict(recording.images[:2])).float()
    torch.testing.assert_close(rates.detach(), expected, rtol=1e-3, atol=1e-3)
    rates[:, 0].sum().backward()
    assert pixels.grad is not None
    assert pixels.grad.abs().sum() > 0


def test_penalties_and_layer_are_chosen_inside_the_training_set(recording, store):
    settings = FAST.model_copy(
        update={
            "taps": (SMALL, DEEPER),
            "penalties": (WEAK, Penalties(spatial=50, mixing=50)),
            "combine": "best",
        }
    )
    found = fit(recording, settings, store)
    assert isinstance(found.encoder, TwoStageEncoder)
    scores = {(c.tap, c.penalties.spatial): c.median_r for c in found.candidates}
    assert len(scores) == 4
    assert scores[SMALL, 0.02] > scores[SMALL, 50]
    assert found.encoder.tap == max(scores, key=lambda key: scores[key])[0]


def test_an_ensemble_is_an_encoder_in_the_same_units(halves, store):
    train, test = halves
    settings = FAST.model_copy(update={"taps": (SMALL, DEEPER)})
    encoder = fit(train, settings, store).encoder
    assert isinstance(encoder, EnsembleEncoder)
    assert isinstance(encoder, DifferentiableEncoder)
    predicted = encoder.predict(test.images, store)
    assert correlations(predicted, test.means).min() > 0.6
    assert predicted.mean(axis=0) == pytest.approx(test.means.mean(axis=0), rel=0.15)
    pixels = torch.tensor(test.images[:2]).permute(0, 3, 1, 2) / 255
    expected = torch.tensor(predicted[:2]).float()
    torch.testing.assert_close(encoder.rates(pixels), expected, rtol=1e-3, atol=1e-3)


def test_ensembles_nest_and_refuse_strangers(recording, store):
    one = fit(recording, FAST, store).encoder
    other = fit(recording.of_sites(["right", "left"]), FAST, store).encoder
    rates = one.predict(recording.images, store)
    pair = EnsembleEncoder.calibrated([one, one], [rates, rates], recording.means)
    whole = pair.predict(recording.images, store)
    nested = EnsembleEncoder.calibrated([pair, one], [whole, rates], recording.means)
    assert correlations(nested.predict(recording.images, store), rates).min() > 0.999
    with pytest.raises(DataError, match="different sites"):
        EnsembleEncoder.calibrated([one, other], [rates, rates], recording.means)
    with pytest.raises(DataError, match="needs members"):
        EnsembleEncoder.calibrated([], [], recording.means)


def test_a_mean_over_more_repetitions_weighs_more(store):
    images = smooth_images(100)
    truth = local_rates(images)
    random = np.random.default_rng(1)
    trials = truth[:, :, None] + random.normal(0, 12, (2, 100, 20))
    trials[:, ::2, 1:] = np.nan
    recording = Recording.of(images, trials)
    errors = {}
    for weighting in ("repetitions", "equal"):
        settings = FAST.model_copy(update={"weighting": weighting})
        predicted = fit(recording, settings, store).encoder.predict(images, store)
        errors[weighting] = ((predicted - truth.T) ** 2).mean()
    assert errors["repetitions"] < errors["equal"]


def test_gaps_in_the_means_are_left_out(recording, store):
    responses = recording.means.T.copy()
    responses[0, :40] = np.nan
    encoder = fit(Recording.of(recording.images, responses), FAST, store).encoder
    predicted = encoder.predict(recording.images, store)
    assert np.isfinite(predicted).all()
    assert correlations(predicted[:40], recording.means[:40]).min() > 0.6


def test_sites_that_cannot_be_fitted_are_named(recording, store):
    responses = recording.means.T.copy()
    responses[1] = 4
    with pytest.raises(DataError, match="always answers 4"):
        fit(Recording.of(recording.images, responses), FAST, store)


def test_progress_reaches_the_total_that_it_announced(recording, store):
    told = []
    settings = FAST.model_copy(update={"taps": (SMALL, DEEPER), "n_folds": 2})
    fit(recording, settings, store, lambda done, total, what: told.append((done, total)))
    assert told[0] == (0, 8)
    assert told == [(i, 8) for i in range(9)]


def test_the_published_recipe_runs_on_any_tap(recording, store):
    settings = published(SMALL)
    assert settings.adam == AdamSettings()
    assert (settings.adam.learning_rate, settings.adam.drop_epoch) == (0.01, 25)
    assert (settings.adam.max_epochs, settings.adam.batch_size) == (40, 50)
    assert settings.penalties == (Penalties(spatial=0.1, mixing=0.1, smoothness=1),)
    assert published().taps[0].grayscale
    encoder = fit(recording, settings, store).encoder
    assert np.isfinite(encoder.predict(recording.images[:4], store)).all()


def test_a_fit_is_a_function_of_data_and_settings(recording, store):
    first, again = (fit(recording, FAST, store).encoder for _ in range(2))
    assert torch.equal(first.readout.masks, again.readout.masks)


def test_images_of_another_shape_than_the_fits_are_refused(recording, store):
    encoder = fit(recording, FAST, store).encoder
    with pytest.raises(DataError, match="do not fit the readout"):
        encoder.predict(smooth_images(2, 40, 24))
