"""V4-like sites: spatial pooling of rectified, squared feature mixtures, divisively normalised.

Each site sees a pretrained network's intermediate layer through a Gaussian receptive field. Let
z_c(x) be channel c at place x, standardised on natural images; w the site's sparse mixture (of unit
length, of the sign with which plain gray drives it less than most natural images do); g its receptive
field and G a wider surround (each summing to 1). Its drive is

    u = Σ_x g(x) [Σ_c w_c z_c(x)]₊²  /  (σ² + Σ_x G(x) mean_c z_c(x)²)

(energy over normalisation pool; Heeger 1992, Vis Neurosci 9:181, equation 9), and its rate

    r = r_min + (r_max - r_min) uᵖ / (u₅₀ᵖ + uᵖ)

(Naka & Rushton 1966). σ = 1; u₅₀ and p are such that over natural patches the median and the 98th
percentile of the rate are as in `Settings`. Rectifying and squaring before pooling, and dividing
after it, keep the sites outside what a spatial mask times a feature mixture can express.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from encoders.backbones import Backbone, load_backbone
from encoders.backbones.one_thread import one_thread
from encoders.backbones.preprocessing import pixels_of, resized
from protocols.errors import SettingsError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates, check_images
from simulated_neurons.photographs import natural_patches
from simulated_neurons.sites import site_names

TYPICAL_PERCENTILE, BEST_PERCENTILE = 50, 98
DECIMALS = 3
GRAY = 128
"""Of a screen without an image."""


class V4LikeSettings(Frozen):
    """A population; the same settings are always the same neurons."""

    n_sites: int = Field(default=10, ge=1, le=512)
    seed: int = Field(default=0, ge=0, description="of the population; not the session's")
    backbone: str = Field(default="efficientnet_lite2", description="not what the encoder uses")
    layer: str = Field(default="blocks.2", description="stride 8, receptive field 107 px")
    input_px: int = Field(default=112, ge=32, le=512, description="images are resized to this")
    n_channels: int = Field(default=6, ge=1, description="channels that a site mixes")
    min_rate: float = Field(default=2, ge=0, description="spikes/s without drive")
    max_rate: float = Field(default=80, gt=0, description="spikes/s, approached, never reached")
    typical_rate: float = Field(default=7, gt=0, description="spikes/s, median natural patch")
    best_rate: float = Field(default=28, gt=0, description="spikes/s, 98th percentile of patches")

    @model_validator(mode="after")
    def _rates_ascend(self) -> Self:
        if not self.min_rate < self.typical_rate < self.best_rate < self.max_rate:
            raise ValueError("min_rate < typical_rate < best_rate < max_rate must hold")
        return self


class Wiring(NamedTuple):
    """What a population is made of; places are rows of a flattened feature map, row 0 at the top."""

    mixture: Tensor
    """`(n_sites, c)`, rows of unit length."""
    field: Tensor
    """`(n_sites, places)`, rows summing to 1."""
    surround: Tensor
    """`(n_sites, places)`, rows summing to 1."""


class V4LikePopulation:
    """Ground truth for an evolution: `(n, h, w, 3) uint8` to spikes/s, on the CPU.

    Images are seen one at a time on one thread, so that a rate depends on its image alone; it is
    rounded to 0.001 spikes/s, so that no spike count hangs on the last bit of a float.
    """

    Settings = V4LikeSettings

    def __init__(self, settings: V4LikeSettings) -> None:
        self._settings = settings
        self._backbone = _backbone(settings)
        patches = natural_patches(settings.input_px)
        with one_thread(), torch.no_grad():
            features = torch.cat([self._features(patch) for patch in patches])
            self._mean = features.mean(dim=(0, 2, 3), keepdim=True)
            self._std = features.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-6)
            _, channels, height, width = features.shape
            self._wiring, self._fields = _wiring(settings, channels, height, width)
            drive = torch.cat([self._drive(one[None]) for one in features])
            gray = self._drive(self._features(np.full_like(patches[0], GRAY)))[0]
            # A site that gray drives more than most images is turned into its opposite.
            turned = gray >= drive.median(dim=0).values
            self._wiring.mixture[turned] *= -1
            if turned.any():
                drive = torch.cat([self._drive(one[None]) for one in features])
        self._half_drive, self._exponent = _calibrated(drive.numpy(), settings)

    @property
    def site_ids(self) -> tuple[str, ...]:
        """`site-00` …"""
        return site_names(self._settings.n_sites)

    def rates(self, images: Images) -> Rates:
        """`(n, h, h, 3) uint8` → `(n, n_sites)` spikes/s, a multiple of 0.001.

        Raises:
            DataError: If the images have another shape or type.
        """
        check_images(images)
        with one_thread(), torch.no_grad():
            drive = torch.cat([self._drive(self._features(image)) for image in images]).numpy()
        low, high = self._settings.min_rate, self._settings.max_rate
        relative = (drive / self._half_drive) ** self._exponent
        return np.round(low + (high - low) * relative / (1 + relative), DECIMALS)

    @property
    def fields_in_image(self) -> NDArray[np.float64]:
        """`(n_sites, 3)`: centre from the left and from the top, and σ, as parts of the image."""
        return self._fields

    def _features(self, image: NDArray[np.uint8]) -> Tensor:
        pixels = pixels_of(image[None], self._backbone.device)
        features: Tensor = self._backbone(resized(pixels, self._settings.input_px))
        return features

    def _drive(self, features: Tensor) -> Tensor:
        """u: `(1, c, h', w')` → `(1, n_sites)` float64."""
        z = ((features - self._mean) / self._std).flatten(2)[0].double()
        mixed = (self._wiring.mixture @ z).clamp(min=0).square()
        energy = (self._wiring.field * mixed).sum(dim=1)
        pool = self._wiring.surround @ z.square().mean(dim=0)
        return (energy / (1 + pool))[None]


def _backbone(settings: V4LikeSettings) -> Backbone:
    return load_backbone(settings.backbone, settings.layer, device="cpu")


def _wiring(
    settings: V4LikeSettings, channels: int, height: int, width: int
) -> tuple[Wiring, NDArray[np.float64]]:
    """Draws every site from its own stream, so that more sites leave the first ones as they were."""
    rows: list[tuple[NDArray[np.float64], ...]] = []
    fields: list[tuple[float, float, float]] = []
    for site in site_names(settings.n_sites):
        random = random_stream(settings.seed, "v4-like", site)
        chosen = random.choice(channels, size=min(settings.n_channels, channels), replace=False)
        mixture = np.zeros(channels)
        mixture[chosen] = random.standard_normal(len(chosen))
        centre = random.uniform(0.35, 0.65, size=2)
        sigma = random.uniform(0.07, 0.14)
        fields.append((float(centre[1]), float(centre[0]), float(sigma)))
        rows.append(
            (
                mixture / np.linalg.norm(mixture),
                _gaussian(centre, sigma, height, width),
                _gaussian(centre, 2.5 * sigma, height, width),
            )
        )
    wiring = Wiring(*(torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)))
    return wiring, np.array(fields)


def _gaussian(
    centre: NDArray[np.float64], sigma: float, height: int, width: int
) -> NDArray[np.float64]:
    """`(height * width,)` summing to 1; `centre` (down, right) and `sigma` are parts of the image."""
    down = ((np.arange(height) + 0.5) / height - centre[0]) ** 2
    right = ((np.arange(width) + 0.5) / width - centre[1]) ** 2
    bump = np.exp(-(down[:, None] + right[None, :]) / (2 * sigma**2)).ravel()
    normalised: NDArray[np.float64] = bump / bump.sum()
    return normalised


def _calibrated(
    drive: NDArray[np.float64], settings: V4LikeSettings
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """u₅₀ and p, each `(n_sites,)`, from the drive `(n_patches, n_sites)` of natural patches."""
    typical, best = np.percentile(drive, (TYPICAL_PERCENTILE, BEST_PERCENTILE), axis=0)
    odds_typical, odds_best = (
        _odds(r, settings) for r in (settings.typical_rate, settings.best_rate)
    )
    if not np.all((typical > 0) & (best > typical)):
        raise SettingsError(
            "some simulated sites do not tell natural patches apart",
            where=f"{settings.backbone} {settings.layer} at {settings.input_px} px",
            got=f"no drive at the median patch of site {int(np.argmin(typical))}",
            remedy="choose another layer, a larger input_px or more n_channels",
        )
    exponent = np.log(odds_best / odds_typical) / np.log(best / typical)
    return best / odds_best ** (1 / exponent), exponent


def _odds(rate: float, settings: V4LikeSettings) -> float:
    return (rate - settings.min_rate) / (settings.max_rate - rate)
