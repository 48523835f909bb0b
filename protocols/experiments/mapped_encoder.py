"""An encoder for a plan: from a file, or fitted to responses that the plan maps first."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeAlias

import numpy as np
from pydantic import Field

from protocols.errors import SettingsError
from protocols.experiments.mapping import MappingSettings, mapped, require_sites
from protocols.interfaces import Apparatus, Encoder, PhotographSet
from protocols.settings import Frozen, PluginChoice
from protocols.vocabulary import Block, BlockResponses, SiteId, Timing

MappedEncoder: TypeAlias = Generator[Block, BlockResponses, Encoder]


class VariantSettings(Frozen):
    """Settings of an experiment that shows variants of natural images."""

    images: str = Field(default="embedded", description="natural: 'embedded', a folder or a zip")
    n_images: int = Field(default=640, ge=2, le=100_000, description="the first n")
    image_size_px: int = Field(default=112, ge=16, le=2048, description="of all images")
    targets: tuple[SiteId, ...] | None = Field(
        default=None, min_length=1, description="sites to make variants for; all if not given"
    )
    encoder: str | None = Field(
        default=None, description="a file: no mapping; mapped and fitted here if not given"
    )
    n_bases: int = Field(default=6, ge=1, le=1000, description="natural images that are varied")
    mapping: MappingSettings = MappingSettings()
    fit: PluginChoice = PluginChoice(name="two_stage")
    repetitions: int = Field(default=20, ge=1, le=1000, description="passes over all variants")
    images_per_block: int = Field(default=50, ge=1, le=1000)
    timing: Timing = Timing()


def encoder_for(
    settings: VariantSettings, apparatus: Apparatus, natural: PhotographSet
) -> MappedEncoder:
    """The given encoder, or one that is fitted to a mapping of all photographs."""
    if settings.encoder is not None:
        encoder = apparatus.encoder(settings.encoder)
        require_sites(settings.targets or encoder.site_ids, apparatus)
        return encoder
    fit = apparatus.encoder_fit(settings.fit)
    require_sites(settings.targets or (), apparatus)
    measured = yield from mapped(natural, settings.mapping, settings.timing, apparatus)
    start_s, stop_s = settings.timing.count_window_s
    return fit(natural.images, measured.counts / (stop_s - start_s), measured.site_ids)


def targets_of(settings: VariantSettings, encoder: Encoder) -> tuple[str, ...]:
    """The wanted sites that are predicted.

    Raises:
        SettingsError: If there are none.
    """
    found = tuple(s for s in settings.targets or encoder.site_ids if s in encoder.site_ids)
    if not found:
        raise SettingsError(
            "the encoder predicts none of the targets",
            where="targets",
            expected=", ".join(encoder.site_ids)[:300],
            got=", ".join(settings.targets or ()),
        )
    return found


def chosen_bases(n_images: int, n_bases: int, random: np.random.Generator) -> list[int]:
    """Rows of the photographs that are varied, drawn by chance; all sites share them.

    Raises:
        SettingsError: If there are fewer photographs.
    """
    if n_bases > n_images:
        raise SettingsError(
            "there are fewer photographs than bases", expected=f"up to {n_images}", got=n_bases
        )
    return sorted(random.permutation(n_images)[:n_bases].tolist())
