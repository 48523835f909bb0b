"""The two-stage readout: where a site looks, and what it looks for.

    ŷ_n = Σ_xy W_s^(n) · (F ∗ W_d^(n)) + b_n

F are a layer's features, W_s a spatial mask, W_d a pointwise (1 × 1) mixing of the layer's channels,
b a bias, of site n (Klindt et al. 2017, NeurIPS; Bashivan, Kar & DiCarlo 2019, Science, methods).
It has h·w + c parameters a site, where a full linear readout has h·w·c.

The maths stands here once: fitting, prediction and synthesis all call `Readout`.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from protocols.errors import DataError
from protocols.settings import Frozen

LAPLACIAN = ((0.0, -1.0, 0.0), (-1.0, 4.0, -1.0), (0.0, -1.0, 0.0))
"""L of eq. 5; "same" padding with zeros, so that a mask also pays for ending at the map's edge."""


class Penalties(Frozen):
    """Strengths of the penalties, for responses of unit variance and features of unit variance.

    The readout is a product, so only λ_s · λ_d matters: scaling W_s up and W_d down leaves ŷ as it
    is, and at the best scale both penalties are equal.
    """

    spatial: float = Field(default=0.3, gt=0, description="λ_s, on the masks")
    mixing: float = Field(default=0.3, gt=0, description="λ_d, on the mixing of channels")
    smoothness: float = Field(
        default=0.3, ge=0, description="of the masks, in units of λ_s; 1 in the published loss"
    )


class Readout(NamedTuple):
    """Weights of all sites: masks `(n_sites, h, w)`, mixing `(n_sites, c)`, bias `(n_sites,)`."""

    masks: Tensor
    mixing: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`(n, c, h, w)` → `(n, n_sites)`.

        Raises:
            DataError: If the features have other channels or another map.
        """
        expected = (self.mixing.shape[1], *self.masks.shape[1:])
        if features.ndim != 4 or features.shape[1:] != expected:
            raise DataError(
                "the features do not fit the readout",
                expected="(n, c, h, w) with c, h, w = {}, {}, {}".format(*expected),
                got=tuple(features.shape),
                remedy="show images of the size and shape that the encoder was fitted to",
            )
        return torch.einsum("nsc,sc->ns", seen_through(self.masks, features), self.mixing) + (
            self.bias
        )

    def upright(self) -> Self:
        """The same predictions with every mask's sum ≥ 0: a product does not know its signs."""
        sign = torch.where(self.masks.sum(dim=(1, 2)) < 0, -1.0, 1.0).to(self.masks)
        return type(self)(self.masks * sign[:, None, None], self.mixing * sign[:, None], self.bias)

    def to(self, device: torch.device) -> Self:
        """The same weights on `device`, in memory of torch's own.

        What was read from a file may lie at any address, and matrix products round by that.
        """
        return type(self)(*(weights.to(device, copy=True) for weights in self))


def seen_through(masks: Tensor, features: Tensor) -> Tensor:
    """Features pooled by each mask: `(n_sites, h, w)`, `(n, c, h, w)` → `(n, n_sites, c)`."""
    return torch.einsum("nchw,shw->nsc", features, masks)


def mixed(mixing: Tensor, features: Tensor) -> Tensor:
    """F ∗ W_d: `(n_sites, c)`, `(n, c, h, w)` → `(n, n_sites, h, w)`."""
    return torch.einsum("nchw,sc->nshw", features, mixing)


def laplacian(masks: Tensor) -> Tensor:
    """W_s ∗ L, `(n_sites, h, w)` → the same shape."""
    kernel = torch.tensor(LAPLACIAN, dtype=masks.dtype, device=masks.device)[None, None]
    return functional.conv2d(masks[:, None], kernel, padding=1)[:, 0]


def squared_loss(
    readout: Readout, features: Tensor, responses: Tensor, weights: Tensor, penalties: Penalties
) -> Tensor:
    """Each site's loss, every norm of eq. 1–5 squared, which makes either stage a ridge regression.

    Σ_i a_i (ŷ_i − y_i)² + λ_s (Σ W_s² + γ Σ (W_s ∗ L)²) + λ_d Σ W_d², γ = `smoothness`.

    Args:
        readout: The weights.
        features: `(n, c, h, w)`.
        responses: `(n, n_sites)`; finite also where their weight is 0.
        weights: a, `(n, n_sites)`, of sum 1 over the images.
        penalties: λ_s, λ_d, γ.

    Returns:
        `(n_sites,)`.
    """
    error = (weights * (readout(features) - responses).square()).sum(dim=0)
    rough = laplacian(readout.masks).square().sum(dim=(1, 2))
    spatial = readout.masks.square().sum(dim=(1, 2)) + penalties.smoothness * rough
    mixing = readout.mixing.square().sum(dim=1)
    return error + penalties.spatial * spatial + penalties.mixing * mixing


def published_loss(
    readout: Readout, features: Tensor, responses: Tensor, weights: Tensor, penalties: Penalties
) -> Tensor:
    """The loss as published, over all sites: eq. 1–5, its error and roughness not squared.

    ‖ŷ − y‖₂ + λ_s Σ W_s² + λ_d Σ W_d² + γ λ_s Σ_n ‖W_s^(n) ∗ L‖₂, with γ = 1 in the publication.
    ‖·‖₂ runs over images and sites; `weights` enter with mean 1. Arguments as in `squared_loss`.

    Returns:
        A scalar.
    """
    errors = weights * (readout(features) - responses).square()
    error = _root(len(features) * errors.sum())
    rough = _root(laplacian(readout.masks).square().sum(dim=(1, 2))).sum()
    spatial = readout.masks.square().sum() + penalties.smoothness * rough
    return error + penalties.spatial * spatial + penalties.mixing * readout.mixing.square().sum()


def _root(squares: Tensor) -> Tensor:
    """Square root whose gradient stays finite at 0."""
    return squares.clamp_min(1e-12).sqrt()
