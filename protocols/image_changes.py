"""What makes versions of natural images for a plan: small changes, and parts kept or taken away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.vocabulary import Images

if TYPE_CHECKING:
    from protocols.interfaces import Encoder


class Changed(NamedTuple):
    """A version of a base image, and for whom it was made."""

    kind: str
    """What was done, a word: `drive`, `suppress`, `random`, `kept`, `removed`, `disc`, `patch`."""
    base: int
    """Row of the base among those that were given."""
    site: str
    """Whom it was made for; none: nobody in particular."""
    image: NDArray[np.uint8]
    """`(h, w, 3)`."""
    predicted: float | None
    """Rate of the site, spikes/s; None without one."""


class Perturbation(Protocol):
    """Makes small changes that an encoder predicts to drive or to suppress sites."""

    def __call__(
        self, encoder: Encoder, bases: Images, sites: Sequence[str], radius_levels: float, /
    ) -> Sequence[Changed]:
        """For each base one `random` change, and for each site a `drive` and a `suppress`.

        As shown, an image differs from its base by `radius_levels` gray levels of 255, RMS over pixels
        and channels.
        """
        ...


class ImageParts(Protocol):
    """Keeps or takes away the parts of images that an encoder says drive a site."""

    def __call__(
        self, encoder: Encoder, bases: Images, site: str, share: float, /
    ) -> Sequence[Changed]:
        """For each base: `kept`, `removed`, `disc` (at the site's field) and `patch` (anywhere)."""
        ...
