"""Randomness comes only from here: one seed gives one session.

A stream is named by a path, such as `(session seed, "thread", "site-3", "order")`. Streams with
different paths are independent, and asking for one never advances another; so a restarted process
draws the same numbers as the one that it replaces.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derived_seed(seed: int, *path: str | int) -> int:
    """A 128-bit seed for the stream that `path` names under `seed`."""
    name = json.dumps([seed, *path], separators=(",", ":")).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:16], "big")


def random_stream(seed: int, *path: str | int) -> np.random.Generator:
    """The random stream that `path` names under `seed`."""
    return np.random.Generator(np.random.PCG64(derived_seed(seed, *path)))
