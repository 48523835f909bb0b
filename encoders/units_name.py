"""The units of a network, by the name that stands where an encoder's file may stand."""

from __future__ import annotations

from pathlib import Path

PREFIX = "units:"


def names_units(encoder: str | Path) -> bool:
    """Whether this is `units:NETWORK/LAYER@SIZE`, and no file."""
    return str(encoder).startswith(PREFIX)
