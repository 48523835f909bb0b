"""Where a site looks: centre and size of its mask, in pixels of the image and in degrees."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from protocols.errors import DataError

FINE = 8
"""Points across a place of the map, at which the mask is interpolated."""


class ReceptiveField(NamedTuple):
    """Of one site, in an image whose top left corner is (0, 0).

    Attributes:
        site: Its name.
        x_px: Centre, from the left.
        y_px: Centre, from the top.
        diameter_px: Of the disc that is as large as the area above half the mask's maximum.
        diameter_deg: The same in degrees of visual angle; None if the scale is not known.
        x_deg: Centre, to the right of the image's middle; None if the scale is not known.
        y_deg: Centre, above the image's middle; None if the scale is not known.
    """

    site: str
    x_px: float
    y_px: float
    diameter_px: float
    diameter_deg: float | None = None
    x_deg: float | None = None
    y_deg: float | None = None


def mask_field(
    mask: NDArray[np.float64],
    site: str,
    image_shape_px: tuple[int, int],
    px_per_deg: float | None = None,
) -> ReceptiveField:
    """Of one mask `(h, w)`, whose places tile the image evenly.

    Its sign does not matter. The centre is the centre of mass of what lies above half the maximum:
    the small weights that noise leaves everywhere would draw it to the middle. The size is that of
    the pooling over places; what a place itself sees comes on top (`backbones.catalogue`).

    Raises:
        DataError: If the scale is not positive.
    """
    if px_per_deg is not None and not px_per_deg > 0:
        raise DataError("a degree has a positive number of pixels", got=px_per_deg)
    height, width = image_shape_px
    fine = np.abs(zoom(mask, FINE, order=1, mode="nearest", grid_mode=True))
    above = np.where(fine >= fine.max() / 2, fine, 0.0)
    total = above.sum()
    if total == 0:
        return ReceptiveField(site, math.nan, math.nan, math.nan)
    rows, columns = ((np.arange(size) + 0.5) / size for size in fine.shape)
    y = float((above.sum(axis=1) * rows).sum() / total) * height
    x = float((above.sum(axis=0) * columns).sum() / total) * width
    area = np.count_nonzero(above) / above.size * height * width
    diameter = 2 * math.sqrt(area / math.pi)
    if px_per_deg is None:
        return ReceptiveField(site, x, y, diameter)
    return ReceptiveField(
        site,
        x,
        y,
        diameter,
        diameter_deg=diameter / px_per_deg,
        x_deg=(x - width / 2) / px_per_deg,
        y_deg=(height / 2 - y) / px_per_deg,
    )
