"""What a page is made from: an encoder and a recording of the same sites, scored and halved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.checkpoint import FittedEncoder, Loaded
from encoders.encoder import TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureStore
from encoders.masks import estimated_fields
from encoders.receptive_field import ReceptiveField
from encoders.recording import Recording
from encoders.validation import Floats, Scores, halves, scores
from protocols.errors import DataError
from protocols.seeds import random_stream
from protocols.vocabulary import Rates

FITTED = "all images, which the encoder was fitted to: too good"
LEAST_SCORED = 10
"""Images: a correlation over fewer says nothing."""


class Subject(NamedTuple):
    """All sites of a page; columns are those of `recording`."""

    encoder: FittedEncoder
    recording: Recording
    """Of the encoder's sites, in the encoder's order."""
    predicted: Rates
    """`(n_images, n_sites)`."""
    scores: Scores
    scored_on: str
    chosen_by: Floats
    """`(n_images, n_sites)`: means of one half of the trials; of all where there are none."""
    valued: Floats | None
    """The same of the other half."""
    fields: tuple[ReceptiveField, ...]
    store: FeatureStore
    by_member: tuple[Rates, ...]
    """What each member predicts, `(n_images, n_sites)`."""

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Of the columns."""
        return self.recording.site_ids

    @property
    def members(self) -> tuple[TwoStageEncoder, ...]:
        """The two-stage encoders that predict together."""
        return _members(self.encoder)


def _members(encoder: FittedEncoder) -> tuple[TwoStageEncoder, ...]:
    if isinstance(encoder, TwoStageEncoder):
        return (encoder,)
    return tuple(each for each in encoder.members if isinstance(each, TwoStageEncoder))


def subject_of(loaded: Loaded, recorded: Recording, seed: int) -> Subject:
    """Encoder and recording brought together.

    Raises:
        DataError: If the encoder is a network's units, or the recording lacks one of its sites.
    """
    encoder = loaded.encoder
    if not isinstance(encoder, TwoStageEncoder | EnsembleEncoder):
        raise DataError(
            "a network's units were not fitted to a recording, and nothing is to be explained",
            where="explain",
            expected="a file of synth-server fit",
            remedy="to see what units look for: synth-server synthesize units:…",
        )
    recording = recorded.of_sites(encoder.site_ids)
    store = FeatureStore()
    predicted = encoder.predict(recording.images, store)
    rows, scored_on = _scored_rows(loaded, recorded)
    shape = recording.images.shape[1:3]
    chosen_by, valued = recording.means, None
    if recording.trials is not None and recording.trials.shape[2] > 1:
        chosen_by, valued = halves(recording.trials, random_stream(seed, "explain", "halves"))
    return Subject(
        encoder,
        recording,
        predicted,
        scores(predicted[rows], recording.of_images(rows), random_stream(seed, "reliability")),
        scored_on,
        chosen_by,
        valued,
        estimated_fields(encoder, (shape[0], shape[1])),
        store,
        tuple(member.predict(recording.images, store) for member in _members(encoder)),
    )


def _scored_rows(loaded: Loaded, recorded: Recording) -> tuple[NDArray[np.int64], str]:
    """Images that the weights never saw, if there are such."""
    about = loaded.about.provenance
    every = np.arange(recorded.n_images)
    if (seen := about.has_seen(recorded.images)) is not None:
        unseen = np.flatnonzero(~seen)
        if len(unseen) == recorded.n_images:
            return every, "all images; the encoder was fitted to other ones"
        if len(unseen) < LEAST_SCORED:
            return every, FITTED
        return unseen, f"the {len(unseen)} images that the encoder was not fitted to"
    if about.data_digest != recorded.digest:
        return every, "all images; whether the encoder was fitted to them, its file does not say"
    if about.refit_on_all or len(about.split.held_out) < LEAST_SCORED:
        return every, FITTED
    held_out = np.array(about.split.held_out, np.int64)
    return held_out, f"the {len(held_out)} images that the fit held out"


def chosen_sites(wanted: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """The wanted sites, or all.

    Raises:
        DataError: If one is not known.
    """
    unknown = [site for site in wanted if site not in known]
    if unknown:
        raise DataError(
            "the encoder does not predict these sites",
            where="--sites",
            expected=", ".join(known)[:300],
            got=", ".join(unknown),
        )
    return tuple(wanted or known)
