"""pynwb and pyarrow, imported when a command needs them."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from protocols.errors import InstallationError


def nwb(module: str) -> Any:
    """A module of pynwb or hdmf, such as `pynwb.file`.

    Raises:
        InstallationError: If pynwb is not installed.
    """
    logging.getLogger("numexpr").setLevel(logging.WARNING)
    return _loaded(module, "NWB files need pynwb")


def pyarrow(module: str) -> Any:
    """A module of pyarrow, such as `pyarrow.parquet`.

    Raises:
        InstallationError: If pyarrow is not installed.
    """
    return _loaded(module, "Parquet files need pyarrow; CSV does not")


def _loaded(module: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise InstallationError(what, got=error, remedy="pip install 'stimloop[nwb]'") from None
