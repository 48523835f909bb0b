"""Counts summed by place and texture, which is all that the likelihood of a field needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.sparse import csr_array

from protocols.fields import FieldShowings
from synth_server.receptive_fields.places import Floats, Places


@dataclass(frozen=True)
class Conditions:
    """What was shown how often, and the spikes that came: of all showings, or of resamples of them.

    Attributes:
        places: Where.
        showings: `(n_resamples, n_places, n_textures)` how often each was shown.
        total: `(n_resamples, n_places, n_textures, n_sites)` spikes in all its showings.
        n_blank: `(n_resamples,)` showings of gray.
        blank: `(n_resamples, n_sites)` spikes in all of these.
    """

    places: Places
    showings: Floats
    total: Floats
    n_blank: Floats
    blank: Floats

    @classmethod
    def of(cls, shown: FieldShowings, places: Places, weights: Floats | None = None) -> Self:
        """Of all showings; `weights` `(n_resamples, n)`: how often each counts in each resample."""
        times = np.ones((1, len(shown.texture))) if weights is None else weights
        patch, is_blank = ~shown.is_blank, shown.is_blank
        n_textures, n_sites = int(shown.texture.max()) + 1, shown.counts.shape[1]
        n_all = len(places) * n_textures
        key = places.of_row * n_textures + shown.texture[patch]
        ones = np.ones(len(key))
        summing = csr_array((ones, (key, np.arange(len(key)))), shape=(n_all, len(key)))
        shape = (len(times), len(places), n_textures)
        counts = shown.counts[patch]
        total = np.empty((len(times), n_all, n_sites))
        for number, each in enumerate(times[:, patch]):
            total[number] = summing @ (counts * each[:, None])
        return cls(
            places,
            (summing @ times[:, patch].T).T.reshape(shape),
            total.reshape(*shape, n_sites),
            times[:, is_blank].sum(axis=1),
            times[:, is_blank] @ shown.counts[is_blank],
        )
