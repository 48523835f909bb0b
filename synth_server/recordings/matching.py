"""Which image a row belongs to, by whatever name the file gives it; never by a guess."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError

NO_IMAGE = frozenset({"", "-1", "nan", "none", "null", "blank", "gray", "grey", "<na>"})
"""How a row without an image is written: a blank, or an image that was left out."""
NAMED = 6
"""Names in an error."""


class Match(NamedTuple):
    """Rows → images.

    Attributes:
        places: `(n_rows,)` of the image; −1 for rows without one.
        how: In words.
    """

    places: NDArray[np.int64]
    how: str


def match(names: Sequence[str], images: Sequence[str]) -> Match | None:
    """Rows named `names` among images named `images`; None if they do not fit.

    Names are file names (with or without folder and ending), the number in a file name, or the place
    in the set, counted from 0 or from 1: the latter only if all of 0 … n−1, or of 1 … n, occur.
    """
    wanted = [_text(name) for name in names]
    blank = np.array([name.casefold() in NO_IMAGE for name in wanted], dtype=bool)
    if blank.all():
        return None
    for how, key in (
        ("by name", str.casefold),
        ("by file name", _file),
        ("by file name", _stem),
        ("by the number in the file name", _number),
    ):
        index = _looked_up(wanted, blank, images, key)
        if index is not None:
            return Match(index, how)
    return _by_place(wanted, blank, len(images))


def matched(
    columns: Mapping[str, Sequence[str]], images: Sequence[str], where: str
) -> tuple[str, Match]:
    """The column of `columns` that names images, and what it says.

    Raises:
        DataError: If none does, or two do and disagree.
    """
    found = {
        column: fit
        for column, names in columns.items()
        if (fit := match(names, images)) is not None
    }
    if not found:
        raise _unmatched(columns, images, where)
    (column, best), *others = found.items()
    for other, fit in others:
        if not np.array_equal(fit.places, best.places):
            raise DataError(
                f"two columns name images, and they disagree: {column} and {other}",
                where=where,
                expected="one column of image names",
                remedy="remove one of them from the file",
            )
    return column, best


def _looked_up(
    names: Sequence[str],
    blank: NDArray[np.bool_],
    images: Sequence[str],
    key: Callable[[str], str | None],
) -> NDArray[np.int64] | None:
    places: dict[str, int] = {}
    for place, image in enumerate(images):
        word = key(image)
        if word is None or word in places:
            return None
        places[word] = place
    index = np.full(len(names), -1, dtype=np.int64)
    for row, name in enumerate(names):
        if not blank[row]:
            word = key(name)
            if word not in places:
                return None
            index[row] = places[str(word)]
    return index


def _by_place(names: Sequence[str], blank: NDArray[np.bool_], n: int) -> Match | None:
    try:
        numbers = np.array([-1 if b else int(x) for x, b in zip(names, blank, strict=True)])
    except ValueError:
        return None
    used = np.unique(numbers[~blank])
    for first in (0, 1):
        if len(used) == n and used[0] == first and used[-1] == n + first - 1:
            return Match(np.where(blank, -1, numbers - first), f"by place, counted from {first}")
    return None


def _text(name: object) -> str:
    """3, 3.0 and "3" are one name."""
    text = str(name).strip()
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _file(name: str) -> str:
    last = PureWindowsPath(name).name if "\\" in name else PurePosixPath(name).name
    return last.casefold()


def _stem(name: str) -> str:
    return re.sub(r"\.(png|jpe?g|bmp|tiff?|webp|gif)$", "", _file(name))


def _number(name: str) -> str | None:
    numbers = re.findall(r"\d+", _stem(name))
    return str(int(numbers[-1])) if numbers else None


def _unmatched(
    columns: Mapping[str, Sequence[str]], images: Sequence[str], where: str
) -> DataError:
    column, names = next(iter(columns.items()))
    known = {_stem(image) for image in images}
    strange = [n for n in dict.fromkeys(map(_text, names)) if _stem(n) not in known]
    return DataError(
        "the images that the responses name are not among the images given",
        where=f"{where}, {column}",
        expected=f"names such as {', '.join(images[:3])} ({len(images)} images)",
        got=f"{', '.join(strange[:NAMED])} ({len(set(names))} names)",
        remedy="give the folder or zip of the images that were shown, with their names; numbers are "
        "read as places only if each of 0 … n−1, or of 1 … n, occurs",
    )
