"""The two-stage readout: one definition of the maths, checked against loops and by recovery."""

import itertools

import numpy as np
import pytest
import torch

from encoders.alternating import _balanced, _ridge, _whitening, fit_alternating
from encoders.gradient import AdamSettings, fit_by_gradient
from encoders.two_stage import (
    Penalties,
    Readout,
    laplacian,
    mixed,
    published_loss,
    seen_through,
    squared_loss,
)
from protocols.errors import DataError

WEAK = Penalties(spatial=1e-3, mixing=1e-3)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_readout(n_sites: int, c: int, h: int, w: int) -> Readout:
    """Smooth masks at different places, mixed signs in the mixing."""
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    masks = torch.stack(
        [
            torch.exp(
                -((rows - h / 3).square() + (columns - w * (k + 1) / (n_sites + 1)).square()) / 4
            )
            for k in range(n_sites)
        ]
    )
    return Readout(
        masks / masks.flatten(1).norm(dim=1)[:, None, None],
        torch.randn(n_sites, c, generator=stream(1)) / c**0.5,
        torch.linspace(-1, 1, n_sites),
    )


def equal_weights(n: int, n_sites: int) -> torch.Tensor:
    return torch.full((n, n_sites), 1 / n)


@pytest.fixture
def features() -> torch.Tensor:
    """Wider than high: `(n, c, h, w)` = (200, 6, 4, 7)."""
    return torch.randn(200, 6, 4, 7, generator=stream())


def test_prediction_is_the_formula_on_maps_that_are_not_square(features):
    readout = a_readout(3, 6, 4, 7)
    expected = torch.zeros(5, 3)
    for n in range(5):
        for site in range(3):
            weighted = features[n] * readout.mixing[site][:, None, None]
            expected[n, site] = (readout.masks[site] * weighted.sum(0)).sum() + readout.bias[site]
    torch.testing.assert_close(readout(features[:5]), expected)


def test_either_stage_may_come_first(features):
    readout = a_readout(3, 6, 4, 7)
    by_mask = (seen_through(readout.masks, features) * readout.mixing).sum(2)
    by_mixing = (mixed(readout.mixing, features) * readout.masks).sum((2, 3))
    torch.testing.assert_close(by_mask, by_mixing)


def test_transposed_maps_are_refused(features):
    with pytest.raises(DataError, match="do not fit"):
        a_readout(3, 6, 4, 7)(features.mT)


def test_laplacian_is_that_of_the_publication():
    mask = torch.zeros(1, 4, 5)
    mask[0, 0, 2] = 1
    expected = torch.zeros(1, 4, 5)
    expected[0, 0, 1:4] = torch.tensor([-1.0, 4, -1])
    expected[0, 1, 2] = -1
    assert torch.equal(laplacian(mask), expected)


def test_losses_are_their_formulas(features):
    readout, penalties = a_readout(2, 6, 4, 7), Penalties(spatial=0.3, mixing=0.7, smoothness=2)
    responses = torch.randn(200, 2, generator=stream(2))
    errors = (readout(features) - responses).square()
    rough = laplacian(readout.masks).square().sum((1, 2))
    squared = (
        errors.mean(0)
        + 0.3 * (readout.masks.square().sum((1, 2)) + 2 * rough)
        + 0.7 * readout.mixing.square().sum(1)
    )
    arguments = (readout, features, responses, equal_weights(200, 2), penalties)
    torch.testing.assert_close(squared_loss(*arguments), squared)
    published = (
        errors.sum().sqrt()
        + 0.3 * (readout.masks.square().sum() + 2 * rough.sqrt().sum())
        + 0.7 * readout.mixing.square().sum()
    )
    torch.testing.assert_close(published_loss(*arguments), published)


def test_whitening_turns_the_mask_penalty_into_plain_l2():
    masks = torch.randn(3, 4, 7, generator=stream(), dtype=torch.float64)
    v = masks.flatten(1) @ torch.linalg.inv(_whitening(4, 7, 2.5))
    expected = masks.square().sum((1, 2)) + 2.5 * laplacian(masks).square().sum((1, 2))
    torch.testing.assert_close(v.square().sum(1), expected)


@pytest.mark.parametrize("p", [5, 50])
def test_ridge_solves_the_normal_equations_with_weights_and_a_free_bias(p):
    n, n_sites, penalty = 20, 3, 0.1
    x = torch.randn(n_sites, n, p, generator=stream(), dtype=torch.float64) + 3
    y = torch.randn(n, n_sites, generator=stream(1), dtype=torch.float64) - 5
    weights = torch.rand(n, n_sites, generator=stream(2), dtype=torch.float64)
    weights = weights / weights.sum(0)
    beta, bias = _ridge(x, y, weights, penalty)
    residual = torch.einsum("snp,sp->ns", x, beta) + bias - y
    torch.testing.assert_close((weights * residual).sum(0), torch.zeros(n_sites).double())
    slope = torch.einsum("snp,ns->sp", x, weights * residual) + penalty * beta
    torch.testing.assert_close(slope, torch.zeros(n_sites, p).double())


def test_balancing_keeps_the_product_and_lowers_the_penalty():
    penalties = Penalties(spatial=0.5, mixing=0.1)
    masks, mixing = torch.rand(2, 9, generator=stream()), 30 * torch.rand(2, 4, generator=stream())
    even_masks, even_mixing = _balanced(masks, mixing, penalties)
    product = torch.einsum("sp,sc->spc", masks, mixing)
    torch.testing.assert_close(torch.einsum("sp,sc->spc", even_masks, even_mixing), product)
    spatial, other = 0.5 * even_masks.square().sum(1), 0.1 * even_mixing.square().sum(1)
    torch.testing.assert_close(spatial, other)
    assert (spatial + other < 0.5 * masks.square().sum(1) + 0.1 * mixing.square().sum(1)).all()


def test_alternating_fit_recovers_a_readout(features):
    truth = a_readout(3, 6, 4, 7)
    responses = truth(features)
    found = fit_alternating(
        features, responses, equal_weights(200, 3), WEAK, max_sweeps=30, tolerance=1e-5
    )
    assert found.masks.shape == (3, 4, 7)
    predicted = found(torch.randn(100, 6, 4, 7, generator=stream(9)))
    expected = truth(torch.randn(100, 6, 4, 7, generator=stream(9)))
    assert np.corrcoef(predicted.flatten(), expected.flatten())[0, 1] > 0.99


def test_more_sweeps_never_raise_the_loss(features):
    responses = a_readout(3, 6, 4, 7)(features) + torch.randn(200, 3, generator=stream(3))
    weights, penalties = equal_weights(200, 3), Penalties(spatial=0.05, mixing=0.02)
    losses = [
        squared_loss(
            fit_alternating(
                features, responses, weights, penalties, max_sweeps=sweeps, tolerance=0.0
            ),
            features,
            responses,
            weights,
            penalties,
        )
        for sweeps in (1, 2, 4, 8, 16)
    ]
    assert all((b <= a + 1e-4).all() for a, b in itertools.pairwise(losses))


def test_images_of_no_weight_do_not_enter_the_fit(features):
    responses = a_readout(2, 6, 4, 7)(features)
    spoiled = responses.clone()
    spoiled[:20] = 1e3
    weights = equal_weights(200, 2).clone()
    weights[:20] = 0
    weights /= weights.sum(0)
    options = {"max_sweeps": 5, "tolerance": 0.0}
    one, other = (
        fit_alternating(features, y, weights, WEAK, **options) for y in (responses, spoiled)
    )
    torch.testing.assert_close(one.masks, other.masks, rtol=1e-3, atol=1e-4)


def test_each_site_is_fitted_on_its_own(features):
    responses = a_readout(70, 6, 4, 7)(features)
    options = {"max_sweeps": 3, "tolerance": 0.0}
    whole = fit_alternating(features, responses, equal_weights(200, 70), WEAK, **options)
    one = fit_alternating(features, responses[:, 66:67], equal_weights(200, 1), WEAK, **options)
    torch.testing.assert_close(whole.mixing[66:67], one.mixing, rtol=1e-3, atol=1e-3)


def test_gradient_descent_recovers_a_readout_and_hangs_on_its_seed_only(features):
    truth = a_readout(2, 6, 4, 7)
    weights, penalties = equal_weights(200, 2), Penalties(spatial=1e-2, mixing=1e-2)
    settings = AdamSettings(drop_epoch=100, max_epochs=120, initial_sd=0.3)
    state = torch.random.get_rng_state()
    fits = [
        fit_by_gradient(features, truth(features), weights, penalties, settings, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(fits[0].masks, fits[1].masks)
    assert not torch.equal(fits[0].masks, fits[2].masks)
    predicted, expected = fits[0](features), truth(features)
    for site in range(2):
        assert np.corrcoef(predicted[:, site], expected[:, site])[0, 1] > 0.95


def test_early_stopping_keeps_the_best_epoch(features):
    noise = torch.randn(200, 2, generator=stream(5))
    options = (features, noise, equal_weights(200, 2), Penalties(spatial=1e-4, mixing=1e-4))
    long, stopped = (
        fit_by_gradient(
            *options,
            AdamSettings(max_epochs=200, drop_epoch=199, validation_share=share, patience=3),
            seed=0,
        )
        for share in (0.0, 0.2)
    )
    fresh = torch.randn(200, 6, 4, 7, generator=stream(6))
    assert stopped(fresh).square().mean() != long(fresh).square().mean()


@pytest.mark.parametrize("offset", range(1, 4))
def test_weights_are_put_where_products_round_alike(offset):
    """Tensors from a file lie at any address, and predictions differed by that in their last bits."""
    anywhere = torch.zeros(3 * 20 + offset)[offset:].view(3, 4, 5)
    readout = Readout(anywhere, torch.zeros(3, 6), torch.zeros(3)).to(torch.device("cpu"))
    assert anywhere.data_ptr() % 16
    assert [weights.data_ptr() % 64 for weights in readout] == [0, 0, 0]
