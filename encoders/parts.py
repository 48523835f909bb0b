"""Parts of an image, kept or taken away: the pixels that an attribution names, a disc, a random patch.

A part is a mask `(h, w)` in 0..1 with a soft edge, so that no contour is added that the image has not. What
is not kept is filled with the image's mean colour.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from protocols.errors import DataError
from protocols.vocabulary import Images

Floats = NDArray[np.float64]
SMOOTHING = 0.025
"""SD of the Gaussian that an attribution is smoothed by, in image sides: single pixels mean nothing."""
EDGE = 0.015
"""SD of the soft edge, in image sides."""


def best_part(attribution: Floats, share: float) -> Floats:
    """The `share` of an image's area where `attribution` `(h, w)` is highest.

    Raises:
        DataError: If the share is not within 0..1.
    """
    _check(share)
    side = max(attribution.shape)
    smooth = gaussian_filter(attribution, SMOOTHING * side, mode="nearest")
    return _soft(_top(smooth, share))


def disc(centre_px: tuple[float, float], shape_px: tuple[int, int], share: float) -> Floats:
    """The pixels nearest to `centre_px` (x, y), as many as `share` of the image's area.

    Raises:
        DataError: If the share is not within 0..1, or the centre is not known.
    """
    _check(share)
    if not np.isfinite(centre_px).all():
        raise DataError("a disc needs a centre", where="parts", got=centre_px)
    rows, columns = np.indices(shape_px)
    distance = np.hypot(rows + 0.5 - centre_px[1], columns + 0.5 - centre_px[0])
    return _soft(_top(-distance, share))


def random_patch(shape_px: tuple[int, int], share: float, random: np.random.Generator) -> Floats:
    """A patch of irregular outline, of that share, where chance puts it: highest smooth noise."""
    _check(share)
    noise = random.standard_normal(shape_px)
    return _soft(_top(gaussian_filter(noise, 0.1 * max(shape_px), mode="wrap"), share))


def kept(images: Images, masks: Floats) -> Images:
    """`(n, h, w, 3) uint8`: the images where their masks `(n, h, w)` are 1, their mean colour elsewhere."""
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
    mixed = mean + masks[..., None] * (images - mean)
    return np.asarray(np.rint(np.clip(mixed, 0, 255)), np.uint8)


def removed(images: Images, masks: Floats) -> Images:
    """`(n, h, w, 3) uint8`: the mean colour where the masks are 1, the images elsewhere."""
    return kept(images, 1 - masks)


def _top(values: Floats, share: float) -> Floats:
    """1 at the `share` highest values, 0 elsewhere; ties go to the first places."""
    n = max(1, round(share * values.size))
    chosen = np.zeros(values.size)
    chosen[np.argsort(-values, axis=None, kind="stable")[:n]] = 1
    return chosen.reshape(values.shape)


def _soft(mask: Floats) -> Floats:
    found: Floats = gaussian_filter(mask, EDGE * max(mask.shape), mode="nearest")
    return np.clip(found, 0, 1)


def _check(share: float) -> None:
    if not 0 < share < 1:
        raise DataError("a part is a share of the image", expected="above 0, below 1", got=share)
