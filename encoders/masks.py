"""Masks of an encoder's sites, of an ensemble's too, and the receptive fields that they estimate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from encoders.encoder import DifferentiableEncoder, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.receptive_field import ReceptiveField, mask_field
from protocols.errors import DataError


def site_masks(encoder: DifferentiableEncoder) -> NDArray[np.float64]:
    """`(n_sites, h, w)`, over the whole image.

    Of an ensemble, the mean of its members' masks, each brought to the largest member's map and to
    a root mean square of 1, so that all have the same say, as they have in the prediction.

    Raises:
        DataError: If a member is no two-stage encoder and has no masks.
    """
    each = [
        member.readout.masks.detach().cpu().numpy().astype(np.float64)
        for member in _members(encoder)
    ]
    if len(each) == 1:
        return each[0]
    height, width = (max(masks.shape[axis] for masks in each) for axis in (1, 2))
    alike = [_unit(resized(masks, height, width)) for masks in each]
    mean: NDArray[np.float64] = np.mean(alike, axis=0)
    return mean


def estimated_fields(
    encoder: DifferentiableEncoder,
    image_shape_px: tuple[int, int],
    px_per_deg: float | None = None,
) -> tuple[ReceptiveField, ...]:
    """Receptive fields of all sites, from `site_masks`.

    Args:
        encoder: A two-stage encoder, or an ensemble of them.
        image_shape_px: Height and width of the images as shown.
        px_per_deg: Pixels of those images in a degree of visual angle.

    Raises:
        DataError: If the encoder has no masks, or the scale is not positive.
    """
    return tuple(
        mask_field(mask, site, image_shape_px, px_per_deg)
        for mask, site in zip(site_masks(encoder), encoder.site_ids, strict=True)
    )


def resized(masks: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Masks `(n, h, w)`, whose places tile the image, as `(n, height, width)`; bilinear."""
    factors = (1.0, height / masks.shape[1], width / masks.shape[2])
    found: NDArray[np.float64] = zoom(masks, factors, order=1, mode="nearest", grid_mode=True)
    return found


def _members(encoder: DifferentiableEncoder) -> list[TwoStageEncoder]:
    if isinstance(encoder, EnsembleEncoder):
        return [each for member in encoder.members for each in _members(member)]
    if isinstance(encoder, TwoStageEncoder):
        return [encoder]
    raise DataError(
        "the encoder has no masks",
        expected="a two-stage encoder, or an ensemble of them",
        got=type(encoder).__name__,
    )


def _unit(masks: NDArray[np.float64]) -> NDArray[np.float64]:
    rms = np.sqrt((masks**2).mean(axis=(1, 2), keepdims=True))
    return np.asarray(masks / np.where(rms > 0, rms, 1.0), np.float64)
