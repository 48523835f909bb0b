"""What a file of responses says, whatever its format: the one shape that all readers make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DataError
from protocols.interfaces import PhotographSet

UNITS = "spikes/s"


@dataclass(frozen=True)
class Wanted:
    """What the user says about a file of responses.

    Attributes:
        axes: Names of the array's axes, in order: some of images, sites, repeats; none: by shape.
        array: Which array, variable, column or table holds the responses; "" if there is one only.
        site_names: A name for each site; none: as the file says.
        window_s: Count window `[start, stop)` after onset; None: what the file or the default says.
        image_names: Of the images given beside the responses, in their order; None if the file is
            to have its own.
    """

    axes: tuple[str, ...] = ()
    array: str = ""
    site_names: tuple[str, ...] = ()
    window_s: tuple[float, float] | None = None
    image_names: tuple[str, ...] | None = None

    @property
    def n_images(self) -> int | None:
        """How many images there are beside the responses."""
        return None if self.image_names is None else len(self.image_names)


@dataclass(frozen=True)
class Measured:
    """Responses to images.

    Attributes:
        values: `(n_rows, n_sites, n_repeats)`, NaN where not measured. Rows are images, or
            presentations if `image_names` repeats.
        site_ids: A name for each site.
        image_names: Column → which image each row belongs to: file names, numbers or hashes; where
            there are several columns, one of them must fit. Empty if rows are images in the order of
            the set of images.
        images: The images, with the names that `image_names` uses, if the file holds them.
        unit: What the values are: spikes/s, or "" if the file does not say.
        notes: What else was understood, in words.
        conditions: What must be alike for days to be joined, in words: the count window, where images
            were shown, their size.
    """

    values: NDArray[np.float64]
    site_ids: tuple[str, ...]
    image_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    images: PhotographSet | None = None
    unit: str = ""
    notes: tuple[str, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)

    def named(self, names: Sequence[str]) -> Measured:
        """With other names of the sites.

        Raises:
            DataError: If there are not as many names as sites.
        """
        if not names:
            return self
        if len(names) != len(self.site_ids):
            raise DataError(
                "there are not as many names as sites",
                where="--site-names",
                expected=f"{len(self.site_ids)} names, separated by commas",
                got=len(names),
            )
        return replace(self, site_ids=tuple(names))


def number_names(n: int) -> tuple[str, ...]:
    """What sites are called if nobody named them: 0, 1, 2 …"""
    return tuple(str(i) for i in range(n))
