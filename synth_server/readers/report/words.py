"""Settings and numbers in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


def n_of(number: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def times(number: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def choice(choice: Settings) -> str:
    """`deep (code_dim 512, tiles 2)`."""
    options = listed(choice.get("options", {}))
    return f"{choice['name']} ({options})" if options else str(choice["name"])


def listed(options: Settings) -> str:
    """`code_dim 512, tiles 2`; without those that are not set."""
    return ", ".join(
        f"{name} {_value(value)}" for name, value in options.items() if value is not None
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({listed(value)})"
    if isinstance(value, list):
        return "; ".join(_value(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
