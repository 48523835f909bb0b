"""The alternating fit as one would first write it: one site after the other, in numpy.

The same maths as `encoders.alternating`: the same loss, start, order of steps and end. It is what a
fit of all sites at once is compared with.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.two_stage import Penalties

Floats = NDArray[np.float32]


class SiteFit(NamedTuple):
    """One site's mask `(h, w)`, mixing `(c,)` and bias."""

    mask: Floats
    mixing: Floats
    bias: float

    def __call__(self, features: Floats) -> Floats:
        """`(n, c, h, w)` → `(n,)`."""
        pooled = features.reshape(*features.shape[:2], -1) @ self.mask.ravel()
        return np.asarray(pooled @ self.mixing + self.bias, dtype=np.float32)


def fit_site(
    features: Floats,
    response: Floats,
    weights: Floats,
    penalties: Penalties,
    *,
    max_sweeps: int,
    tolerance: float,
) -> SiteFit:
    """Alternate the two ridge regressions for one site.

    Args:
        features: `(n, c, h, w)`, of unit variance.
        response: `(n,)`, of unit variance.
        weights: `(n,)`, of sum 1.
        penalties: λ_s, λ_d and smoothness.
        max_sweeps: At most so many.
        tolerance: A sweep that moves the mask by less than this is the last.
    """
    height, width = features.shape[2:]
    places = features.reshape(*features.shape[:2], -1)
    spatial = penalties.spatial * _roughness(height, width, penalties.smoothness)
    identity = penalties.mixing * np.eye(features.shape[1], dtype=np.float32)
    mask = _middle(height, width)
    mixing, bias = _ridge(places @ mask, response, weights, identity)
    for _ in range(max_sweeps):
        mask, mixing = _balanced(mask, mixing, spatial, penalties.mixing)
        before = mask
        mask, _ = _ridge(np.einsum("ncp,c->np", places, mixing), response, weights, spatial)
        moved = np.linalg.norm(mask - before) / np.linalg.norm(before)
        mask, _ = _balanced(mask, mixing, spatial, penalties.mixing)
        mixing, bias = _ridge(places @ mask, response, weights, identity)
        if moved < tolerance:
            break
    return SiteFit(mask.reshape(height, width), mixing, bias)


def _ridge(x: Floats, y: Floats, weights: Floats, penalty: Floats) -> tuple[Floats, float]:
    mean_x, mean_y = weights @ x, float(weights @ y)
    root = np.sqrt(weights)
    x, y = (x - mean_x) * root[:, None], (y - mean_y) * root
    found = np.linalg.solve(x.T @ x + penalty, x.T @ y)
    return found, mean_y - float(mean_x @ found)


def _roughness(height: int, width: int, smoothness: float) -> Floats:
    """P = 1 + γ LᵀL, `(h·w, h·w)`."""
    down, across = (_second_difference(size) for size in (height, width))
    laplacian = np.kron(down, np.eye(width)) + np.kron(np.eye(height), across)
    return np.asarray(
        np.eye(height * width) + smoothness * laplacian.T @ laplacian, dtype=np.float32
    )


def _second_difference(size: int) -> NDArray[np.float64]:
    return 2 * np.eye(size) - np.eye(size, k=1) - np.eye(size, k=-1)


def _middle(height: int, width: int) -> Floats:
    down, across = (
        np.linspace(-0.5, 0.5, size) if size > 1 else np.zeros(1) for size in (height, width)
    )
    mask = np.exp(-(down[:, None] ** 2 + across[None] ** 2) / (2 * 0.25**2)).ravel()
    return np.asarray(mask / np.linalg.norm(mask), dtype=np.float32)


def _balanced(
    mask: Floats, mixing: Floats, spatial: Floats, mixing_penalty: float
) -> tuple[Floats, Floats]:
    tiny = float(np.finfo(np.float32).tiny)
    ours, other = float(mask @ spatial @ mask), float(mixing_penalty * (mixing @ mixing))
    scale = np.float32(np.clip((max(other, tiny) / max(ours, tiny)) ** 0.25, 1e-4, 1e4))
    return mask * scale, mixing / scale
