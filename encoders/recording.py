"""A recording as a fit needs it: images, mean responses, and how often each was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from encoders.copies import copies, first_of_equals, split_off
from protocols.digests import array_digest, combined_digest
from protocols.errors import DataError
from protocols.vocabulary import Images, check_images

MIN_IMAGES = 10
"""Fewer measured images of a site are refused: nothing can be learned from them."""
NAMED = 8
"""Sites named in an error."""


@dataclass(frozen=True, eq=False)
class Recording:
    """What sites answered to images.

    Attributes:
        images: `(n_images, h, w, 3) uint8`.
        means: `(n_images, n_sites)`, mean over repetitions; NaN where never measured.
        repetitions: `(n_images, n_sites)`, measurements behind each mean, 0 where none.
        site_ids: A name for each site.
        trials: `(n_images, n_sites, n_repetitions)`, NaN-padded; None if only means are known.
    """

    images: Images
    means: NDArray[np.float64]
    repetitions: NDArray[np.int64]
    site_ids: tuple[str, ...]
    trials: NDArray[np.float64] | None = None

    @classmethod
    def of(
        cls, images: Images, responses: NDArray[np.floating], site_ids: Sequence[str] | None = None
    ) -> Self:
        """From what files hold. Equal images become one, and their responses its repetitions.

        Args:
            images: `(n_images, h, w, 3) uint8`.
            responses: `(n_sites, n_images)` means or `(n_sites, n_images, n_repetitions)`, NaN where
                not measured; in spikes/s if the encoder is to predict spikes/s.
            site_ids: Names; by default the row's number.

        Raises:
            DataError: If shapes do not fit, values are infinite, or names repeat.
        """
        check_images(images)
        responses = _checked_responses(responses, len(images))
        names = tuple(str(i) for i in range(len(responses)) if site_ids is None) or tuple(
            site_ids or ()
        )
        if len(names) != len(responses) or len(set(names)) != len(names):
            raise DataError(
                "sites need one name each, all different",
                where="site_ids",
                expected=f"{len(responses)} names",
                got=f"{len(names)} names, {len(set(names))} different",
            )
        has_trials = responses.ndim == 3
        trials = responses if has_trials else responses[:, :, None]
        first = first_of_equals(images)
        if len(kept := np.unique(first)) < len(images):
            images, trials, has_trials = images[kept], _pooled(trials, first), True
        measured = np.isfinite(trials)
        repetitions = measured.sum(axis=2).T
        sums = np.where(measured, trials, 0.0).sum(axis=2).T
        means = np.where(repetitions > 0, sums / np.maximum(repetitions, 1), np.nan)
        by_image = trials.transpose(1, 0, 2) if has_trials else None
        return cls(images, means, repetitions, names, by_image)

    @property
    def n_images(self) -> int:
        """Images shown."""
        return len(self.images)

    def held_out(
        self, n_held_out: int, random: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A random split: indices of the images to train on, and of those held out.

        Copies of one picture (see `encoders.copies`) are on one side, so that a few more than
        `n_held_out` may be held out.
        """
        return split_off(random.permutation(self.n_images), n_held_out, self.copies)

    @cached_property
    def copies(self) -> NDArray[np.int64]:
        """A number for each image, `(n_images,)`; copies of one picture share one."""
        return copies(self.images)

    @property
    def digest(self) -> str:
        """Sha256 of images, responses and names."""
        measured = self.means if self.trials is None else self.trials
        return combined_digest(
            [
                array_digest(self.images),
                array_digest(np.ascontiguousarray(measured)),
                *self.site_ids,
            ]
        )

    def of_images(self, chosen: NDArray[np.integer]) -> Self:
        """The same sites, for the images with these indices."""
        return type(self)(
            self.images[chosen],
            self.means[chosen],
            self.repetitions[chosen],
            self.site_ids,
            None if self.trials is None else self.trials[chosen],
        )

    def of_sites(self, site_ids: Sequence[str]) -> Self:
        """The same images, for these sites.

        Raises:
            DataError: If a site was not recorded.
        """
        unknown = [site for site in site_ids if site not in self.site_ids]
        if unknown or not site_ids:
            raise DataError(
                f"no recorded site is called {', '.join(unknown[:NAMED]) or '(none chosen)'}",
                where="sites",
                expected=f"some of {', '.join(self.site_ids)}"[:300],
            )
        rows = np.array([self.site_ids.index(site) for site in site_ids])
        return type(self)(
            self.images,
            self.means[:, rows],
            self.repetitions[:, rows],
            tuple(site_ids),
            None if self.trials is None else self.trials[:, rows],
        )

    def unusable_sites(self) -> dict[str, str]:
        """Sites that no encoder can be fitted to, and why."""
        reasons = {}
        for site, means in zip(self.site_ids, self.means.T, strict=True):
            measured = means[np.isfinite(means)]
            if len(measured) < MIN_IMAGES:
                reasons[site] = f"measured for {len(measured)} images"
            elif np.ptp(measured) <= 1e-9 * max(1.0, float(np.abs(measured).max())):
                reasons[site] = f"always answers {measured[0]:g}"
        return reasons

    def check_usable(self) -> None:
        """Raise `DataError` that names all sites that no encoder can be fitted to."""
        reasons = self.unusable_sites()
        if not reasons:
            return
        usable = [site for site in self.site_ids if site not in reasons]
        raise DataError(
            f"{len(reasons)} of {len(self.site_ids)} sites cannot be fitted",
            where="responses",
            expected=f"at least {MIN_IMAGES} measured images a site, with different responses",
            got="; ".join(f"site {k}: {why}" for k, why in list(reasons.items())[:NAMED]),
            remedy=f"leave them out: {len(usable)} sites remain"
            + (f" ({', '.join(usable[:NAMED])} …)" if usable else ""),
        )


def split_images(
    n_images: int,
    n_train: int,
    random: np.random.Generator,
    groups: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random split into training and held-out images: `(n_train,)`, `(n_images - n_train,)`.

    With `groups` (see `encoders.copies`), whole groups are held out, and so a few more images.

    Raises:
        DataError: If either part would be empty.
    """
    if not 0 < n_train < n_images:
        raise DataError(
            "the split leaves no images to train on or to test with",
            expected=f"1 … {n_images - 1} training images",
            got=n_train,
        )
    order = random.permutation(n_images)
    if groups is None or len(np.unique(groups)) == n_images:
        return order[:n_train], order[n_train:]
    return split_off(order[::-1], n_images - n_train, groups)


def _pooled(trials: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    """Responses to equal images as repetitions of one: `(n_sites, n_different, n_repetitions)`."""
    different, group, sizes = np.unique(first, return_inverse=True, return_counts=True)
    n_sites, _, n_each = trials.shape
    pooled = np.full((n_sites, len(different), int(sizes.max()) * n_each), np.nan)
    taken = np.zeros(len(different), dtype=np.int64)
    for image, place in enumerate(group):
        start = taken[place] * n_each
        pooled[:, place, start : start + n_each] = trials[:, image]
        taken[place] += 1
    return pooled


def _checked_responses(responses: NDArray[np.floating], n_images: int) -> NDArray[np.float64]:
    expected = (
        f"(n_sites, {n_images}) or (n_sites, {n_images}, n_repetitions) numbers, NaN: no count"
    )
    if (
        not isinstance(responses, np.ndarray)
        or responses.ndim not in (2, 3)
        or responses.dtype.kind not in "fiu"
        or not responses.size
    ):
        raise DataError(
            "responses have the wrong shape or type",
            where="responses",
            expected=expected,
            got=f"{np.shape(responses)} {getattr(responses, 'dtype', type(responses).__name__)}",
        )
    if responses.shape[1] != n_images:
        is_transposed = responses.shape[0] == n_images
        raise DataError(
            f"there are {n_images} images, but responses to {responses.shape[1]}",
            where="responses",
            expected=expected,
            got=responses.shape,
            remedy="transpose them: sites come first" if is_transposed else "",
        )
    if np.isinf(responses).any():
        raise DataError("responses are infinite", where="responses", expected=expected)
    return responses.astype(np.float64)
