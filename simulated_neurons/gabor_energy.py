"""V1-like sites whose best image is known in closed form: quadrature-pair energy; numpy alone.

With L(x) in -1..1 the image's mean over RGB and e, o the site's even and odd Gabor functions, made
without mean, orthogonal and of unit length over the image's N pixels, the matched contrast

    a = √((e·L)² + (o·L)²) / √N

(Adelson & Bergen 1985, J Opt Soc Am A 2:284) is at most the image's RMS contrast, with equality where
the image lies in the span of e and o: a Gabor patch of any phase. The rate rises with a

    r = r_min + (r_max - r_min) a² / (c₅₀² + a²)

(Albrecht & Hamilton 1982, J Neurophysiol 48:217), so the same image is best at its RMS contrast.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import DataError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates
from simulated_neurons.sites import site_names
from simulated_neurons.square_images import side_of

DECIMALS = 3
GRAY, UNIT = 127.5, 127.5


class GaborEnergySettings(Frozen):
    """A population; the same settings are always the same neurons."""

    n_sites: int = Field(default=10, ge=1, le=512)
    seed: int = Field(default=0, ge=0, description="of the population; not the session's")
    min_rate: float = Field(default=2, ge=0, description="spikes/s to a blank screen")
    max_rate: float = Field(default=80, gt=0, description="spikes/s, approached, never reached")
    half_contrast: float = Field(default=0.05, gt=0, description="c₅₀, matched RMS contrast")


class Gabor(NamedTuple):
    """One site's tuning; lengths are parts of the image's side."""

    right: float
    """Centre, from the left edge."""
    down: float
    """Centre, from the top edge."""
    sigma: float
    """Of the Gaussian envelope."""
    cycles: float
    """Spatial frequency, cycles per image."""
    orientation: float
    """Of the bars, radians from horizontal."""


class GaborEnergyPopulation:
    """Ground truth that costs nothing: `(n, size, size, 3) uint8` to spikes/s."""

    Settings = GaborEnergySettings

    def __init__(self, settings: GaborEnergySettings) -> None:
        self._settings = settings
        self.tuning = tuple(_drawn(settings.seed, site) for site in self.site_ids)

    @property
    def site_ids(self) -> tuple[str, ...]:
        """`site-00` …"""
        return site_names(self._settings.n_sites)

    @property
    def fields_in_image(self) -> NDArray[np.float64]:
        """`(n_sites, 3)`: centre from the left and from the top, and σ, as parts of the image."""
        return np.array([(one.right, one.down, one.sigma) for one in self.tuning])

    def rates(self, images: Images) -> Rates:
        """`(n, size, size, 3) uint8` → `(n, n_sites)` spikes/s, a multiple of 0.001.

        Raises:
            DataError: If the images are not square, or have another shape or type.
        """
        n, side = len(images), side_of(images, "Gabor")
        luminance = (images.mean(axis=3, dtype=np.float64) - GRAY).reshape(n, -1) / UNIT
        projections = luminance @ _pairs(self.tuning, side).T
        energy = (projections**2).reshape(n, -1, 2).sum(axis=2) / side**2
        low, high = self._settings.min_rate, self._settings.max_rate
        rates = low + (high - low) * energy / (self._settings.half_contrast**2 + energy)
        return np.asarray(np.round(rates, DECIMALS), dtype=np.float64)

    def best_image(
        self, site: int, size_px: int, *, rms_contrast: float | None = None, phase: float = 0
    ) -> NDArray[np.uint8]:
        """`(size_px, size_px, 3) uint8`: the best image of its RMS contrast for the site.

        Args:
            site: Index into `site_ids`.
            size_px: Height and width.
            rms_contrast: Of the image, in 0..1; None: the largest that no pixel's range cuts off.
            phase: Radians; all phases are equally good.

        Raises:
            DataError: If the contrast does not fit into the pixels' range.
        """
        even, odd = _pairs(self.tuning, size_px)[2 * site : 2 * site + 2]
        pattern = np.cos(phase) * even + np.sin(phase) * odd
        largest = 1 / (np.abs(pattern).max() * size_px)
        contrast = largest if rms_contrast is None else rms_contrast
        if not 0 < contrast <= largest:
            raise DataError(
                "a Gabor patch of this contrast does not fit into 0..255",
                expected=f"an RMS contrast above 0 and up to {largest:.4f}",
                got=contrast,
            )
        pixels = np.rint(GRAY + UNIT * contrast * size_px * pattern).reshape(size_px, size_px, 1)
        return np.repeat(pixels, 3, axis=2).astype(np.uint8)


def _drawn(seed: int, site: str) -> Gabor:
    """Every site from its own stream, so that more sites leave the first ones as they were."""
    random = random_stream(seed, "gabor-energy", site)
    right, down = random.uniform(0.35, 0.65, size=2)
    sigma = random.uniform(0.08, 0.15)
    cycles_per_sigma = random.uniform(0.35, 0.7)
    return Gabor(
        right=float(right),
        down=float(down),
        sigma=float(sigma),
        cycles=float(cycles_per_sigma / sigma),
        orientation=float(random.uniform(0, np.pi)),
    )


@lru_cache(maxsize=4)
def _pairs(tuning: tuple[Gabor, ...], size_px: int) -> NDArray[np.float64]:
    """`(2 n_sites, size_px²)`: even and odd Gabor of each site in turn, orthonormal."""
    rows = [row for site in tuning for row in _pair(site, size_px)]
    pairs = np.stack(rows)
    pairs.setflags(write=False)
    return pairs


def _pair(site: Gabor, size_px: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    places = (np.arange(size_px) + 0.5) / size_px
    x, y = (places - site.right)[None, :], (places - site.down)[:, None]
    across = x * np.sin(site.orientation) + y * np.cos(site.orientation)
    envelope = np.exp(-(x**2 + y**2) / (2 * site.sigma**2))
    angle = 2 * np.pi * site.cycles * across
    even = _unit((envelope * np.cos(angle)).ravel())
    odd = (envelope * np.sin(angle)).ravel()
    odd -= odd.mean()
    return even, _unit(odd - (odd @ even) * even)


def _unit(row: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without mean, of unit length."""
    centred = row - row.mean()
    unit: NDArray[np.float64] = centred / np.linalg.norm(centred)
    return unit
