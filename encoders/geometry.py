"""How alike two spaces are in which the same images lie: a network's layer, a population of neurons.

Patterns are `(n_images, n_units)`. Neither measure fits anything, and neither knows which unit is which:

- *CKA*, debiased (Kornblith et al. 2019, ICML; Song et al. 2012, JMLR 13:1393, eq. 4 and 5): the cosine
  of two Gram matrices, U-centred (Székely & Rizzo 2014, Ann Stat 42:2382, definition 2). Rotation and a
  common scale of the units change nothing. The plain estimate grows with the number of units until
  any two spaces look alike (50 × 4,000 independent numbers, 640 images: 0.25); this one is 0 there on
  average, and may come out a little below 0.
- *RSA* (Kriegeskorte, Mur & Bandettini 2008, Front Syst Neurosci 2:4): dissimilarities of all pairs of
  images, `1 − Pearson`, compared by Spearman's or Pearson's correlation.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError

Floats: TypeAlias = NDArray[np.float64]
Measure: TypeAlias = Literal["spearman", "pearson"]

LEAST_IMAGES = 4
"""U-centring divides by n − 2 and by n − 3."""
FLAT = 1e-12
"""A pattern or a Gram matrix with less than this part of its size left, once centred, is constant."""


def standardised(patterns: Floats) -> Floats:
    """Each unit's mean over images taken off, divided by its standard deviation; constant units are 0."""
    centred = patterns - patterns.mean(axis=0)
    deviation = centred.std(axis=0)
    varies = deviation > FLAT * np.maximum(np.abs(patterns).max(axis=0), FLAT)
    found: Floats = np.where(varies, centred / np.where(varies, deviation, 1.0), 0.0)
    return found


def gram(patterns: Floats) -> Floats:
    """Inner products of all images' patterns: `(n, p)` → `(n, n)`."""
    found: Floats = patterns @ patterns.T
    return found


def u_centred(products: Floats) -> Floats:
    """A Gram matrix `(n, n)` with zero row sums and a zero diagonal, so that its products are unbiased.

    Raises:
        DataError: If it is no square matrix of at least four images.
    """
    n = len(products)
    if products.shape != (n, n) or n < LEAST_IMAGES:
        raise DataError(
            "too few images to compare spaces",
            where="geometry",
            expected=f"(n, n) products of n ≥ {LEAST_IMAGES} images",
            got=products.shape,
        )
    # centring first changes nothing, and keeps the digits that a common offset would cost
    centred = products - products.mean(axis=0) - products.mean(axis=1)[:, None] + products.mean()
    off_diagonal = centred - np.diag(np.diag(centred))
    rows = off_diagonal.sum(axis=1) / (n - 2)
    found: Floats = off_diagonal - rows[:, None] - rows + off_diagonal.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(found, 0.0)
    return found


def debiased_cka(first: Floats, second: Floats) -> float:
    """Debiased linear CKA of two Gram matrices `(n, n)` of the same images; at most 1, about 0 by chance.

    NaN where one of them holds images that all look alike.

    Raises:
        DataError: If they are of different images in number, or of fewer than four.
    """
    _check_alike(first.shape, second.shape)
    a, b = u_centred(first), u_centred(second)
    size = np.sqrt((a * a).sum() * (b * b).sum())
    if size <= FLAT * np.sqrt((first**2).sum() * (second**2).sum()):
        return float("nan")
    return float((a * b).sum() / size)


def dissimilarities(patterns: Floats) -> Floats:
    """`1 − Pearson` of every pair of images' patterns over the units: the RDM's upper triangle, by rows.

    `(n, p)` → `(n (n − 1) / 2,)`, in 0..2.

    Raises:
        DataError: If there are fewer than two units, or an image's pattern is constant.
    """
    if patterns.ndim != 2 or patterns.shape[1] < 2:
        raise DataError(
            "an RDM needs patterns over at least two units",
            where="geometry",
            expected="(n, p ≥ 2)",
            got=patterns.shape,
        )
    centred = patterns - patterns.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", centred, centred))
    flat = np.flatnonzero(length <= FLAT * np.maximum(np.abs(patterns).max(axis=1), FLAT))
    if len(flat):
        raise DataError(
            f"{len(flat)} image(s) drive all units alike, and are at no distance from others",
            where="geometry",
            got=f"the first: image {flat[0]}",
            remedy="leave them out",
        )
    unit = centred / length[:, None]
    found: Floats = 1 - (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    return found


def rsa(first: Floats, second: Floats, measure: Measure = "spearman") -> float:
    """Correlation of two RDMs' upper triangles `(m,)`; NaN where one is constant.

    Raises:
        DataError: If they differ in length, or the measure is unknown.
    """
    _check_alike(first.shape, second.shape)
    if measure == "spearman":
        from scipy.stats import rankdata  # importing scipy.stats takes a second: once it is needed

        first, second = rankdata(first), rankdata(second)
    elif measure != "pearson":
        raise DataError("no such comparison of RDMs", expected="spearman, pearson", got=measure)
    a, b = first - first.mean(), second - second.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else float("nan")


def of_images(triangle: Floats, chosen: NDArray[np.integer], n_images: int) -> Floats:
    """The upper triangle of the RDM of some images, in the order of `chosen`, from that of all."""
    square = np.zeros((n_images, n_images))
    square[np.triu_indices(n_images, 1)] = triangle
    square += square.T
    found: Floats = square[np.ix_(chosen, chosen)][np.triu_indices(len(chosen), 1)]
    return found


def _check_alike(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    if first != second:
        raise DataError(
            "the two spaces hold different images",
            where="geometry",
            expected=f"as many as in the first: {first}",
            got=second,
        )
