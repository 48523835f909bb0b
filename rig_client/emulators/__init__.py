"""Emulated recorders: `rig-client emulate`. They speak the recorders' formats from simulated neurons.

A kind of emulator is a class with `Settings` (an `EmulatorSettings`), called with them; it has
`announcement()`, `run(stop)` and `close()`. Those that stream are an `Emulator` with a `Speaker`.
"""

from __future__ import annotations

import importlib
from typing import Any

from protocols.errors import SettingsError

STREAMING = {
    "open-ephys-events": "rig_client.emulators.open_ephys_events:OpenEphysEventsSpeaker",
    "open-ephys-zmq": "rig_client.emulators.open_ephys_zmq:OpenEphysZmqSpeaker",
    "intan": "rig_client.emulators.intan:IntanSpeaker",
    "cerebus": "rig_client.emulators.cerebus:CerebusSpeaker",
    "lsl": "rig_client.emulators.lsl:LslSpeaker",
}
"""Kinds that are a `Speaker`: called with (settings, site ids)."""
OTHERS = {"shared-folder": "rig_client.emulators.shared_folder:SharedFolderEmulator"}
"""Kinds that are an emulator of their own: called with (settings)."""


def kinds() -> tuple[str, ...]:
    """Names of all emulators."""
    return tuple(sorted({**STREAMING, **OTHERS}))


def loaded(kind: str) -> Any:
    """The class of `kind`, with its `Settings`.

    Raises:
        SettingsError: If there is none; the message lists those that are.
    """
    place = {**STREAMING, **OTHERS}.get(kind)
    if place is None:
        raise SettingsError(
            "there is no such emulator",
            expected=", ".join(kinds()),
            got=kind,
            remedy="check the spelling",
        )
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def made(kind: str, settings: Any) -> Any:
    """The emulator of `kind`, ready to `run`."""
    factory = loaded(kind)
    if kind in OTHERS:
        return factory(settings)
    from rig_client.emulators.emulator import Emulator
    from rig_client.emulators.neurons import PluginNeurons

    neurons = PluginNeurons(settings.neurons)
    return Emulator(settings, factory(settings, neurons.site_ids), neurons)
