"""Which axis of an array is which: by name, or by a length that only one axis has; never guessed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from synth_server.recordings.measured import Measured, Wanted, number_names
from synth_server.recordings.words import IMAGES, REPEATS, ROLES, SITES, WORDS, plain, role_of

EXAMPLE = "--axes repeats,images,sites"


@dataclass(frozen=True)
class NamedArray:
    """An array with what its file says about its axes.

    Attributes:
        values: Numbers.
        where: File and variable, for messages.
        dims: A name for each axis, "" where none is known; or none at all.
        labels: Role → names along that axis: of sites, or which image each row is.
        image_names: Variable → which image each row is, where the file says so in several ways.
    """

    values: NDArray[np.float64]
    where: str
    dims: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    image_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def measured(array: NamedArray, wanted: Wanted) -> Measured:
    """`array` as rows of images, sites and repetitions.

    Raises:
        DataError: If it cannot be told which axis is which; the message says how to tell it.
    """
    array = _squeezed(array, wanted)
    _check_numbers(array)
    roles = _roles(array, wanted)
    order = [roles.index(role) for role in ROLES if role in roles]
    values = array.values.transpose(order).astype(np.float64)
    for place, role in enumerate(ROLES):
        if role not in roles:
            values = np.expand_dims(values, place)
    sites = array.labels.get(SITES, ())
    names = sites if len(sites) == values.shape[1] else number_names(values.shape[1])
    rows = dict(array.image_names) or {IMAGES: array.labels.get(IMAGES, ())}
    shape = " × ".join(f"{n} {r}" for n, r in zip(array.values.shape, roles, strict=True))
    return Measured(
        values,
        names,
        image_names={name: each for name, each in rows.items() if len(each) == len(values)},
        notes=(f"read as {shape}",),
    ).named(wanted.site_names)


def _squeezed(array: NamedArray, wanted: Wanted) -> NamedArray:
    """Without axes of length one that a file names as something else, such as a time bin."""
    if len(array.dims) != array.values.ndim or wanted.axes:
        return array
    extra = [
        axis
        for axis, name in enumerate(array.dims)
        if name and role_of(name) not in ROLES and array.values.shape[axis] == 1
    ]
    kept = tuple(name for axis, name in enumerate(array.dims) if axis not in extra)
    return replace(array, values=np.squeeze(array.values, tuple(extra)), dims=kept)


def _check_numbers(array: NamedArray) -> None:
    values = array.values
    if values.dtype.kind not in "fiub" or not values.size or not 1 <= values.ndim <= 4:
        raise DataError(
            "this array holds no responses",
            where=array.where,
            expected="numbers, with axes for images, sites and, perhaps, repetitions",
            got=f"shape {values.shape}, type {values.dtype}",
        )


def _roles(array: NamedArray, wanted: Wanted) -> tuple[str, ...]:
    if wanted.axes:
        return _told(wanted.axes, array, wanted)
    by_name = tuple(role_of(name) or name for name in array.dims)
    if len(by_name) == array.values.ndim and all(by_name):
        return _checked(by_name, array, wanted)
    return _by_shape(array, wanted)


def _told(axes: Sequence[str], array: NamedArray, wanted: Wanted) -> tuple[str, ...]:
    roles = tuple(_role_told(name) for name in axes)
    if len(roles) != array.values.ndim:
        raise DataError(
            "--axes names another number of axes than the array has",
            where=array.where,
            expected=f"{array.values.ndim} names, for shape {array.values.shape}",
            got=",".join(axes),
        )
    return _checked(roles, array, wanted)


def _role_told(name: str) -> str:
    role = role_of(name)
    if role not in ROLES:
        known = {r: sorted(w for w in WORDS[r] if w.startswith(r[:4]))[:3] for r in ROLES}
        raise DataError(
            "this is no axis of responses",
            where="--axes",
            expected=f"{', '.join(ROLES)} (or such words as {known[SITES][0]}, unit, trial)",
            got=name,
        )
    return role


def _checked(roles: tuple[str, ...], array: NamedArray, wanted: Wanted) -> tuple[str, ...]:
    shape = array.values.shape
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise DataError(
            "an axis is neither images, sites nor repetitions",
            where=array.where,
            expected="an axis of images, perhaps one of sites, perhaps one of repetitions",
            got=f"{', '.join(array.dims)}, of shape {shape}",
            remedy="take the mean or sum over it first (a time axis: over the count window), "
            "or name the axes: " + EXAMPLE,
        )
    if len(set(roles)) < len(roles) or IMAGES not in roles:
        raise DataError(
            "each axis is named once, and one of them is images",
            where=array.where,
            expected=f"such as {EXAMPLE}",
            got=", ".join(roles),
        )
    n = shape[roles.index(IMAGES)]
    if wanted.n_images not in (None, n) and len(array.labels.get(IMAGES, ())) != n:
        raise DataError(
            f"there are {wanted.n_images} images, but responses to {n}",
            where=array.where,
            expected=f"{wanted.n_images} along the axis of images",
            got=f"shape {shape}, axes {', '.join(roles)}",
            remedy="give the images that were shown, in the order of the responses",
        )
    return roles


def _by_shape(array: NamedArray, wanted: Wanted) -> tuple[str, ...]:
    """The axis that is as long as there are images, and what the others must then be."""
    shape = array.values.shape
    rows = len(array.labels.get(IMAGES, ()))
    n_images = rows or wanted.n_images
    repeats = [axis for axis, name in enumerate(array.dims) if role_of(name) == REPEATS]
    here = [a for a, length in enumerate(shape) if length == n_images and a not in repeats]
    if not here:
        raise DataError(
            f"there are {n_images} images, but no axis of the responses is as long",
            where=array.where,
            expected=f"an axis of {n_images}",
            got=f"shape {shape}",
            remedy="give the images that were shown, each once, or a table with a column of image "
            "names (image, site, repetition, count)",
        )
    if len(here) > 1:
        raise _ask(array, f"{len(here)} axes are as long as there are images ({n_images})")
    others = [axis for axis in range(len(shape)) if axis != here[0]]
    if len(others) > 2:
        raise _ask(array, "it has more axes than images, sites and repetitions")
    sites = _sites_axis([a for a in others if a not in repeats], shape, array, wanted)
    roles = [REPEATS] * len(shape)
    roles[here[0]] = IMAGES
    if sites is not None:
        roles[sites] = SITES
    return tuple(roles)


def _sites_axis(
    others: list[int], shape: tuple[int, ...], array: NamedArray, wanted: Wanted
) -> int | None:
    """Which of the other axes are sites; one alone is, unless the names of sites say otherwise."""
    n_sites = len(wanted.site_names or array.labels.get(SITES, ()))
    if not others:
        return None
    if n_sites:
        fitting = [axis for axis in others if shape[axis] == n_sites]
        if len(fitting) == 1:
            return fitting[0]
        if n_sites == 1 and len(others) == 1:
            return None
        if not fitting:
            raise _ask(array, f"no axis is as long as there are names of sites ({n_sites})")
    if len(others) == 1:
        return others[0]
    raise _ask(array, "which axis is sites, and which is repetitions?")


def _ask(array: NamedArray, why: str) -> DataError:
    shape = array.values.shape
    if len(shape) > 3:
        remedy = "take the mean or sum over the others first (a time axis: over the count window)"
    elif len(shape) == 2:
        remedy = "say which is which: --axes images,sites or --axes sites,images"
    else:
        remedy = "name the axes in their order, such as --axes sites,images,repeats or " + EXAMPLE
    return DataError(
        f"the axes of the responses can be read in more than one way: {why}",
        where=array.where,
        expected="axes known by name (--axes, or a file that names them), or by their lengths",
        got=f"shape {shape}",
        remedy=remedy,
    )


def words_of_axes(text: str) -> tuple[str, ...]:
    """`"repeats, images,sites"` of the command line in parts."""
    return tuple(plain(part) for part in text.split(",") if part.strip())
