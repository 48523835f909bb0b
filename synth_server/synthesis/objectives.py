"""Objectives: what an evolution (measured counts) or an ascent (predicted rates) maximises."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import DataError, SettingsError
from protocols.settings import Frozen
from protocols.vocabulary import Rates, SiteId


class SiteSettings(Frozen):
    """Which site to drive."""

    site: SiteId = Field(description="name of a recorded site")


class MeanOfSitesSettings(Frozen):
    """Which sites to drive together."""

    sites: tuple[SiteId, ...] | None = Field(
        default=None, min_length=1, description="names of recorded sites; not given: all of them"
    )


class SiteObjective:
    """The response of one site (Ponce et al. 2019)."""

    Settings = SiteSettings

    def __init__(self, settings: SiteSettings) -> None:
        self._site = settings.site

    def sites(self, recorded: Sequence[str]) -> tuple[str, ...]:
        """The site; `SettingsError` unless it is recorded."""
        _columns((self._site,), recorded)
        return (self._site,)

    def __call__(self, responses: Rates, site_ids: Sequence[str]) -> NDArray[np.float64]:
        """`responses` `(n, n_sites)` → the site's column `(n,)`, NaN where it was not measured."""
        _check_responses(responses, site_ids)
        return responses[:, _columns((self._site,), site_ids)[0]].copy()


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

    def __call__(self, responses: Rates, site_ids: Sequence[str]) -> NDArray[np.float64]:
        """`responses` `(n, n_sites)` → `(n,)`; NaN if any chosen site was not measured."""
        _check_responses(responses, site_ids)
        chosen = responses[:, _columns(self._sites or site_ids, site_ids)]
        return np.asarray(chosen.mean(axis=1), np.float64)


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


def _check_responses(responses: Rates, site_ids: Sequence[str]) -> None:
    if responses.ndim != 2 or responses.shape[1] != len(site_ids):
        raise DataError(
            "responses do not fit the sites",
            where="objective(responses, site_ids)",
            expected=f"(n, {len(site_ids)})",
            got=responses.shape,
        )
