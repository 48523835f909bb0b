"""What a cell's result hangs on besides its settings: libraries, our code, and a laboratory's plug-ins."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from protocols import plugins
from protocols.digests import combined_digest
from protocols.errors import PluginError
from synth_server.session.build import installed_versions

WITHOUT_EFFECT = ("python", "pydantic", "pyzmq")
"""Versions that decide nothing in a session without sockets."""
CODE = (
    "protocols",
    "encoders",
    "simulated_neurons",
    "rig_client",
    "synth_server.session",
    "synth_server.synthesis",
    "synth_server.readers",
    "synth_server.campaign",
)
"""Packages that play a session and measure it. A release's code is its version; a checkout's is not."""
GROUPS = {
    "subject": "stimloop.subjects",
    "population": "stimloop.subjects",
    "generator": "stimloop.generators",
    "optimizer": "stimloop.optimizers",
    "objective": "stimloop.objectives",
    "protocol": "stimloop.protocols",
}
"""Setting → group of the plug-in that it chooses."""


@cache
def deciding_versions() -> dict[str, str]:
    """Library → version, and a digest of our code under `code`."""
    found = {k: v for k, v in installed_versions().items() if k not in WITHOUT_EFFECT}
    return {**found, "code": combined_digest(map(_package_digest, CODE))[:16]}


def plugin_versions(document: Any) -> dict[str, str]:
    """Plug-in → version of its distribution and digest of its module; of those that are not ours."""
    found = {}
    for group, name in sorted(set(_chosen(document))):
        try:
            point = plugins.entry(group, name)
        except PluginError:
            continue  # whoever needs it says so
        if point.dist is not None and point.dist.name != "stimloop":
            found[f"{group} {name}"] = f"{point.dist.version} {_module_digest(point)}"
    return found


def _chosen(value: Any, setting: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        if setting in GROUPS and isinstance(value.get("name"), str):
            yield GROUPS[setting], value["name"]
        for name, each in value.items():
            yield from _chosen(each, name)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _chosen(each)
    elif setting == "protocol" and isinstance(value, str):
        yield GROUPS[setting], value


@cache
def _package_digest(package: str) -> str:
    spec = find_spec(package)
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    return combined_digest(
        f"{file.relative_to(folder).as_posix()} {_file_digest(file)}"
        for folder in map(Path, folders)
        for file in sorted(folder.rglob("*.py"))
    )


def _module_digest(point: EntryPoint) -> str:
    spec = find_spec(point.module)
    return _file_digest(Path(spec.origin))[:16] if spec and spec.origin else ""


def _file_digest(file: Path) -> str:
    """Line ends as git may write them make no difference."""
    return hashlib.sha256(file.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
