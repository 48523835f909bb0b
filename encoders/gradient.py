"""Fit the two-stage readout by gradient descent, as published: Adam, mini-batches, a falling rate.

Defaults are those of the public recipe (brain-score `mask_regression.py`): Kingma & Ba 2015's Adam,
rate 0.01, a tenth from epoch 25, 40 epochs, batches of 50, all weights from N(0, 1), bias 0.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from encoders.two_stage import Penalties, Readout, published_loss
from protocols.seeds import derived_seed
from protocols.settings import Frozen


class AdamSettings(Frozen):
    """Settings of the descent."""

    learning_rate: float = Field(default=0.01, gt=0)
    drop_epoch: int = Field(default=25, ge=1, description="from here on the rate is a tenth")
    max_epochs: int = Field(default=40, ge=1, le=100_000)
    batch_size: int = Field(default=50, ge=1)
    initial_sd: float = Field(default=1.0, gt=0, description="of masks and mixing")
    validation_share: float = Field(
        default=0.0, ge=0, lt=1, description="of the images, held out for early stopping; 0: none"
    )
    patience: int = Field(
        default=10, ge=1, description="epochs without a better validation error before it stops"
    )


def fit_by_gradient(
    features: Tensor,
    responses: Tensor,
    weights: Tensor,
    penalties: Penalties,
    settings: AdamSettings,
    *,
    seed: int,
) -> Readout:
    """The readout of every site; with early stopping, that of the best epoch on the inner validation.

    Arguments as in `fit_alternating`.
    """
    stream = torch.Generator().manual_seed(derived_seed(seed, "gradient") % 2**63)
    order = torch.randperm(len(features), generator=stream)
    held_out = order[: round(settings.validation_share * len(order))]
    trained = order[len(held_out) :]
    readout = _initial(features, responses, settings.initial_sd, stream)
    optimizer = torch.optim.Adam(readout, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [settings.drop_epoch])
    best, best_error, since = _copy(readout), float("inf"), 0
    for _ in range(settings.max_epochs):
        shuffled = trained[torch.randperm(len(trained), generator=stream)]
        for batch in torch.split(shuffled, settings.batch_size):
            share = weights[batch] * (len(features) / len(batch))
            loss = published_loss(readout, features[batch], responses[batch], share, penalties)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
        schedule.step()
        if not len(held_out):
            continue
        error = _error(readout, features[held_out], responses[held_out], weights[held_out])
        best, best_error, since = (
            (_copy(readout), error, 0) if error < best_error else (best, best_error, since + 1)
        )
        if since >= settings.patience:
            break
    return best if len(held_out) else _copy(readout)


def _initial(
    features: Tensor, responses: Tensor, standard_deviation: float, stream: torch.Generator
) -> Readout:
    _, channels, height, width = features.shape
    n_sites = responses.shape[1]
    masks, mixing = (
        (standard_deviation * torch.randn(n_sites, *shape, generator=stream))
        .to(features)
        .requires_grad_()
        for shape in ((height, width), (channels,))
    )
    return Readout(masks, mixing, torch.zeros(n_sites).to(features).requires_grad_())


@torch.no_grad()
def _error(readout: Readout, features: Tensor, responses: Tensor, weights: Tensor) -> float:
    return float((weights * (readout(features) - responses).square()).sum())


def _copy(readout: Readout) -> Readout:
    return Readout(*(weights.detach().clone() for weights in readout))
