"""Plug-ins: everything pluggable is an entry point, and the built-in ones register like a lab's own."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel

from protocols.errors import PluginError
from protocols.installation import missing_extra
from protocols.settings import PluginChoice, validated

GROUPS = {
    "stimloop.protocols": "an `Experiment`: a settings model and a plan",
    "stimloop.generators": "`ImageGenerator`, called with (settings)",
    "stimloop.optimizers": "`Optimizer`, called with (settings, initial codes sampler, random stream)",
    "stimloop.objectives": "`Objective`, called with (settings)",
    "stimloop.backbones": "`encoders.backbones.Backbone` factory, called with (settings)",
    "stimloop.subjects": "`SimulatedPopulation`, called with (settings)",
    "stimloop.displays": "`Display`, called with (settings, session)",
    "stimloop.fixations": "`Fixation`, called with (settings, session)",
    "stimloop.triggers": "`Trigger`, called with (settings, session)",
    "stimloop.rewards": "`Reward`, called with (settings, session)",
    "stimloop.acquisitions": "`Acquisition`, called with (settings, session)",
    "stimloop.rigs": "`RigInProcess`, called with (settings, session, folder, recorder or None)",
}


def entry(group: str, name: str) -> EntryPoint:
    """The entry point `name` of `group`.

    Raises:
        PluginError: If no installed distribution offers it; the message lists those that are.
    """
    found = _installed(group)
    if name not in found:
        raise PluginError(
            f"no plug-in {name!r} in group {group}",
            expected=", ".join(sorted(found)) or "(none installed)",
            got=name,
            remedy="check the spelling, or install the distribution that offers it",
        )
    return found[name]


def names(group: str) -> tuple[str, ...]:
    """Names of the installed plug-ins of `group`, sorted."""
    return tuple(sorted(_installed(group)))


def _installed(group: str) -> dict[str, EntryPoint]:
    return _all_installed().get(group, {})


@cache
def _all_installed() -> dict[str, dict[str, EntryPoint]]:
    """Group → name → entry point, of all distributions; once a process, since it takes some 0.1 s."""
    points = entry_points()
    return {group: {point.name: point for point in points.select(group=group)} for group in GROUPS}


def load(group: str, name: str) -> Any:
    """Import the plug-in `name` of `group`.

    Raises:
        PluginError: If it is unknown or cannot be imported.
    """
    point = entry(group, name)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        missing = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        raise PluginError(
            f"the plug-in {name!r} of {group} cannot be imported",
            where=point.value,
            got=f"{type(error).__name__}: {error}",
            remedy=missing.remedy if missing else "install what it needs, or mend the plug-in",
        ) from error


def create(group: str, choice: PluginChoice, *context: Any) -> Any:
    """Make the chosen plug-in: its options are validated as its `Settings`, `context` follows.

    Raises:
        PluginError: If it is unknown, cannot be imported, or has no `Settings`.
        SettingsError: If its options are wrong.
    """
    factory = load(group, choice.name)
    return factory(settings_of(group, choice, factory), *context)


def settings_of(group: str, choice: PluginChoice, factory: Any) -> BaseModel:
    """The options of `choice`, validated as the `Settings` of `factory`."""
    model = getattr(factory, "Settings", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(
            f"the plug-in {choice.name!r} of {group} has no Settings",
            expected="an attribute `Settings`: a pydantic model of its options",
            got=repr(model),
        )
    return validated(model, choice.options, where=f"{group} {choice.name}")


def resolved(settings: BaseModel) -> dict[str, Any]:
    """`settings` as JSON values, the options of every plug-in that they choose written out in full.

    A log made today then means the same when a default has changed.

    Raises:
        PluginError, SettingsError: If a chosen plug-in is unknown, or its options are wrong.
    """
    values = settings.model_dump(mode="json")
    for name, value in settings:
        if isinstance(value, PluginChoice) and value.group:
            options = settings_of(value.group, value, load(value.group, value.name))
            values[name]["options"] = resolved(options)
    return values
