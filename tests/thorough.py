"""How often a test repeats what may go wrong at any moment: a few times, or with
`STIMLOOP_THOROUGH=1` as often as the issue that asked for it says."""

from __future__ import annotations

import os

IS_THOROUGH = bool(os.environ.get("STIMLOOP_THOROUGH"))


def times(thorough: int, usual: int) -> int:
    """`thorough` if that is asked for, else `usual`."""
    return thorough if IS_THOROUGH else usual
