"""How conformance checks say that a promise is broken: one sentence, as `PluginError`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from protocols.errors import PluginError, StimloopError


def require(kept: bool, promise: str, *, got: object = "") -> None:
    """Raise `PluginError` with `promise` unless it is `kept`."""
    if not kept:
        raise PluginError(promise, where="conformance check", got=got)


@contextmanager
def refused(promise: str) -> Iterator[None]:
    """What is done inside must raise an error of `protocols.errors`."""
    try:
        yield
    except StimloopError:
        return
    except Exception as error:
        raise PluginError(
            promise,
            where="conformance check",
            expected="an error from protocols.errors",
            got=f"{type(error).__name__}: {error}",
        ) from error
    raise PluginError(promise, where="conformance check", got="no error")


@contextmanager
def unmutated(action: str, *arrays: NDArray[np.generic]) -> Iterator[None]:
    """What is done inside must leave `arrays` as they are, to the bit."""
    before = [array.copy() for array in arrays]
    yield
    for array, copy in zip(arrays, before, strict=True):
        require(array.tobytes() == copy.tobytes(), f"{action} must not change its arguments")
