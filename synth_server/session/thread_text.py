"""A thread that is added while a session runs, as text."""

from __future__ import annotations

import tomllib
from typing import Any

from protocols.errors import SettingsError


def thread_values(text: str, where: str) -> dict[str, Any]:
    """Of one thread, from TOML; of a `session.toml` or by itself.

    Raises:
        SettingsError: If it is no TOML, or describes several threads.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("this is not TOML", where=where, got=error) from None
    threads = values.get("threads")
    if threads is None:
        return values
    if not isinstance(threads, list) or len(threads) != 1 or not isinstance(threads[0], dict):
        raise SettingsError(
            "one thread at a time",
            where=where,
            expected="one [[threads]]",
            got=len(threads) if isinstance(threads, list) else threads,
            remedy="a file for each thread that is to be added",
        )
    return threads[0]
