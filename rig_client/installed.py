"""Packages that only some rigs need: imported when a plug-in asks for them."""

from __future__ import annotations

import importlib
from typing import Any

from protocols.errors import InstallationError


def imported(module: str, *, needed_by: str, install: str) -> Any:
    """The module `module`.

    Args:
        needed_by: What needs it, for the message.
        install: How to get it.

    Raises:
        InstallationError: If it is not installed, or cannot be loaded here.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, AttributeError, RuntimeError) as error:
        raise InstallationError(
            f"{needed_by} needs the package {module!r}",
            got=f"{type(error).__name__}: {error}",
            remedy=install,
        ) from error
