"""Images that were shown more than once: equal ones are repetitions, near copies stay together.

Whoever scores a fit holds images out. An image on both sides of the split, or a copy of it (the same
picture from a JPEG and from a PNG, or brought to size from another resolution), makes a score that
looks right and means nothing: noise is predicted from its own repetition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.digests import image_id
from protocols.errors import DataError
from protocols.vocabulary import Images

SAMPLES = 24
"""Pixels along each side of the grid by which images are compared."""
NEAR_RMS = 6.0
"""Root mean square difference, of 255, below which two images may be copies of each other …"""
NEAR_R = 0.98
"""… if their pixels also correlate so well: two faint gratings differ by little, and are no copies."""
ROWS_AT_ONCE = 512


def first_of_equals(images: Images) -> NDArray[np.int64]:
    """For each image the index of the first that has the same pixels, `(n,)`."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(image_id(each), i) for i, each in enumerate(images)])


def copies(images: Images) -> NDArray[np.int64]:
    """A number for each image, `(n,)`; copies of one picture, also inexact ones, share one."""
    points = _points(images)
    group = np.arange(len(images))
    squares = (points**2).sum(axis=1)
    centred = points - points.mean(axis=1, keepdims=True)
    norms = np.sqrt((centred**2).sum(axis=1))
    for start in range(0, len(images), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        squared = squares[rows, None] + squares - 2 * points[rows] @ points.T
        near = squared < NEAR_RMS**2 * points.shape[1]
        near &= centred[rows] @ centred.T >= NEAR_R * norms[rows, None] * norms
        for row, other in np.argwhere(near):
            _join(group, start + int(row), int(other))
    return np.array([_root(group, i) for i in range(len(images))], dtype=np.int64)


def split_off(
    order: NDArray[np.int64], n_held_out: int, groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first images of `order` to hold out, with their copies, and the rest to train on.

    Args:
        order: All indices, shuffled.
        n_held_out: How many to hold out; more where copies come along.
        groups: Of every index, see `copies`.

    Returns:
        Indices to train on and held out; each index of `order` is in one of them.

    Raises:
        DataError: If all images are copies of those held out, so that none is left to train on.
    """
    together = _together(order, groups)
    end = _end_of_group(groups[together], n_held_out)
    if end == len(together):
        raise _nothing_left(groups)
    return together[end:], together[:end]


def folds(
    order: NDArray[np.int64], n_folds: int, groups: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """`order` in at most `n_folds` parts of about one size, copies within one part, none empty.

    Raises:
        DataError: If all images are copies of one picture.
    """
    together = _together(order, groups)
    sizes = [len(part) for part in np.array_split(together, n_folds)]
    ends = [_end_of_group(groups[together], int(end)) for end in np.cumsum(sizes)]
    parts = [part for part in np.split(together, ends[:-1]) if len(part)]
    if len(parts) < 2:
        raise _nothing_left(groups)
    return parts


def _nothing_left(groups: NDArray[np.int64]) -> DataError:
    return DataError(
        "no image is left to train on: all are copies of those held out",
        where="images",
        expected="different images",
        got=f"{len(np.unique(groups))} different among {len(groups)}",
        remedy="show more different images, or hold out fewer",
    )


def _points(images: Images) -> NDArray[np.float32]:
    """Pixels on a grid, `(n, SAMPLES² · 3)`: picked, not averaged, so that texture is kept."""
    rows, columns = (
        np.linspace(0, side - 1, min(SAMPLES, side)).round().astype(int)
        for side in images.shape[1:3]
    )
    picked = images[:, rows][:, :, columns]
    return picked.reshape(len(images), -1).astype(np.float32)


def _together(order: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """`order`, with copies moved to the first of their group; unchanged if there are none."""
    place: dict[int, int] = {}
    for position, index in enumerate(order):
        place.setdefault(int(groups[index]), position)
    first = np.array([place[int(groups[index])] for index in order])
    return order[np.argsort(first, kind="stable")]


def _end_of_group(groups: NDArray[np.int64], end: int) -> int:
    while 0 < end < len(groups) and groups[end] == groups[end - 1]:
        end += 1
    return end


def _root(group: NDArray[np.int64], index: int) -> int:
    while group[index] != index:
        group[index] = group[group[index]]
        index = int(group[index])
    return index


def _join(group: NDArray[np.int64], one: int, other: int) -> None:
    a, b = _root(group, one), _root(group, other)
    group[max(a, b)] = min(a, b)
