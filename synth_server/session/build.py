"""From settings to plans: the apparatus that each thread's plan is given."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from protocols import plugins
from protocols.documents import (
    LOG_VERSION,
    SessionSettings,
    SessionStarted,
    ThreadSettings,
)
from protocols.errors import SettingsError
from protocols.interfaces import (
    Apparatus,
    Plan,
)
from protocols.settings import PluginChoice
from protocols.wire import WIRE_VERSION
from synth_server.session.apparatus import ThreadApparatus
from synth_server.session.conductor import Conductor
from synth_server.session.equipment import Equipment
from synth_server.session.log import SessionLog, remove_log
from synth_server.session.placing import placed_thread, places_of
from synth_server.session.products import Products, products_folder
from synth_server.session.session import Session

logger = logging.getLogger(__name__)
VERSIONED = ("stimloop", "numpy", "torch", "torchvision", "scipy", "pydantic", "pyzmq")


def resolved(settings: SessionSettings) -> SessionSettings:
    """The same settings with every default written out, checked against each protocol's model.

    Raises:
        PluginError: If a thread's protocol is not installed.
        SettingsError: If its settings are wrong, or two threads have one name.
    """
    names = [thread.name for thread in settings.threads]
    if len(set(names)) < len(names):
        raise SettingsError("two threads have the same name", got=", ".join(names))
    threads = tuple(resolved_thread(thread) for thread in settings.threads)
    return settings.model_copy(update={"threads": threads})


def resolved_thread(thread: ThreadSettings) -> ThreadSettings:
    """One thread's settings with every default written out.

    Raises:
        PluginError: If its protocol is not installed.
        SettingsError: If its settings are wrong.
    """
    experiment = plugins.load("stimloop.protocols", thread.protocol)
    choice = PluginChoice(name=thread.protocol, options=thread.settings)
    checked = plugins.settings_of("stimloop.protocols", choice, experiment)
    return placed_thread(thread.model_copy(update={"settings": plugins.resolved(checked)}))


def build_plans(settings: SessionSettings, equipment: Equipment) -> dict[str, Plan]:
    """Thread name → fresh plan."""
    workshop = Workshop(settings.seed, equipment)
    return {thread.name: workshop.plan(thread) for thread in settings.threads}


class Workshop:
    """Makes a session's plans, also of threads that are added while it runs.

    Args:
        seed: The session's.
        equipment: What its threads share.
    """

    def __init__(self, seed: int, equipment: Equipment) -> None:
        self._seed, self._equipment = seed, equipment

    @property
    def digests(self) -> dict[str, str]:
        """See `Equipment.digests`."""
        return self._equipment.digests

    @property
    def predicted(self) -> dict[str, tuple[str, ...]]:
        """See `Equipment.predicted`."""
        return self._equipment.predicted

    def resolved(self, thread: ThreadSettings) -> ThreadSettings:
        """See `resolved_thread`."""
        return resolved_thread(thread)

    def forget(self, n_objectives: int, digests: Mapping[str, str]) -> None:
        """Undo what a plan that is not used has asked for."""
        del self._equipment.objectives[n_objectives:]
        self._equipment.digests.clear()
        self._equipment.digests.update(digests)

    def plan(self, thread: ThreadSettings) -> Plan:
        """A fresh plan; nothing of it has run."""
        experiment = plugins.load("stimloop.protocols", thread.protocol)
        choice = PluginChoice(name=thread.protocol, options=thread.settings)
        checked = plugins.settings_of("stimloop.protocols", choice, experiment)
        apparatus: Apparatus = ThreadApparatus(self._equipment, self._seed, thread.name)
        plan: Plan = experiment(checked, apparatus)
        return plan


def new_session(settings: SessionSettings, path: Path) -> Session:
    """Build the plans, compute their first blocks, start the log.

    Raises:
        LogError: If there is a log at `path` already.
        SettingsError, PluginError: If the settings cannot be carried out.
    """
    settings = resolved(settings)
    equipment = Equipment(Products(products_folder(path)))
    conductor = Conductor(build_plans(settings, equipment), places_of(settings))
    start = SessionStarted(
        log_version=LOG_VERSION,
        wire_version=WIRE_VERSION,
        settings=settings,
        equipment=equipment.digests,
        versions=installed_versions(),
        device=device_name(),
    )
    log = SessionLog.create(path, start)
    try:
        workshop = Workshop(settings.seed, equipment)
        session = Session(settings, log, conductor, equipment.objectives, workshop)
        equipment.products.interrupted = session.is_told_to_end
        session.advance()
    except BaseException:
        log.close()
        remove_log(path)
        raise
    return session


def installed_versions() -> dict[str, str]:
    """Versions of what decides a session's course."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_name() -> str:
    """The accelerator in use; `cpu` where there is none or torch was not needed."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())
