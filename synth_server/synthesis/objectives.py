"""Objectives: what an evolution (measured counts) or an ascent (predicted rates) maximises.

One definition serves both. Responses are `(n, n_sites)`, a numpy array or a torch tensor; the score
`(n,)` is of the same kind and, for a tensor, keeps the gradient. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from protocols.errors import DataError, SettingsError
from protocols.settings import Frozen
from protocols.vocabulary import SiteId

if TYPE_CHECKING:
    from torch import Tensor

Responses = TypeVar("Responses", NDArray[np.float64], "Tensor")
"""Measured counts or predicted rates; a score is of the same kind."""

TINY = 1e-12
"""Keeps the correlation of a flat response pattern at 0, and its gradient finite."""


class SiteSettings(Frozen):
    """Which site to drive."""

    site: SiteId = Field(description="name of a recorded site")


class MeanOfSitesSettings(Frozen):
    """Which sites to drive together."""

    sites: tuple[SiteId, ...] | None = Field(
        default=None, min_length=1, description="names of recorded sites; not given: all of them"
    )


class StandardisedSettings(Frozen):
    """Responses are scored as `(response - mean) / sd`, site by site; as they are by default."""

    mean: dict[SiteId, float] | None = Field(
        default=None, description="subtracted from each site's response; 0 if not given"
    )
    sd: dict[SiteId, float] | None = Field(
        default=None, description="divides what is left, above 0; 1 if not given"
    )

    @model_validator(mode="after")
    def _sd_is_positive(self) -> Self:
        if any(sd <= 0 for sd in (self.sd or {}).values()):
            raise ValueError("every sd must be above 0: a site that never varies cannot be scored")
        return self


class OneHotPopulationSettings(StandardisedSettings):
    """Which site to single out, and from whom."""

    site: SiteId = Field(description="the site to drive alone")
    sites: tuple[SiteId, ...] | None = Field(
        default=None, min_length=2, description="the population, `site` among them; all by default"
    )
    temperature: float = Field(default=1.0, gt=0, description="divides responses; in their unit")

    @model_validator(mode="after")
    def _the_site_belongs(self) -> Self:
        if self.sites is not None and self.site not in self.sites:
            raise ValueError(f"the target {self.site!r} must be one of the population's sites")
        return self


class TargetPatternSettings(StandardisedSettings):
    """A response pattern to reach."""

    pattern: dict[SiteId, float] = Field(min_length=1, description="site → wanted response")
    measure: Literal["distance", "correlation"] = Field(
        default="distance",
        description="minus the mean squared distance, or the correlation over the sites",
    )

    @model_validator(mode="after")
    def _a_correlation_needs_variance(self) -> Self:
        if self.measure == "correlation" and len(set(self.pattern.values())) < 2:
            raise ValueError("measure = 'correlation' needs a pattern of at least two values")
        return self


class WeightedSitesSettings(StandardisedSettings):
    """How much each site counts."""

    weights: dict[SiteId, float] = Field(
        min_length=1, description="site → weight; negative: to be silenced"
    )

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not any(self.weights.values()):
            raise ValueError("at least one weight must differ from 0")
        return self


class SiteObjective:
    """The response of one site: *stretch* (Ponce et al. 2019; Bashivan, Kar & DiCarlo 2019)."""

    Settings = SiteSettings

    def __init__(self, settings: SiteSettings) -> None:
        self._site = settings.site

    def sites(self, recorded: Sequence[str]) -> tuple[str, ...]:
        """The site; `SettingsError` unless it is recorded."""
        _columns((self._site,), recorded)
        return (self._site,)

    def __call__(self, responses: Responses, site_ids: Sequence[str]) -> Responses:
        """`responses` `(n, n_sites)` → the site's column `(n,)`, NaN where it was not measured."""
        return _chosen(responses, (self._site,), site_ids)[:, 0]


class Suppress(SiteObjective):
    """Minus the response of one site: the image that silences it most."""

    def __call__(self, responses: Responses, site_ids: Sequence[str]) -> Responses:
        """`responses` `(n, n_sites)` → minus the site's column `(n,)`."""
        return -super().__call__(responses, site_ids)


class MeanOfSites:
    """The mean response over sites, each counting alike: busy sites weigh more."""

    Settings = MeanOfSitesSettings

    def __init__(self, settings: MeanOfSitesSettings) -> None:
        self._sites = settings.sites

    def sites(self, recorded: Sequence[str]) -> tuple[str, ...]:
        """The chosen sites, or all; `SettingsError` unless they are recorded."""
        chosen = tuple(self._sites or recorded)
        _columns(chosen, recorded)
        return chosen

    def __call__(self, responses: Responses, site_ids: Sequence[str]) -> Responses:
        """`responses` `(n, n_sites)` → `(n,)`; NaN if any chosen site was not measured."""
        mean: Responses = _chosen(responses, self._sites or site_ids, site_ids).mean(1)
        return mean


class WeightedSites:
    """A weighted sum of the sites' responses."""

    Settings = WeightedSitesSettings

    def __init__(self, settings: WeightedSitesSettings) -> None:
        self._settings = settings
        self._weights = {site: weight for site, weight in settings.weights.items() if weight}

    def sites(self, recorded: Sequence[str]) -> tuple[str, ...]:
        """The sites with a weight; `SettingsError` unless they are recorded."""
        _columns(tuple(self._weights), recorded)
        return tuple(self._weights)

    def __call__(self, responses: Responses, site_ids: Sequence[str]) -> Responses:
        """`responses` `(n, n_sites)` → `Σ weight · response`, `(n,)`."""
        scaled = _standardised(responses, tuple(self._weights), site_ids, self._settings)
        weighted = scaled * _row(self._weights, tuple(self._weights), scaled)
        total: Responses = weighted.sum(1)
        return total


class OneHotPopulation:
    """Drive one site and keep the others quiet (Bashivan, Kar & DiCarlo 2019).

    The score is `log softmax(z / temperature)` at the target, over the population, in nats: 0 when
    the target alone responds, `-log(n)` when all n sites respond alike. The study took the
    probability itself; its logarithm orders images alike and keeps a gradient far from the goal.
    Responses of different scales need `mean` and `sd`, best those over natural images.
    """

    Settings = OneHotPopulationSettings

    def __init__(self, settings: OneHotPopulationSettings) -> None:
        self._settings = settings

    def sites(self, recorded: Sequence[str]) -> tuple[str, ...]:
        """The target; `SettingsError` unless it and its population are recorded."""
        _columns((self._settings.site, *self._population(recorded)), recorded)
        return (self._settings.site,)

    def __call__(self, responses: Responses, site_ids: Sequence[str]) -> Responses:
        """`responses` `(n, n_sites)` → `(n,)` ≤ 0; NaN if a site of the population is missing."""
        population = self._population(site_ids)
        _columns((self._settings.site,), site_ids)
        scaled = _standardised(responses, population, site_ids, self._settings)
        log_probability = _log_softmax(scaled / self._settings.temperature)
        target: Responses = log_probability[:, population.index(self._settings.site)]
        return target

    def _population(self, recorded: Sequence[str]) -> tuple[str, ...]:
        return tuple(self._settings.sites or recorded)


class TargetPattern:
    """Bring the population into a given state (Bashivan, Kar & DiCarlo 2019: "control")."""

    Settings = TargetPatternSettings

    def __init__(self, settings: TargetPatternSettings) -> None:
        self._settings = settings

    def sites(self, recorded: Sequence[str]) -> tuple[str, ...]:
        """The pattern's sites; `SettingsError` unless they are recorded."""
        _columns(tuple(self._settings.pattern), recorded)
        return tuple(self._settings.pattern)

    def __call__(self, responses: Responses, site_ids: Sequence[str]) -> Responses:
        """`responses` `(n, n_sites)` → `(n,)`: `-mean((z - pattern)²)`, or Pearson's r."""
        sites = tuple(self._settings.pattern)
        scaled = _standardised(responses, sites, site_ids, self._settings)
        wanted = _row(self._settings.pattern, sites, scaled)
        if self._settings.measure == "distance":
            distance: Responses = ((scaled - wanted) ** 2).mean(1)
            return -distance
        deviation = scaled - scaled.mean(1)[:, None]
        target = wanted - wanted.mean()
        power = (deviation**2).sum(1) * (target**2).sum()
        correlation: Responses = (deviation * target).sum(1) / (power + TINY) ** 0.5
        return correlation


def _standardised(
    responses: Responses,
    sites: Sequence[str],
    site_ids: Sequence[str],
    settings: StandardisedSettings,
) -> Responses:
    """`(n, len(sites))`: (response - mean) / sd."""
    scaled = _chosen(responses, sites, site_ids)
    if settings.mean is not None:
        scaled = scaled - _row(settings.mean, sites, scaled)
    if settings.sd is not None:
        scaled = scaled / _row(settings.sd, sites, scaled)
    return scaled


def _chosen(responses: Responses, sites: Sequence[str], site_ids: Sequence[str]) -> Responses:
    """A copy of the columns of `sites`, `(n, len(sites))`."""
    if responses.ndim != 2 or responses.shape[1] != len(site_ids):
        raise DataError(
            "responses do not fit the sites",
            where="objective(responses, site_ids)",
            expected=f"(n, {len(site_ids)})",
            got=tuple(responses.shape),
        )
    return responses[:, _columns(sites, site_ids)]


def _row(values: Mapping[str, float], sites: Sequence[str], like: Responses) -> Responses:
    """The values of `sites` `(len(sites),)`, as the same kind of array as `like`."""
    missing = [site for site in sites if site not in values]
    if missing:
        raise SettingsError(
            f"the objective has no mean or sd for {len(missing)} of its sites",
            where="objective options",
            expected="a value for every site that is scored",
            got=f"none for {', '.join(missing)}",
            remedy="give mean and sd for the whole population, or for no site",
        )
    row = [values[site] for site in sites]
    return np.array(row) if isinstance(like, np.ndarray) else like.new_tensor(row)


def _log_softmax(logits: Responses) -> Responses:
    """Over the sites, row by row."""
    if not isinstance(logits, np.ndarray):
        return logits.log_softmax(1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def _columns(wanted: Sequence[str], site_ids: Sequence[str]) -> list[int]:
    recorded = list(site_ids)
    missing = sorted(set(wanted) - set(recorded))
    if missing:
        raise SettingsError(
            f"the objective needs {len(missing)} site(s) that are not recorded",
            where="objective options",
            expected=f"among {', '.join(recorded)}",
            got=", ".join(missing),
            remedy="name sites as the recorder names them",
        )
    return [recorded.index(site) for site in wanted]
