"""Ridge regression from inner products of images: its cost does not grow with the number of features.

The dual form (Saunders, Gammerman & Vovk 1998): weights on images, `α = (K + λ)⁻¹ y`, with K the centred
products of the training images. The same predictions as `baselines.ridge`, strength and all: each site's
λ is chosen by leave-one-out on the training images, whose errors are known without any refit, `αᵢ` over
the i-th diagonal element of `(K + λ)⁻¹`, the constant taken out (Rifkin & Lippert 2007, MIT-CSAIL-TR-25).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.baselines import RIDGE_STRENGTHS
from encoders.geometry import Floats


def predicted_from_products(
    products: Floats,
    responses: Floats,
    train: NDArray[np.integer],
    test: NDArray[np.integer],
) -> Floats:
    """Responses to the test images, `(len(test), n_sites)`.

    Args:
        products: `(n, n)`, inner products of all images' features.
        responses: `(n, n_sites)`, finite for the training images.
        train: Images that are fitted to.
        test: Images that are predicted.
    """
    within = products[np.ix_(train, train)]
    mean = within.mean(axis=0)
    centred = within - mean - mean[:, None] + mean.mean()
    across = products[np.ix_(test, train)]
    across = across - mean - across.mean(axis=1, keepdims=True) + mean.mean()
    y = responses[train]
    offset = y.mean(axis=0)
    dual = _dual(centred, y - offset)
    found: Floats = across @ dual + offset
    return found


def _dual(centred: Floats, y: Floats) -> Floats:
    """α of every site, `(n, n_sites)`, at the strength whose leave-one-out error is least."""
    best = np.zeros_like(y)
    scale = float(np.trace(centred)) / len(centred)
    if not scale > 0:
        return best
    # a constant is not penalised: adding it makes it a direction of its own, which is then left out
    values, vectors = np.linalg.eigh(centred + scale)
    values = np.maximum(values, 0.0)
    is_constant = np.argmax(np.abs(vectors.sum(axis=0)))
    turned = vectors.T @ y
    least = np.full(y.shape[1], np.inf)
    for strength in RIDGE_STRENGTHS:
        inverse = 1 / (values + strength * scale)
        inverse[is_constant] = 0.0
        dual = vectors @ (inverse[:, None] * turned)
        errors = dual / ((vectors**2) @ inverse)[:, None]
        loss = (errors**2).mean(axis=0)
        better = loss < least
        least = np.where(better, loss, least)
        best = np.where(better, dual, best)
    return best
