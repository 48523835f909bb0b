"""Numbers in words."""

from __future__ import annotations


def n_of(number: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def times(number: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
