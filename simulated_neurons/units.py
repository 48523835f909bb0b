"""Units of a pretrained network as neurons: one channel each, at the centre of a layer's map.

A unit's response h is what its channel puts out there, at least 0. Its rate is

    r = r_best h / h₉₈

with h₉₈ the 98th percentile of h over natural patches: in the range of neurons, and without a ceiling,
so that an evolution that goes on finding better images is seen to. As the neurons in silico of
Xiao & Kreiman 2020 (PLoS Comput Biol 16:e1007973) and Wang & Ponce 2022 (arXiv 2204.06765).
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from encoders.backbones import Backbone, load_backbone
from encoders.backbones.one_thread import one_thread
from encoders.backbones.preprocessing import pixels_of
from protocols.errors import SettingsError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates, check_images
from simulated_neurons.photographs import natural_patches
from simulated_neurons.sites import site_names

PERCENTILE = 98
DECIMALS = 3


class UnitsSettings(Frozen):
    """Which units; the same settings are always the same neurons."""

    n_sites: int = Field(default=10, ge=1, le=512)
    seed: int = Field(default=0, ge=0, description="draws the channels, where none are named")
    backbone: str = Field(default="efficientnet_lite1", description="whose units")
    layer: str = Field(default="blocks.4", description="of that network")
    weights: str = Field(default="default", description="of that network; or a file")
    channels: tuple[int, ...] = Field(default=(), description="one a site; none: drawn by `seed`")
    input_px: int = Field(default=64, ge=32, le=512, description="images are resized to this")
    best_rate: float = Field(default=28, gt=0, description="spikes/s, 98th percentile of patches")

    @model_validator(mode="after")
    def _a_channel_a_site(self) -> Self:
        if self.channels and len(self.channels) != self.n_sites:
            raise ValueError(
                f"n_sites is {self.n_sites}, but {len(self.channels)} channels are named"
            )
        return self


class NetworkUnits:
    """Ground truth for an evolution: `(n, h, w, 3) uint8` to spikes/s, on the CPU.

    Images are seen one at a time on one thread, so that a rate depends on its image alone; it is
    rounded to 0.001 spikes/s.

    Raises:
        SettingsError: If a channel is not there, or is silent on natural images.
    """

    Settings = UnitsSettings

    def __init__(self, settings: UnitsSettings) -> None:
        self._settings = settings
        self._backbone: Backbone = load_backbone(
            settings.backbone,
            settings.layer,
            device="cpu",
            weights=settings.weights,
            input_px=settings.input_px,
        )
        natural = self._responses(natural_patches(settings.input_px))
        best = np.percentile(natural, PERCENTILE, axis=0)
        self.channels = _channels(settings, best)
        self._scale = settings.best_rate / best[list(self.channels)]

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
        found = self._responses(images)[:, list(self.channels)]
        return np.asarray(np.round(found * self._scale, DECIMALS), np.float64)

    def _responses(self, images: Images) -> NDArray[np.float64]:
        """`(n, n_channels)`, at least 0."""
        with one_thread(), torch.no_grad():
            rows = [self._centre(image) for image in images]
        return np.stack(rows)

    def _centre(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        maps = self._backbone(pixels_of(image[None], self._backbone.device))
        _, _, height, width = maps.shape
        centre = maps[0, :, height // 2, width // 2].clamp_min(0)
        return np.asarray(centre.numpy(), np.float64)


def _channels(settings: UnitsSettings, best: NDArray[np.float64]) -> tuple[int, ...]:
    """Those named; or drawn among those that natural images drive, more sites leaving the first."""
    named, alive = settings.channels, np.flatnonzero(best > 0)
    where = f"{settings.backbone} {settings.layer} at {settings.input_px} px"
    if not named:
        if len(alive) < settings.n_sites:
            raise SettingsError(
                "this layer has too few units that natural images drive",
                where=where,
                expected=f"{settings.n_sites} sites",
                got=f"{len(alive)} of {len(best)} channels",
                remedy="choose another layer, or fewer sites",
            )
        order = random_stream(settings.seed, "units").permutation(len(best))
        return tuple(int(each) for each in order if best[each] > 0)[: settings.n_sites]
    for each in named:
        if not 0 <= each < len(best) or best[each] <= 0:
            raise SettingsError(
                "a named channel cannot be a neuron",
                where=f"{where}, channel {each}",
                expected=f"one of 0 to {len(best) - 1} that natural images drive",
                got="silent on natural images" if 0 <= each < len(best) else "no such channel",
            )
    return named
