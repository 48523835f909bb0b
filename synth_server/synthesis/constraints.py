"""What an image may look like: hard constraints, soft penalties, and random transformations.

A gain counts only at matched contrast and mean, since V4 responds more to higher contrast
(Bashivan, Kar & DiCarlo 2019, controls), and only for images to which an encoder's predictions apply.

- *Constraints* hold exactly, for every image: gray, mean, RMS contrast, aperture, in this order.
- *Penalties* pull: total variation, distance from the statistics of given natural images.
- *Transformations* move the image a little at every step, so that no pixel-exact trick can survive
  (Olah, Mordvintsev & Schubert 2017).

Pixel values are in 0..1. Mean and RMS contrast are the mean and the standard deviation over pixels and
channels together, so that colour spends contrast too; with an aperture, weighted by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import grid_sample

from protocols.errors import DataError, SettingsError
from protocols.settings import Frozen
from protocols.vocabulary import Images, check_images
from synth_server.synthesis.image_space import ImageSpace, seeded_start

MAX_PASSES = 60
"""Of the search for gain and offset; a handful suffices unless most pixels are clipped."""
TOLERANCE = 2e-3
"""Of mean and RMS contrast, relative; rounding to gray levels adds to it."""
TINY = 1e-8
N_QUANTILES = 16
N_BANDS = 8
SHRINKAGE = 0.1


class ApertureSettings(Frozen):
    """A disc with a soft edge on a gray ground; lengths are parts of the image's side."""

    right: float = Field(default=0.5, ge=0, le=1, description="centre, from the left edge")
    down: float = Field(default=0.5, ge=0, le=1, description="centre, from the top edge")
    diameter: float = Field(
        default=0.9, gt=0, le=2, description="where the mask has fallen to half"
    )
    edge: float = Field(default=0.1, gt=0, le=1, description="width of the raised-cosine edge")
    background: float = Field(default=0.5, ge=0, le=1, description="gray around the disc")


class ConstraintSettings(Frozen):
    """What holds for every image; not given: free."""

    grayscale: bool = Field(default=False, description="R = G = B = their mean")
    mean: float | None = Field(default=None, gt=0, lt=1, description="mean over pixels, channels")
    mean_within: tuple[float, float] | None = Field(
        default=None, description="least and largest mean; in between it is free"
    )
    rms_contrast: float | None = Field(
        default=None, gt=0, lt=0.5, description="standard deviation over pixels and channels"
    )
    aperture: ApertureSettings | None = None

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.mean_within is None:
            return self
        if self.mean is not None:
            raise ValueError("mean and mean_within exclude each other: set one of them to null")
        least, largest = self.mean_within
        if not 0 < least <= largest < 1:
            raise ValueError(f"mean_within must rise within 0..1, not {least}, {largest}")
        return self

    @model_validator(mode="after")
    def _contrast_is_possible(self) -> Self:
        """Values in 0..1 of mean m have a standard deviation of at most √(m (1 - m))."""
        for mean in (*([self.mean] if self.mean else []), *(self.mean_within or ())):
            largest = 0.95 * (mean * (1 - mean)) ** 0.5
            if self.rms_contrast is not None and self.rms_contrast > largest:
                raise ValueError(f"a mean of {mean} allows an RMS contrast of {largest:.3f}")
        return self


class TransformSettings(Frozen):
    """How far an image is moved at random, at every step."""

    jitter_px: float = Field(default=0, ge=0, description="furthest shift, each way, px")
    scale: float = Field(default=0, ge=0, lt=1, description="furthest from a scale of 1")
    rotate_deg: float = Field(default=0, ge=0, le=180, description="furthest turn, either way")

    @property
    def is_none(self) -> bool:
        """Whether images stay as they are."""
        return not (self.jitter_px or self.scale or self.rotate_deg)


class PenaltySettings(Frozen):
    """What is subtracted from the objective, in its unit."""

    total_variation: float = Field(default=0, ge=0, description="weight of `total_variation`")
    unnaturalness: float = Field(default=0, ge=0, description="weight of `NaturalDistance`")


class Constraints:
    """Brings images to what the settings ask, differentiably."""

    def __init__(self, settings: ConstraintSettings, size_px: int) -> None:
        self._settings = settings
        self._mask: Tensor | None = None
        if settings.aperture is not None:
            self._mask = aperture_mask(settings.aperture, size_px)
        if self._mask is not None and self._mask.sum() < 1:
            raise SettingsError(
                "the aperture shows nothing",
                where="constraints.aperture",
                expected=f"a disc of more than one of {size_px} × {size_px} pixels",
                got=settings.aperture,
            )

    def __call__(self, images: Tensor) -> Tensor:
        """`(n, 3, size, size)` → the same in 0..1, as asked."""
        return self._framed(self.unframed(images))

    def unframed(self, images: Tensor) -> Tensor:
        """The same, but what lies beyond an aperture is still to be seen."""
        if self._settings.grayscale:
            images = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        asked = self._settings
        if any(each is not None for each in (asked.mean, asked.mean_within, asked.rms_contrast)):
            return self._matched(images)
        return images.clamp(0, 1)

    def levels(self, images: Tensor) -> Tensor:
        """`(n, 3, size, size)` → `(n, size, size, 3)` uint8, as asked.

        Mean and RMS contrast hold within 1 %, if the RMS contrast is worth a few gray levels: those
        of an image in two tones cannot be had more finely.
        """
        with torch.no_grad():
            return (self(images) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def _matched(self, images: Tensor) -> Tensor:
        """`offset + gain · (standardised image)`, clipped; clipping is made up for.

        What clipping takes from the contrast, or moves the mean by, a larger gain and another
        offset give back: both are searched, for each image, without gradient. The gradient
        goes through the standardisation, and so never along a mean or contrast that is fixed.
        """
        own = weighted_moments(images, self._mask)
        standard = (images - own.mean) / (own.rms + TINY)
        mean = _wanted(self._settings.mean, own.mean)
        if self._settings.mean_within is not None:
            mean = _within(own.mean, *self._settings.mean_within)
        wanted = Moments(mean, _wanted(self._settings.rms_contrast, own.rms))
        with torch.no_grad():
            found = self._gain_and_offset(standard, wanted)
        gain = found.rms * (wanted.rms / (wanted.rms.detach() + TINY))
        offset = found.mean + (wanted.mean - wanted.mean.detach())
        return (offset + gain * standard).clamp(0, 1)

    def _gain_and_offset(self, standard: Tensor, wanted: Moments) -> Moments:
        gain, offset = wanted.rms.clone(), wanted.mean.clone()
        for _ in range(MAX_PASSES):
            shown = self._framed((offset + gain * standard).clamp_(0, 1))
            got = weighted_moments(shown, self._mask)
            missing, ratio = wanted.mean - got.mean, wanted.rms / (got.rms + TINY)
            off = (missing.abs() > TOLERANCE * wanted.mean) | ((ratio - 1).abs() > TOLERANCE)
            if not off.any():
                break
            gain = torch.where(off, gain * ratio.clamp(0.5, 2), gain)
            offset = torch.where(off, offset + missing, offset)
        return Moments(offset, gain)

    def _framed(self, images: Tensor) -> Tensor:
        if self._settings.aperture is None or self._mask is None:
            return images
        background = self._settings.aperture.background
        return background + self._mask.to(images.device) * (images - background)


class Moments(NamedTuple):
    """Mean and RMS contrast of each image, `(n, 1, 1, 1)`."""

    mean: Tensor
    rms: Tensor


def _wanted(value: float | None, own: Tensor) -> Tensor:
    return own if value is None else torch.full_like(own, value)


def _within(own: Tensor, least: float, largest: float) -> Tensor:
    """Brought back to the range; the gradient goes through as if it were not, so that none is stuck."""
    return own + (own.clamp(least, largest) - own).detach()


def weighted_moments(images: Tensor, mask: Tensor | None) -> Moments:
    """Over channels and pixels of `(n, c, h, w)`, pixels weighted by `mask` `(h, w)` if there is one."""
    rows, weights = images.flatten(1), None
    if mask is not None:
        shares = mask.to(images.device) / (mask.sum() * images.shape[1])
        weights = shares.expand(images.shape[1:]).flatten()
    mean = _mean(rows, weights)
    power = _mean((rows - mean).square(), weights)
    return Moments(*(each[:, :, None, None] for each in (mean, (power + TINY**2).sqrt())))


def _mean(rows: Tensor, weights: Tensor | None) -> Tensor:
    """`(n, k)` → `(n, 1)`; `weights` `(k,)` sum to 1."""
    if weights is None:
        return rows.mean(1, keepdim=True)
    return (rows * weights).sum(1, keepdim=True)


def aperture_mask(aperture: ApertureSettings, size_px: int) -> Tensor:
    """`(size_px, size_px)` in 0..1: 1 inside, a raised cosine to 0 at the edge."""
    places = (torch.arange(size_px) + 0.5) / size_px
    radius = torch.hypot(places[:, None] - aperture.down, places[None, :] - aperture.right)
    outwards = (radius - aperture.diameter / 2) / aperture.edge + 0.5
    return 0.5 + 0.5 * torch.cos(torch.pi * outwards.clamp(0, 1))


def total_variation(images: Tensor) -> Tensor:
    """`(n, c, h, w)` → `(n,)`: `½ Σdy² / size + ½ Σdx² / size` of 2x - 1, as in the npc study."""
    down, across = images.diff(dim=2), images.diff(dim=3)
    change = down.square().sum((1, 2, 3)) + across.square().sum((1, 2, 3))
    return 2 * change / images[0].numel()


class NaturalDistance:
    """How far an image's statistics are from those of given natural images.

    The statistics, of luminance: the log power in rings of the spectrum, quantiles of pixel values
    and quantiles of the logarithm of the squared gradient. The distance is the squared Mahalanobis
    distance from the natural images' mean, their correlations shrunk by `SHRINKAGE` towards none, in
    units of the natural images' own mean distance: 1 for a typical photograph.
    """

    def __init__(self, natural: Images) -> None:
        check_images(natural, where="natural images")
        self._size = natural.shape[1:3]
        self._rings = _rings(*self._size)
        pixels = torch.from_numpy(natural.astype(np.float32) / 255).permute(0, 3, 1, 2)
        statistics = self._statistics(pixels)
        self._mean = statistics.mean(dim=0)
        self._whitening = _whitening(statistics - self._mean)

    def __call__(self, images: Tensor) -> Tensor:
        """`(n, 3, h, w)` of the natural images' size → `(n,)` ≥ 0; differentiable."""
        deviation = self._statistics(images) - self._mean.to(images.device)
        return (deviation @ self._whitening.to(images.device)).square().sum(1)

    def _statistics(self, images: Tensor) -> Tensor:
        """`(n, N_BANDS + 2 N_QUANTILES)`: spectrum, pixels, gradients."""
        if images.shape[2:] != self._size:
            raise DataError(
                "images and natural images differ in size",
                where="NaturalDistance",
                expected=self._size,
                got=tuple(images.shape[2:]),
                remedy="resize the natural images to the size of the image space",
            )
        luminance = images.mean(dim=1)
        down = luminance.diff(dim=1)[:, :, :-1]
        across = luminance.diff(dim=2)[:, :-1, :]
        slope = (down.square() + across.square() + 1e-6).log()
        parts = [self._log_power(luminance), _quantiles(luminance), _quantiles(slope)]
        return torch.cat(parts, dim=1)

    def _log_power(self, luminance: Tensor) -> Tensor:
        centred = luminance - luminance.mean((1, 2), keepdim=True)
        power = torch.fft.rfft2(centred, norm="forward").abs().square()
        in_rings: Tensor = power.flatten(1) @ self._rings.to(power.device)
        return (in_rings + 1e-10).log()


def _whitening(deviations: Tensor) -> Tensor:
    """`(k, k)`: turns deviations `(n, k)` into ones whose mean squared length is 1."""
    sd = deviations.square().mean(dim=0).sqrt().clamp_min(1e-3)
    z = deviations / sd
    correlations = z.T @ z / len(z)
    shrunk = (1 - SHRINKAGE) * correlations + SHRINKAGE * torch.eye(len(sd))
    white: Tensor = torch.linalg.inv(torch.linalg.cholesky(shrunk)).T / sd[:, None]
    typical = (deviations @ white).square().sum(1).mean()
    return white / typical.sqrt().clamp_min(TINY)


def _rings(height: int, width: int) -> Tensor:
    """`(height · (width // 2 + 1), N_BANDS)`: means over rings, log-spaced from 1 cycle to Nyquist."""
    fy, fx = torch.fft.fftfreq(height, 1 / height), torch.fft.rfftfreq(width, 1 / width)
    cycles = torch.hypot(fy[:, None], fx[None, :]).flatten()
    edges = torch.logspace(np.log10(0.99), np.log10(min(height, width) / 2), N_BANDS + 1)
    members = ((cycles[:, None] >= edges[:-1]) & (cycles[:, None] < edges[1:])).float()
    rings: Tensor = members / members.sum(dim=0).clamp_min(1)
    return rings


def _quantiles(values: Tensor) -> Tensor:
    """`(n, h, w)` → `(n, N_QUANTILES)`, evenly spaced in probability."""
    ordered = values.flatten(1).sort(dim=1).values
    n = ordered.shape[1]
    places = ((torch.arange(N_QUANTILES) + 0.5) / N_QUANTILES * n).long().to(values.device)
    return ordered[:, places]


def draw_transforms(settings: TransformSettings, generators: list[torch.Generator]) -> Tensor:
    """`(n, 4)`: px to the right, px down, scale, radians anticlockwise; each row from its stream."""
    rows = torch.stack([torch.rand(4, generator=generator) for generator in generators])
    reach = torch.tensor([settings.jitter_px, settings.jitter_px, settings.scale, 0.0])
    drawn = (2 * rows - 1) * reach + torch.tensor([0.0, 0.0, 1.0, 0.0])
    drawn[:, 3] = (2 * rows[:, 3] - 1) * float(np.deg2rad(settings.rotate_deg))
    return drawn


def transformed(images: Tensor, transforms: Tensor, settings: TransformSettings) -> Tensor:
    """`(n, c, h, w)` moved by `transforms` `(n, 4)`.

    Jitter alone shifts by whole pixels and wraps around, as the npc study did. With scale or
    rotation pixels are interpolated, and what comes into view is mirrored.
    """
    if settings.is_none:
        return images
    if not settings.scale and not settings.rotate_deg:
        shifts = transforms[:, :2].round().to(torch.int64).tolist()
        rolled = [
            image.roll((down, right), dims=(1, 2))
            for image, (right, down) in zip(images, shifts, strict=True)
        ]
        return torch.stack(rolled)
    places = _places_in_input(transforms, images)
    moved: Tensor = grid_sample(images, places, padding_mode="reflection", align_corners=False)
    return moved


def _places_in_input(transforms: Tensor, images: Tensor) -> Tensor:
    """`(n, h, w, 2)`: where in the input, x and y in -1..1, each place of the output is taken from."""
    height, width = images.shape[2:]
    right, down, scale, angle = (
        column[:, None, None] for column in transforms.to(images.device).unbind(1)
    )
    cos, sin = angle.cos() / scale, angle.sin() / scale
    x, y = _centres(width, images.device), _centres(height, images.device)[:, None]
    across = cos * x - sin * y - 2 * right / width
    along = sin * x + cos * y - 2 * down / height
    return torch.stack([across, along], dim=3)


def _centres(size: int, device: torch.device) -> Tensor:
    """Of pixels, in -1..1."""
    return (2 * torch.arange(size, device=device) + 1) / size - 1


def starting_images(
    space: ImageSpace, constraints: ConstraintSettings, seeds: Sequence[int]
) -> Images:
    """`(len(seeds), size, size, 3) uint8`: where ascents of these seeds begin, as a control."""
    starts = torch.cat([seeded_start(space, seed, 0) for seed in seeds])
    return np.asarray(Constraints(constraints, space.size_px).levels(space.images(starts)).numpy())
