"""Receptive fields: what was shown to find them, what was found, and the place that follows from it.

Degrees of visual angle from the screen's centre, right and up, as in `Placement`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from protocols.errors import SettingsError
from protocols.settings import Frozen
from protocols.vocabulary import BlockResponses, Placement, SiteId, Stimulus

BLANK = -1
"""The texture of a showing of plain gray."""
TEXTURE_LABEL, BLANK_LABEL = "texture ", "gray"
PLACE_STEP_DEG = 0.5
"""Sizes that follow from fields are whole multiples of it."""
SIGMAS = 2
"""An image that covers a field reaches so many σ beyond its centre."""


class EstimateSettings(Frozen):
    """How fields are estimated from counts.

    Attributes:
        alpha: A site has a field if the permutation test's p is below.
        n_permutations: Of the places, within textures.
        n_bootstrap: Resamples behind the 95 % intervals; 0: none.
        least_showings: Of a place, in the median; below, nothing is estimated.
    """

    alpha: float = Field(default=0.005, gt=0, lt=1)
    n_permutations: int = Field(default=1000, ge=100, le=1_000_000)
    n_bootstrap: int = Field(default=100, ge=0, le=100_000)
    least_showings: int = Field(default=5, ge=1, le=1000)


class FieldShowings(NamedTuple):
    """Completed showings of patches and of gray, in the order in which they came.

    Attributes:
        x_deg: `(n,)` centre of the patch.
        y_deg: `(n,)` likewise.
        patch_deg: `(n,)` its diameter; 0 for gray.
        texture: `(n,)` its number; `BLANK` for gray.
        counts: `(n, n_sites)` spikes.
        site_ids: Names of the sites.
    """

    x_deg: NDArray[np.float64]
    y_deg: NDArray[np.float64]
    patch_deg: NDArray[np.float64]
    texture: NDArray[np.int64]
    counts: NDArray[np.float64]
    site_ids: tuple[str, ...]

    @classmethod
    def of(cls, stimuli: Sequence[Stimulus], responses: BlockResponses) -> Self:
        """Those of one block of `map_fields`."""
        rows: list[tuple[float, float, float, int]] = []
        counts = []
        ids = [stimulus.id for stimulus in stimuli]
        for stimulus, repeats in zip(stimuli, responses.counts_by_stimulus(ids), strict=True):
            rows += [_row(stimulus)] * len(repeats)
            counts.append(repeats)
        x, y, patch, texture = np.array(rows, np.float64).reshape(-1, 4).T
        n_sites = len(responses.site_ids)
        return cls(
            x,
            y,
            patch,
            texture.astype(np.int64),
            np.concatenate([np.empty((0, n_sites)), *counts]),
            responses.site_ids,
        )

    @classmethod
    def all_of(cls, parts: Sequence[FieldShowings]) -> Self:
        """Several blocks' as one."""
        return cls(
            np.concatenate([part.x_deg for part in parts]),
            np.concatenate([part.y_deg for part in parts]),
            np.concatenate([part.patch_deg for part in parts]),
            np.concatenate([part.texture for part in parts]),
            np.concatenate([part.counts for part in parts]),
            parts[0].site_ids,
        )

    @property
    def is_blank(self) -> NDArray[np.bool_]:
        """`(n,)`: which showings were of gray."""
        return np.asarray(self.texture == BLANK)


def _row(stimulus: Stimulus) -> tuple[float, float, float, int]:
    place = stimulus.place
    if place is None or not stimulus.label.startswith(TEXTURE_LABEL):
        return (0.0, 0.0, 0.0, BLANK)
    number = int(stimulus.label.removeprefix(TEXTURE_LABEL))
    return (place.x_deg, place.y_deg, place.size_deg, number)


Interval = tuple[float, float]
"""95 %, low and high."""


class SiteField(Frozen):
    """One site's receptive field; what could not be estimated is null.

    Attributes:
        site: Its name.
        n: Completed showings of patches.
        p: Of a permutation test that the place of a patch does not matter.
        reliability: Split-half correlation of the map, Spearman-Brown corrected.
        x_deg: Centre; null where the site has no field (p not below `alpha`).
        y_deg: Likewise.
        sigma_deg: Standard deviation of the Gaussian.
        amplitude: Spikes/s by which a patch that covers the whole field changes the rate, mean over
            textures; negative if it suppresses.
        baseline: Spikes/s far from the field.
        gains: Of each texture, relative to `amplitude`.
        x_interval: 95 % bootstrap interval, as are the following.
        y_interval: See there.
        sigma_interval: See there.
        at_edge: The centre lies at the edge of the grid or beyond: the field may lie further out.
            It is never used to place images.
    """

    site: SiteId
    n: int = Field(ge=0)
    p: float | None = Field(default=None, ge=0, le=1)
    reliability: float | None = None
    x_deg: float | None = None
    y_deg: float | None = None
    sigma_deg: float | None = Field(default=None, gt=0)
    amplitude: float | None = None
    baseline: float | None = None
    gains: tuple[float, ...] = ()
    x_interval: Interval | None = None
    y_interval: Interval | None = None
    sigma_interval: Interval | None = None
    at_edge: bool = False

    @property
    def is_usable(self) -> bool:
        """Whether images may be placed by it."""
        return self.sigma_deg is not None and not self.at_edge

    @property
    def why_not(self) -> str:
        """In words, why it is not usable."""
        if self.p is None:
            return "too few showings, or no point kept by hand"
        return "its centre is at the grid's edge" if self.at_edge else f"no field (p = {self.p:g})"


class FieldMap(Frozen):
    """`fields.json`.

    Attributes:
        version: Of this document.
        estimator: `counts`: fitted to counted showings. `hand`: points that somebody kept in a hand
            map; p, reliability, amplitude and intervals are null, `n` is the number of points, and 2 σ
            is how far the points reach.
        alpha: A site has a field if its p is below; 0 in a hand map, which tests nothing.
        count_window_s: In which spikes were counted, after onset; in a hand map, before a click.
        grid_deg: Left, bottom, right and top of the outermost patches' centres; in a hand map, of the
            screen.
        fields: One a site, as the recorder orders them.
    """

    version: int = 1
    estimator: Literal["counts", "hand"] = "counts"
    alpha: float
    count_window_s: tuple[float, float]
    grid_deg: tuple[float, float, float, float]
    fields: tuple[SiteField, ...]

    @property
    def significant(self) -> tuple[SiteField, ...]:
        """Sites with a field, wherever it is."""
        return tuple(field for field in self.fields if field.sigma_deg is not None)

    @property
    def usable(self) -> tuple[SiteField, ...]:
        """Sites with a field within the grid."""
        return tuple(field for field in self.fields if field.is_usable)

    def centre_deg(self, sites: Sequence[str] = ()) -> tuple[float, float] | None:
        """Median centre of the usable fields (of these sites, or of all); None if there are none."""
        found = [field for field in self.usable if not sites or field.site in sites]
        if not found:
            return None
        centres = np.array([(field.x_deg, field.y_deg) for field in found], np.float64)
        x, y = np.median(centres, axis=0)
        return float(x), float(y)

    def place(self, sites: Sequence[str] = (), *, where: str = "fields") -> Placement:
        """The median centre, and the smallest size that covers the fields of `sites` (none: of all).

        Fields that are not usable (not significant, at the grid's edge) are left out.

        Raises:
            SettingsError: If a site is unknown, or no field can be used.
        """
        known = {field.site: field for field in self.fields}
        unknown = [site for site in sites if site not in known]
        if unknown:
            raise SettingsError(
                "fields were not mapped for all of these sites",
                where=where,
                expected=f"sites among {', '.join(known)}",
                got=", ".join(unknown),
            )
        centre = self.centre_deg(sites)
        if centre is None:
            asked = [known[site] for site in sites] or list(self.fields)
            raise SettingsError(
                "no receptive field to place images by",
                where=where,
                expected="a significant field, its centre within the mapped grid",
                got="; ".join(f"{each.site}: {each.why_not}" for each in asked)[:500],
                remedy="map again, with more showings or around another centre_deg; or give the "
                "place itself: place = { x_deg = …, y_deg = …, size_deg = … }",
            )
        x, y = centre
        reach = max(
            max(abs((field.x_deg or 0) - x), abs((field.y_deg or 0) - y))
            + SIGMAS * (field.sigma_deg or 0)
            for field in self.usable
            if not sites or field.site in sites
        )
        size = max(1, math.ceil(2 * reach / PLACE_STEP_DEG)) * PLACE_STEP_DEG
        return Placement(x_deg=round(x, 2), y_deg=round(y, 2), size_deg=size)

    def left_out(self, sites: Sequence[str] = ()) -> tuple[SiteField, ...]:
        """Those (of `sites`, or of all) that `place` does not use."""
        return tuple(
            field
            for field in self.fields
            if (not sites or field.site in sites) and not field.is_usable
        )

    def text(self) -> str:
        """As it stands in the file."""
        return self.model_dump_json(indent=2) + "\n"


class FieldPlace(Frozen):
    """A thread's place by mapped fields: `place = { fields = "fields.json", sites = ["a"] }`.

    Attributes:
        fields: A `fields.json`.
        sites: Whose fields the images are to cover; empty: all that have one.
    """

    fields: str = Field(min_length=1)
    sites: tuple[SiteId, ...] = ()

    def read(self) -> FieldMap:
        """The file's content.

        Raises:
            SettingsError: If it cannot be read, or is no `fields.json`.
        """
        path = Path(self.fields)
        try:
            return FieldMap.model_validate(json.loads(path.read_text("utf-8")))
        except OSError as error:
            reason = error.strerror or str(error)
        except (ValidationError, ValueError) as error:
            reason = str(error)[:300]
        raise SettingsError(
            "mapped fields cannot be read",
            where=str(path),
            expected="the fields.json of a session with map_fields (it lies in session.sqlite.products) "
            "or of rig-client handmap",
            got=reason,
        )
