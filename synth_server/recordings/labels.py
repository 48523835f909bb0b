"""Names of images and of sites that lie in a file beside its responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.matching import match
from synth_server.recordings.measured import Wanted
from synth_server.recordings.words import IMAGES, SITES, role_of


@dataclass(frozen=True)
class Variable:
    """An array of a file.

    Attributes:
        values: Numbers, words, or a cell array of arrays.
        dims: A name for each axis, if the file says so.
        why: Why it cannot be read; `values` is empty then.
    """

    values: NDArray[np.generic]
    dims: tuple[str, ...] = ()
    why: str = ""


class Labels(NamedTuple):
    """What was found beside an array.

    Attributes:
        of_axes: Role → names along that axis.
        image_names: Variable → which image each row is; where there are several, one must fit.
        used: Variables that these are.
    """

    of_axes: dict[str, tuple[str, ...]]
    image_names: dict[str, tuple[str, ...]]
    used: frozenset[str]


def labels_of(
    values: NDArray[np.float64], others: Mapping[str, Variable], wanted: Wanted, where: str
) -> Labels:
    """Names of images and sites that are as long as an axis of `values`.

    A vector names images if it is called so, or if its words are names of the images given.

    Raises:
        DataError: If a variable that seems to say which image each row is can't be used: the order of
            the rows would be a guess.
    """
    sites: dict[str, tuple[str, ...]] = {}
    images: dict[str, tuple[str, ...]] = {}
    for name, variable in others.items():
        words = _vector(variable)
        role = role_of(plain_name(name))
        if words is None or len(words) not in values.shape:
            _check_no_loss(name, role, variable, values.shape, wanted, where)
        elif role == SITES and len(set(words)) == len(words):
            sites.setdefault(name, words)
        elif role == IMAGES or _names_images(variable, words, wanted):
            images[name] = words
        elif role is None:
            _check_no_order(name, words, wanted, where)
    of_axes: dict[str, tuple[str, ...]] = {}
    if sites:
        of_axes[SITES] = next(iter(sites.values()))
    if images:
        of_axes[IMAGES] = next(iter(images.values()))
    used = frozenset([*list(sites)[:1], *images])
    length = len(of_axes.get(IMAGES, ()))
    return Labels(of_axes, {n: words for n, words in images.items() if len(words) == length}, used)


def plain_name(name: str) -> str:
    """The last part of `/group/name` or `struct.name`."""
    return name.replace("/", ".").rsplit(".", 1)[-1]


def word(value: object) -> object:
    """A value of a file as text or as a number of Python's."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, np.ndarray):
        return word(value.ravel()[0]) if value.size == 1 else str(value)
    return value.item() if isinstance(value, np.generic) else value


def _vector(variable: Variable) -> tuple[str, ...] | None:
    values = variable.values
    if variable.why or not values.size or max(values.shape, default=0) != values.size:
        return None
    return tuple(str(word(each)) for each in np.ravel(values))


def _names_images(variable: Variable, words: tuple[str, ...], wanted: Wanted) -> bool:
    if wanted.image_names is None or variable.values.dtype.kind not in "USO":
        return False
    fit = match(words, wanted.image_names)
    return fit is not None and fit.how in ("by name", "by file name", "by path")


def _check_no_loss(
    name: str,
    role: str | None,
    variable: Variable,
    shape: tuple[int, ...],
    wanted: Wanted,
    where: str,
) -> None:
    """Refuse to leave out names of images, unless the user named the axes."""
    is_list = variable.values.size > 1 and max(variable.values.shape) == variable.values.size
    if role != IMAGES or wanted.axes or not (variable.why or is_list):
        return
    raise DataError(
        f"{name} seems to say which image each row is, and cannot be used",
        where=where,
        expected=f"as many names as an axis is long, of shape {shape}",
        got=variable.why or f"{variable.values.size} names",
        remedy="save the names as text or whole numbers (np.array(names, dtype=str)), or remove them "
        "and name the axes (--axes), if rows are images in the order of the images given",
    )


def _check_no_order(name: str, words: tuple[str, ...], wanted: Wanted, where: str) -> None:
    """Refuse to overlook a vector that numbers all images in another order than theirs."""
    n = wanted.n_images
    if wanted.axes or n is None or len(words) != n or n < 3:
        return
    try:
        numbers = [float(each) for each in words]
    except ValueError:
        return
    counted = sorted(numbers)
    if numbers != counted and counted in ([*map(float, range(n))], [*map(float, range(1, n + 1))]):
        raise DataError(
            f"{name} numbers the images in another order: does it say which image each row is?",
            where=where,
            expected="a vector called image_id if it does; --axes if rows are in the images' order",
            got=", ".join(words[:8]),
        )
