"""Commented `rig.toml` files, one for each recorder: `rig-client example NAME`."""

from __future__ import annotations

from importlib.resources import files

from protocols.errors import SettingsError


def names() -> tuple[str, ...]:
    """All examples, sorted."""
    found = (path.name for path in files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def text(name: str) -> str:
    """The file `name`, without `.toml`.

    Raises:
        SettingsError: If there is none; the message lists those that are.
    """
    if name not in names():
        raise SettingsError("there is no such example", expected=", ".join(names()), got=name)
    return files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
