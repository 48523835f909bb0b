"""Which image a row belongs to, by whatever name the file gives it; never by a guess."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.words import IMAGES, plain, role_of

NO_IMAGE = frozenset({"", "-1", "nan", "none", "null", "blank", "gray", "grey", "<na>", "omitted"})
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

    Names are file names (with or without folders and ending), the number in a file name, or the place
    in the set, counted from 0 or from 1: the latter only if all of 0 … n−1, or of 1 … n, occur.
    """
    different = {name: place for place, name in enumerate(dict.fromkeys(names))}
    found = _match_different(list(different), images)
    if found is None:
        return None
    rows = np.array([different[name] for name in names], dtype=np.int64)
    return Match(found.places[rows], found.how)


def _match_different(names: Sequence[str], images: Sequence[str]) -> Match | None:
    wanted = [_text(name) for name in names]
    images = [_text(image) for image in images]
    there = {image.casefold() for image in images}
    blank = np.array([w.casefold() in NO_IMAGE - there for w in wanted], dtype=bool)
    if blank.all():
        return None
    known, paths = _common_start(wanted, blank), _common_start(images, None)
    for how, of_row, of_image in (
        ("by name", _same, _same),
        ("by name", str.casefold, str.casefold),
        ("by file name", _file, _file),
        ("by file name", _stem, _stem),
        ("by path", partial(_below, start=known), partial(_below, start=paths)),
        ("by the number in the file name", _number_alone, _number),
    ):
        index = _looked_up(wanted, blank, images, of_row, of_image)
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
    of_row: Callable[[str], str | None],
    of_image: Callable[[str], str | None],
) -> NDArray[np.int64] | None:
    places: dict[str, int] = {}
    for place, image in enumerate(images):
        word = of_image(image)
        if word is None or word in places:
            return None
        places[word] = place
    index = np.full(len(names), -1, dtype=np.int64)
    for row, name in enumerate(names):
        if not blank[row]:
            word = of_row(name)
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


def _same(name: str) -> str:
    return name


def _text(name: object) -> str:
    """3, 3.0 and "3" are one name; so is é as one letter and as two (macOS)."""
    text = unicodedata.normalize("NFC", str(name).strip())
    return text[:-2] if re.fullmatch(r"-?\d+\.0", text) else text


def _parts(name: str) -> tuple[str, ...]:
    """Folders and file name, in small letters, without the ending of an image file."""
    path = PureWindowsPath(name) if "\\" in name else PurePosixPath(name)
    folders = [part for part in path.parts[:-1] if part != path.anchor]
    return (*(part.casefold() for part in folders), _stem(name))


def _common_start(names: Sequence[str], blank: NDArray[np.bool_] | None) -> int:
    """How many folders all names begin with."""
    parts = [_parts(n)[:-1] for i, n in enumerate(names) if blank is None or not blank[i]]
    first = min(parts, key=len)
    return next((i for i in range(len(first)) if len({p[i] for p in parts}) > 1), len(first))


def _below(name: str, start: int) -> str:
    """The path below the folders that all share."""
    return "/".join(_parts(name)[start:])


def _file(name: str) -> str:
    last = PureWindowsPath(name).name if "\\" in name else PurePosixPath(name).name
    return last.casefold()


def _stem(name: str) -> str:
    return re.sub(r"\.(png|jpe?g|bmp|tiff?|webp|gif)$", "", _file(name))


def _number(name: str) -> str | None:
    numbers = re.findall(r"\d+", _stem(name))
    return str(int(numbers[-1])) if numbers else None


def _number_alone(name: str) -> str | None:
    """The number of a row that names no more than it: `7`, `im7`, `stimulus 007.png`."""
    found = re.fullmatch(r"\D*?(\d+)", _stem(name))
    word = re.sub(r"\d+$", "", _stem(name))
    if found is None or not (plain(word) == "" or role_of(word) == IMAGES):
        return None
    return str(int(found.group(1)))


def _unmatched(
    columns: Mapping[str, Sequence[str]], images: Sequence[str], where: str
) -> DataError:
    column, names = next(iter(columns.items()))
    stems = [_stem(image) for image in images]
    strange = [n for n in dict.fromkeys(map(_text, names)) if _stem(n) not in set(stems)]
    if not strange:
        several = [n for n in dict.fromkeys(map(_text, names)) if stems.count(_stem(n)) > 1]
        called = [image for image in images if _stem(image) == _stem(several[0])]
        return DataError(
            f"{len(several)} names in the responses could each be several of the images given",
            where=f"{where}, {column}",
            expected=f"one image for each name: {' or '.join(called)[:200]}?",
            got=", ".join(several[:NAMED]),
            remedy="write the names with folder and ending, as the images have them, or remove the "
            "images that were not shown",
        )
    return DataError(
        "the images that the responses name are not among the images given",
        where=f"{where}, {column}",
        expected=f"names such as {', '.join(images[:3])} ({len(images)} images)",
        got=f"{', '.join(strange[:NAMED])} ({len(set(names))} names)",
        remedy="give the folder or zip of the images that were shown, with their names; numbers are "
        "read as places only if each of 0 … n−1, or of 1 … n, occurs",
    )
