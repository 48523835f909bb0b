"""From names that people type to objectives: one for each image that is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from encoders.natural import NaturalStatistics
from protocols import plugins
from protocols.errors import SettingsError
from protocols.interfaces import Objective
from protocols.settings import PluginChoice

PER_SITE: Mapping[str, str] = {
    "stretch": "site",
    "suppress": "suppress",
    "one-hot-population": "one_hot_population",
}
"""Kinds that aim at one site each → the objective plug-in that is given the site."""
COMPARING_SITES = ("one-hot-population", "target-pattern", "weighted-sites")
"""Kinds that weigh responses of different sites against each other."""


class UnknownSite(SettingsError):
    """A target that the encoder does not predict."""


def kinds() -> tuple[str, ...]:
    """All kinds that `objectives_for` knows: those of one site, then every plug-in."""
    others = (name.replace("_", "-") for name in plugins.names("stimloop.objectives"))
    return (*PER_SITE, *(name for name in others if name not in PER_SITE))


def objectives_for(
    kind: str,
    targets: Sequence[str],
    site_ids: Sequence[str],
    *,
    natural: NaturalStatistics | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Objective]:
    """An objective for each target, by the target's name.

    Args:
        kind: `stretch`, `suppress` or `one-hot-population`: one objective for each site. Or the name
            of an objective plug-in, such as `target-pattern`: one objective of that name.
        targets: Sites, for the kinds of one site; none means all. Else none.
        site_ids: The sites that there are.
        natural: Of the encoder: objectives that compare sites do so by z-scores over natural images,
            unless `options` say otherwise.
        options: Options of the plug-in.

    Raises:
        SettingsError: If the kind or a site is unknown, a target is named twice, or an option is
            wrong.
    """
    given = {**_scales(kind, natural), **(options or {})}
    if kind not in kinds():
        raise SettingsError(
            "no such objective", where="objective", expected=", ".join(kinds()), got=kind
        )
    if kind not in PER_SITE:
        _check_no_targets(kind, targets)
        made = {kind: _objective(kind.replace("-", "_"), given)}
    else:
        names = _checked(targets or site_ids, site_ids)
        made = {name: _objective(PER_SITE[kind], {**given, "site": name}) for name in names}
    for objective in made.values():
        objective.sites(site_ids)
    return made


def _scales(kind: str, natural: NaturalStatistics | None) -> dict[str, Any]:
    if natural is None or kind not in COMPARING_SITES:
        return {}
    return {"mean": natural.predicted_mean, "sd": natural.predicted_sd}


def _objective(plugin: str, options: Mapping[str, Any]) -> Objective:
    choice = PluginChoice(name=plugin, options=dict(options))
    made: Objective = plugins.create("stimloop.objectives", choice)
    return made


def _checked(targets: Sequence[str], site_ids: Sequence[str]) -> Sequence[str]:
    unknown = sorted(set(targets) - set(site_ids))
    if unknown:
        raise UnknownSite(
            "the encoder does not predict these sites",
            where="targets",
            expected=f"among {', '.join(site_ids)}",
            got=", ".join(unknown),
        )
    if len(set(targets)) < len(targets):
        raise SettingsError("a target is named twice", where="targets", got=", ".join(targets))
    return targets


def _check_no_targets(kind: str, targets: Sequence[str]) -> None:
    if targets:
        raise SettingsError(
            f"the objective {kind} is one target, made by its options",
            where="targets",
            expected=f"none; or one of {', '.join(PER_SITE)}",
            got=", ".join(targets),
        )
