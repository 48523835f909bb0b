"""What `variants.json` holds."""

from __future__ import annotations

from pydantic import Field

from protocols.settings import Frozen

PROTOCOLS = ("perturb", "reduction")
"""Plans whose sessions show variants."""


class Interval(Frozen):
    """A mean over bases with its 95 % bootstrap interval; None where it cannot be said."""

    mean: float | None
    low: float | None
    high: float | None


class Sensitivity(Frozen):
    """How far small changes of one radius move one site, in SDs of its responses to photographs."""

    radius_levels: float
    n_bases: int
    signed: Interval = Field(
        description="(response to drive − response to suppress) / 2: no bias by noise"
    )
    predicted: float | None = Field(description="the same, as the encoder predicted it")
    naive: float | None = Field(
        description="mean |variant − base|: noise alone makes it large; never report it"
    )
    random: Interval = Field(description="a random direction of equal length − base")
    others: Interval = Field(
        description="(drive − suppress) / 2 of the images made for other sites, at this site"
    )


class PartLeft(Frozen):
    """What is left of a site's response to its best photographs, as a share of the whole image's."""

    share: float
    kind: str = Field(description="kept, removed, disc or patch")
    n_bases: int
    left: Interval
    predicted: float | None


class SiteVariants(Frozen):
    """One site."""

    site: str
    sd: float | None = Field(description="of its responses to photographs, without noise, spikes/s")
    sd_is: str = Field(description="measured or predicted")
    sensitivity: tuple[Sensitivity, ...] = ()
    parts: tuple[PartLeft, ...] = ()


class Variants(Frozen):
    """A session's variants."""

    session: str
    n_bases: int
    sites: tuple[SiteVariants, ...]
    over_sites: tuple[Sensitivity, ...] = Field(
        default=(), description="means over sites; intervals are bootstrapped over sites"
    )
    parts_over_sites: tuple[PartLeft, ...] = ()
