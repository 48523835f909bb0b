"""V1 sites as VOneNet has them (Dapello et al. 2020): macaque V1's Gabors, simple and complex cells.

Orientation, spatial frequency and size are drawn from the published distributions
(`encoders.backbones.gabor_bank`); even sites are simple, odd ones complex. With L(x) in -1..1 the image's
mean over RGB, q₀ the site's filter and q₁ its quadrature partner, both without mean and of unit length
over the image's N pixels, the matched contrast is

    simple   a = [q₀·L]₊ / √N
    complex  a = √((q₀·L)² + (q₁·L)²) / √(2 N)

and the rate r_min + (r_max − r_min) a² / (c₅₀² + a²). Spiking is the simulated acquisition's: Poisson, whose
variance is the mean, as the VOneBlock's noise has it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from encoders.backbones.gabor_bank import Gabors, drawn_gabors, kernels
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates
from simulated_neurons.sites import site_names
from simulated_neurons.square_images import side_of

DECIMALS = 3
GRAY, UNIT = 127.5, 127.5
CENTRES = (0.4, 0.6)
"""Of the fields, in image sides."""


class VOneSettings(Frozen):
    """A population; the same settings are always the same neurons."""

    n_sites: int = Field(default=10, ge=1, le=512)
    seed: int = Field(default=0, ge=0, description="of the population; not the session's")
    image_deg: float = Field(default=2, gt=0, le=20, description="the image's side, in degrees")
    max_rate: float = Field(default=80, gt=0, description="spikes/s, approached, never reached")
    min_rate: float = Field(default=2, ge=0, description="spikes/s to an even gray")
    half_contrast: float = Field(default=0.05, gt=0, description="c₅₀, matched RMS contrast")


class VOneSite(NamedTuple):
    """One site's tuning.

    Attributes:
        orientation_deg: Of the bars, anticlockwise from horizontal, in 0..180.
        frequency_cpd: Cycles a degree.
        right: Centre, from the left edge, in image sides.
        down: Centre, from the top edge, in image sides.
        is_complex: Whether its phase does not matter.
        across_cycles: σ of its envelope across the bars, in cycles: below about 0.3 it is a blob, and hardly
            tuned to orientation.
    """

    orientation_deg: float
    frequency_cpd: float
    right: float
    down: float
    is_complex: bool
    across_cycles: float


class VOnePopulation:
    """Ground truth: `(n, size, size, 3) uint8` to spikes/s."""

    Settings = VOneSettings

    def __init__(self, settings: VOneSettings) -> None:
        self._settings = settings
        drawn = [_drawn(settings.seed, number) for number in range(settings.n_sites)]
        self._gabors = tuple(gabors for gabors, _ in drawn)
        self.tuning = tuple(site for _, site in drawn)

    @property
    def site_ids(self) -> tuple[str, ...]:
        """`site-00` …; even numbers are simple, odd ones complex."""
        return site_names(self._settings.n_sites)

    def rates(self, images: Images) -> Rates:
        """`(n, size, size, 3) uint8` → `(n, n_sites)` spikes/s, a multiple of 0.001.

        Raises:
            DataError: If the images are not square, or have another shape or type.
        """
        n, side = len(images), side_of(images, "V1")
        luminance = (images.mean(axis=3, dtype=np.float64) - GRAY).reshape(n, -1) / UNIT
        even, odd = self._filters(side)
        # one image at a time: a product over a batch may round otherwise
        pairs = np.stack([np.stack((even @ row, odd @ row)) for row in luminance])
        is_complex = np.array([site.is_complex for site in self.tuning])
        simple = np.maximum(pairs[:, 0], 0) ** 2
        both = (pairs[:, 0] ** 2 + pairs[:, 1] ** 2) / 2
        energy = np.where(is_complex, both, simple) / side**2
        low, high = self._settings.min_rate, self._settings.max_rate
        rates = low + (high - low) * energy / (self._settings.half_contrast**2 + energy)
        return np.asarray(np.round(rates, DECIMALS), dtype=np.float64)

    def _filters(self, size_px: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return _filters(self._gabors, self.tuning, size_px, size_px / self._settings.image_deg)


def _drawn(seed: int, number: int) -> tuple[Gabors, VOneSite]:
    """Every site from its own stream, so that more sites leave the first ones as they were."""
    random = random_stream(seed, "vone", number)
    gabors = drawn_gabors(1, random)
    right, down = random.uniform(*CENTRES, size=2)
    # 0 is a grating that varies down the image, whose bars are horizontal
    across = float(np.rad2deg(gabors.orientation_rad[0]))
    site = VOneSite(
        orientation_deg=across % 180,
        frequency_cpd=float(gabors.frequency_cpd[0]),
        right=float(right),
        down=float(down),
        is_complex=number % 2 == 1,
        across_cycles=float(gabors.across_cycles[0]),
    )
    return gabors, site


def _filters(
    gabors: tuple[Gabors, ...], tuning: tuple[VOneSite, ...], size_px: int, px_per_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two banks in quadrature, each `(n_sites, size_px²)`, rows without mean and of unit length."""
    key = tuple(tuple(float(value[0]) for value in each) for each in gabors)
    return _bank(key, tuple((site.right, site.down) for site in tuning), size_px, px_per_deg)


@lru_cache(maxsize=4)
def _bank(
    parameters: tuple[tuple[float, ...], ...],
    centres: tuple[tuple[float, float], ...],
    size_px: int,
    px_per_deg: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    whole = Gabors(*(np.array(column) for column in zip(*parameters, strict=True)))
    banks = []
    for shift in (0.0, np.pi / 2):
        turned = whole._replace(phase_rad=whole.phase_rad + shift)
        wide = kernels(turned, side_px=2 * size_px + 1, px_per_deg=px_per_deg)
        rows = []
        for kernel, (right, down) in zip(wide, centres, strict=True):
            top, left = size_px - round(down * size_px), size_px - round(right * size_px)
            cut = kernel[top : top + size_px, left : left + size_px].astype(np.float64).ravel()
            cut -= cut.mean()
            rows.append(cut / np.linalg.norm(cut))
        bank = np.stack(rows)
        bank.setflags(write=False)
        banks.append(bank)
    return banks[0], banks[1]
