"""A subject that sees the screen: any population, each site of which looks at a place of its own.

For each site the part of the screen is cut out that puts the site's field, where the population has it
in its images, at the place and size that the field has on the screen. The population sees that part,
scaled to its images; of it, only this site's rate is taken. What lies beside an image is gray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from protocols import plugins
from protocols.digests import image_id
from protocols.errors import DataError
from protocols.interfaces import SimulatedPopulation
from protocols.seeds import random_stream
from protocols.settings import Frozen, PluginChoice
from protocols.vocabulary import Images, Placement, Rates, check_images

GRAY = 128
MIDDLE = (0.5, 0.5, 0.15)
"""Where a population that does not say has its fields: centre and σ, as parts of the image."""


class PlacedSettings(Frozen):
    """Where the sites look.

    Attributes:
        population: What the sites are, besides where they look.
        n_sites: Given to the population; not given: as many as it has.
        centre_deg: Middle of the fields' centres, right and above of the screen's centre.
        spread_deg: Standard deviation of the centres around it, across and up.
        sigma_at_0_deg: σ of a field at the screen's centre.
        sigma_per_deg: By which σ grows with each degree of eccentricity.
        fields_deg: `[[x, y, sigma], …]`: each site's field, instead of drawn ones.
        seed: Of the fields; not the session's.
        view_px: Size of the images that the population sees.
    """

    population: PluginChoice = PluginChoice(name="v4_like")
    n_sites: int | None = Field(default=None, ge=1, le=512)
    centre_deg: tuple[float, float] = (3.0, -2.0)
    spread_deg: float = Field(default=1.0, ge=0, le=60)
    sigma_at_0_deg: float = Field(default=0.25, gt=0, le=30)
    sigma_per_deg: float = Field(default=0.15, ge=0, le=1)
    fields_deg: tuple[tuple[float, float, float], ...] | None = None
    seed: int = Field(default=0, ge=0, description="of the fields; not the session's")
    view_px: int = Field(default=112, ge=16, le=512)

    @model_validator(mode="after")
    def _fields_have_a_size(self) -> PlacedSettings:
        if any(sigma <= 0 for *_, sigma in self.fields_deg or ()):
            raise ValueError("the σ of a field, its third number, must be above 0")
        return self


class View(NamedTuple):
    """The square part of the screen that a site's population sees: degrees."""

    left: float
    top: float
    side: float


class PlacedSubject:
    """Ground truth with receptive fields on the screen: a `PlacedPopulation`.

    Attributes:
        fields_deg: `(n_sites, 3)` x, y and σ of each field, as they truly are.
    """

    Settings = PlacedSettings

    def __init__(self, settings: PlacedSettings) -> None:
        self._population = _population(settings)
        self._size_px = settings.view_px
        self.fields_deg = _fields(settings, self._population.site_ids)
        own: Any = getattr(self._population, "fields_in_image", None)
        in_image = np.array([MIDDLE] * len(self.fields_deg)) if own is None else own
        self._views = [
            View(x - right * sigma / part, y + down * sigma / part, sigma / part)
            for (x, y, sigma), (right, down, part) in zip(self.fields_deg, in_image, strict=True)
        ]
        self._known: dict[str, NDArray[np.float64]] = {}

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the population."""
        return self._population.site_ids

    def rates(self, images: Images) -> Rates:
        """As `rates_on_screen`, of images that cover all fields: each site sees its part of them."""
        x, y = np.median(self.fields_deg[:, :2], axis=0)
        reach = max(
            max(abs(view.left - x), abs(view.left + view.side - x), abs(view.top - y),
                abs(view.top - view.side - y))
            for view in self._views
        )  # fmt: skip
        place = Placement(x_deg=float(x), y_deg=float(y), size_deg=min(180.0, 2 * float(reach)))
        return self.rates_on_screen(images, [place] * len(images))

    def rates_on_screen(self, images: Images, places: Sequence[Placement]) -> Rates:
        """`(n, h, h, 3) uint8`, each at its place on a gray screen → `(n, n_sites)` spikes/s.

        Raises:
            DataError: If the images are not square, or there is not one place for each.
        """
        check_images(images)
        if images.shape[1] != images.shape[2] or len(places) != len(images):
            raise DataError(
                "a placed subject sees square images, each at a place",
                expected=f"(n, size, size, 3) and n places, n = {len(images)}",
                got=f"{images.shape} and {len(places)} places",
            )
        found = np.empty((len(images), len(self._views)))
        for row, (image, place) in enumerate(zip(images, places, strict=True)):
            for site, view in enumerate(self._views):
                found[row, site] = self._rate(site, seen(image, place, view, self._size_px))
        return found

    def _rate(self, site: int, view: NDArray[np.uint8]) -> float:
        """Of one site; what was seen before (plain gray, most of the time) is not computed again."""
        key = image_id(view)
        if key not in self._known:
            if len(self._known) > 20_000:
                self._known.clear()
            self._known[key] = self._population.rates(view[None])[0]
        return float(self._known[key][site])


def seen(image: NDArray[np.uint8], place: Placement, view: View, size_px: int) -> NDArray[np.uint8]:
    """`(size_px, size_px, 3) uint8`: the part `view` of a gray screen with `image` at `place`."""
    out = np.full((size_px, size_px, 3), GRAY, np.uint8)
    scale = size_px / view.side
    left = (place.x_deg - place.size_deg / 2 - view.left) * scale
    top = (view.top - place.y_deg - place.size_deg / 2) * scale
    side = place.size_deg * scale
    first_x, first_y = max(0, int(np.floor(left))), max(0, int(np.floor(top)))
    last_x = min(size_px, int(np.ceil(left + side)))
    last_y = min(size_px, int(np.ceil(top + side)))
    if first_x >= last_x or first_y >= last_y:
        return out
    pixels = len(image) / side
    x0, y0, x1, y1 = (
        float(np.clip((edge - start) * pixels, 0, len(image)))
        for edge, start in ((first_x, left), (first_y, top), (last_x, left), (last_y, top))
    )
    if x1 - x0 < 1e-6 or y1 - y0 < 1e-6:
        return out
    size = (last_x - first_x, last_y - first_y)
    part = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
    out[first_y:last_y, first_x:last_x] = np.asarray(part)
    return out


def _population(settings: PlacedSettings) -> SimulatedPopulation:
    choice = settings.population
    if settings.n_sites is not None:
        options = {**choice.options, "n_sites": settings.n_sites}
        choice = choice.model_copy(update={"options": options})
    made: SimulatedPopulation = plugins.create("stimloop.subjects", choice)
    return made


def _fields(settings: PlacedSettings, site_ids: Sequence[str]) -> NDArray[np.float64]:
    """Given ones, or drawn: each site from its own stream, so that more leave the first as they were."""
    if settings.fields_deg is not None:
        if len(settings.fields_deg) != len(site_ids):
            raise DataError(
                "fields_deg needs a field for each site",
                expected=f"{len(site_ids)} of [x, y, sigma]",
                got=len(settings.fields_deg),
            )
        return np.array(settings.fields_deg, np.float64)
    rows = []
    for site in site_ids:
        random = random_stream(settings.seed, "placed", site)
        x, y = np.add(settings.centre_deg, settings.spread_deg * random.standard_normal(2))
        sigma = settings.sigma_at_0_deg + settings.sigma_per_deg * float(np.hypot(x, y))
        rows.append((float(x), float(y), sigma))
    return np.array(rows)
