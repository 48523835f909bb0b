"""How well a layer predicts neurons that it was fitted to, on images that the fit never saw.

Two figures are in use, and go by one word:

- *ours*, `noise_corrected`: the median over sites of r / √reliability, an estimate of the correlation with
  noiseless responses (Spearman 1904).
- *Brain-Score's*, `brain_score`: (the median over sites of the split-mean r)² / reliability, a share of
  explainable variance (Schrimpf et al. 2018; the formula as corrected in December 2025,
  github.com/brain-score/vision, pull request 2169: until then it was (r / reliability)²). Its own fit is
  PLS with 25 components, or ridge; the formula here is applied to whichever readout was fitted.

The second is about the square of the first: 0.70 of the one is 0.49 of the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoders.recording import Recording, split_images
from encoders.validation import (
    Fitted,
    Floats,
    correlations,
    noise_corrected,
    split_half_reliability,
)

Indices: TypeAlias = NDArray[np.int64]
Predict: TypeAlias = Callable[[Indices, Indices], Floats]
"""Fits to the images with the first indices, predicts those with the second: `(n_test, n_sites)`."""
N_SPLITS, TRAIN_SHARE = 10, 0.9
"""Brain-Score's scheme: fit on 90 % of the images, correlate on the rest, 10 times."""


class Predictivity(NamedTuple):
    """Of all sites together; None where the recording has no single trials."""

    r: float
    """Median over sites of the split-mean r."""
    noise_corrected: float | None
    brain_score: float | None


def predictivity(r: Floats, reliability: Floats | None) -> Predictivity:
    """Both figures, from each site's split-mean r and its reliability, `(n_sites,)`."""
    median = float(np.nanmedian(r))
    if reliability is None:
        return Predictivity(median, None, None)
    corrected = noise_corrected(r, reliability)
    usable = np.isfinite(corrected)
    ceiling = float(np.nanmedian(reliability))
    return Predictivity(
        median,
        float(np.median(corrected[usable])) if usable.any() else None,
        median**2 / ceiling if ceiling > 0 else None,
    )


def split_mean_r(
    predict: Predict,
    responses: Floats,
    random: np.random.Generator,
    *,
    images: Indices | None = None,
    copies: Indices | None = None,
    n_splits: int = N_SPLITS,
    train_share: float = TRAIN_SHARE,
) -> Floats:
    """r of every site on held-out images, the mean over random splits, `(n_sites,)`.

    Args:
        predict: Fits and predicts.
        responses: `(n_images, n_sites)`.
        random: Draws the splits.
        images: Only these take part, in fit and test; all if not given.
        copies: `(n_images,)`, a number for each image; those of one number are held out together.
        n_splits: Random splits.
        train_share: Of the images, fitted to.
    """
    known = np.arange(len(responses)) if images is None else images
    each = []
    for _ in range(n_splits):
        groups = None if copies is None else copies[known]
        parts = split_images(len(known), round(train_share * len(known)), random, groups)
        train, test = (known[part] for part in parts)
        each.append(correlations(predict(train, test), responses[test]))
    mean: Floats = np.nanmean(each, axis=0)
    return mean


def from_recordings(fitted: Fitted, recording: Recording) -> Predict:
    """A `Fitted`, which takes recordings, as a `Predict`, which takes indices of its images."""

    def predict(train: Indices, test: Indices) -> Floats:
        return fitted(recording.of_images(train), recording.images[test])

    return predict


def reliability_of(recording: Recording, random: np.random.Generator) -> Floats | None:
    """Of every site over all images, `(n_sites,)`; None without single trials."""
    if recording.trials is None or recording.trials.shape[2] < 2:
        return None
    return split_half_reliability(recording.trials, random)
