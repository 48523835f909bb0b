"""What `explain.json` holds."""

from __future__ import annotations

from pydantic import Field

from protocols.settings import Frozen

RANKS = ("minimum", "lower quartile", "median", "upper quartile", "maximum")


class RankedImage(Frozen):
    """An image by its place in a site's responses."""

    rank: str
    image: int = Field(description="row of the recording")
    chosen_by: float = Field(description="response by which it was chosen: one half of the trials")
    measured: float | None = Field(description="response in the other half of the trials")
    predicted: float


class MadeImage(Frozen):
    """An image made for a site by an encoder."""

    kind: str = Field(description="suppress, stretch or diverse; of a session: its role")
    predicted: float
    measured: float | None = Field(
        default=None,
        description="mean rate of the showings that did not choose it, if it was shown",
    )


class Patch(Frozen):
    """Where in an image a channel answers most."""

    image: int
    x_px: float
    y_px: float
    side_px: float = Field(description="of the window that the channel sees, within limits")


class ChannelUse(Frozen):
    """A channel that counts for a site."""

    layer: str
    channel: int
    weight: float = Field(description="of the z-scored channel, in SDs of the site's response")
    patches: tuple[Patch, ...]


class Alike(Frozen):
    """Another site, and the correlation of mean responses over images."""

    site: str
    r: float


class Driven(Frozen):
    """One of the photographs that drive a site most."""

    image: int
    measured: float
    predicted: float


class SiteExplanation(Frozen):
    """One site."""

    site: str
    r: float | None
    reliability: float | None
    r_noise_corrected: float | None
    is_weak: bool = Field(description="predicted too badly for its pictures to explain it")
    field_x_px: float | None
    field_y_px: float | None
    field_diameter_px: float | None
    ranked: tuple[RankedImage, ...]
    driven: tuple[Driven, ...]
    made: tuple[MadeImage, ...]
    channels: tuple[ChannelUse, ...]
    alike: tuple[Alike, ...]
    figure: str = Field(description="PNG, beside the page")


class Explanation(Frozen):
    """A page."""

    encoder: str = Field(description="sha256")
    recording: str = Field(description="sha256 of images, responses and names")
    n_images: int
    scored_on: str = Field(description="which images the scores are of")
    values_are_of: str = Field(description="how images were chosen and valued")
    n_steps: int = Field(description="of integrated gradients")
    simulated: bool = Field(default=False, description="a part of the session's rig was not real")
    sites: tuple[SiteExplanation, ...]
