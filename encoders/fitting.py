"""Fit encoders to a recording: layers and penalties by cross-validation, then all images at once.

Nothing here sees an image that the caller holds out: give `fit` the training images only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from encoders.alternating import fit_alternating
from encoders.backbones.robust import ROBUST
from encoders.copies import folds
from encoders.encoder import FLAT, Scaling, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureExtractor, FeatureStore, Tap
from encoders.gradient import AdamSettings, fit_by_gradient
from encoders.natural import NaturalStatistics, natural_statistics
from encoders.parallel import in_parallel
from encoders.progress import Progress, Steps, silent
from encoders.recording import Recording
from encoders.two_stage import Penalties, Readout
from encoders.validation import correlations
from protocols.seeds import random_stream
from protocols.settings import Frozen

LAYERS = tuple(
    Tap(
        backbone=f"efficientnet_{network}",
        layer=f"blocks.{block}",
        input_px=input_px,
        weights=ROBUST,
    )
    for network, input_px, blocks in (
        ("lite0", 80, (2, 3)),
        ("lite0", 112, (3, 4)),
        ("lite1", 88, (2, 3)),
        ("lite2", 80, (2, 3)),
    )
    for block in blocks
)
"""The default ensemble: mid-level layers, as V4 is, of three networks, at several scales.

Coarse scales and `blocks.2` predict natural images a little worse than others, and their gradients
carry over to neurons better: both were weighed, on neurons and splits that are not reported.
"""

PENALTIES = tuple(
    Penalties(spatial=strength, mixing=strength, smoothness=1.0) for strength in (0.15, 0.3, 0.6)
)


class FitSettings(Frozen):
    """How encoders are fitted."""

    taps: tuple[Tap, ...] = Field(default=LAYERS, min_length=1, description="candidate layers")
    combine: Literal["ensemble", "best"] = Field(
        default="ensemble", description="all taps together, or the best in cross-validation"
    )
    penalties: tuple[Penalties, ...] = Field(
        default=PENALTIES, min_length=1, description="candidates; each tap gets its best"
    )
    n_folds: int = Field(default=3, ge=2, le=100, description="of the cross-validation")
    weighting: Literal["repetitions", "equal"] = Field(
        default="repetitions", description="an image's weight: the variance of a mean falls with n"
    )
    solver: Literal["alternating", "gradient"] = "alternating"
    max_sweeps: int = Field(default=8, ge=1, le=1000, description="of the alternating solver")
    tolerance: float = Field(default=0.01, ge=0, lt=1, description="of the alternating solver")
    adam: AdamSettings = Field(default=AdamSettings(), description="of the gradient solver")
    seed: int = Field(default=0, ge=0, description="of folds, initial weights and batches")


def published(
    tap: Tap = Tap(  # noqa: B008 - frozen
        backbone="torchvision:alexnet", layer="features.6", input_px=299, grayscale=True
    ),
) -> FitSettings:
    """The public recipe of Bashivan, Kar & DiCarlo 2019: AlexNet conv3, Adam, λ_s = λ_d = 0.1."""
    return FitSettings(
        taps=(tap,),
        penalties=(Penalties(spatial=0.1, mixing=0.1, smoothness=1.0),),
        weighting="equal",
        solver="gradient",
    )


class Candidate(Frozen):
    """A tap with its penalties, and how it did on images that it was not fitted to."""

    tap: Tap
    penalties: Penalties
    median_r: float | None = Field(description="over sites, cross-validated; None if not compared")


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found: the encoder, every candidate with its score, what was natural to it."""

    encoder: TwoStageEncoder | EnsembleEncoder
    candidates: tuple[Candidate, ...]
    natural: NaturalStatistics


def fit(
    recording: Recording,
    settings: FitSettings | None = None,
    store: FeatureStore | None = None,
    progress: Progress = silent,
    *,
    emphasis: NDArray[np.float64] | None = None,
    workers: int = 1,
) -> Fit:
    """Fit an encoder to all sites of `recording`.

    Args:
        recording: The training images and responses.
        settings: How; None for the defaults.
        store: Where features are kept; None keeps them for this call only.
        progress: Told of every step.
        emphasis: `(n_images, n_sites)`, above 0: what the weight of an image's error at a site is
            multiplied by; None for 1.
        workers: Taps that are fitted at a time, each on one torch thread; the result does not depend
            on it.

    Raises:
        DataError: If a site cannot be fitted; the error names it.
    """
    settings, store = settings or FitSettings(), store or FeatureStore()
    recording.check_usable()
    target = _target(recording, settings, emphasis)
    n_fits = len(settings.penalties) * settings.n_folds if _is_compared(settings) else 0
    steps = Steps(len(settings.taps) * (n_fits + 2), progress)
    for tap in settings.taps if workers > 1 else ():
        store.features(tap, recording.images)
    fitted = in_parallel(
        [
            partial(_fit_tap, tap, recording, target, settings, store, steps)
            for tap in settings.taps
        ],
        workers,
    )
    candidates = tuple(candidate for each in fitted for candidate in each.candidates)
    encoder = _combined(fitted, recording, settings)
    predicted = encoder.predict(recording.images, store)
    natural = natural_statistics(recording.images, predicted, recording.site_ids)
    return Fit(encoder, candidates, natural)


class _Target(NamedTuple):
    """What is fitted: z-scores and weights `(n_images, n_sites)`, and the way back to spikes/s."""

    z: Tensor
    weights: Tensor
    scaling: Scaling


class _FittedTap(NamedTuple):
    encoder: TwoStageEncoder
    held_out_predictions: NDArray[np.float64]
    score: float
    candidates: tuple[Candidate, ...]


def _combined(
    fitted: list[_FittedTap], recording: Recording, settings: FitSettings
) -> TwoStageEncoder | EnsembleEncoder:
    if len(fitted) == 1 or settings.combine == "best":
        return max(fitted, key=lambda each: each.score).encoder
    return EnsembleEncoder.calibrated(
        [each.encoder for each in fitted],
        [each.held_out_predictions for each in fitted],
        recording.means,
    )


def _is_compared(settings: FitSettings) -> bool:
    return len(settings.taps) * len(settings.penalties) > 1


def _target(
    recording: Recording, settings: FitSettings, emphasis: NDArray[np.float64] | None
) -> _Target:
    """Standardise each site's responses, weighted as the fit will be."""
    n = recording.repetitions.astype(np.float64)
    shares = n if settings.weighting == "repetitions" else np.sign(n)
    if emphasis is not None:
        shares = shares * emphasis
    shares = shares / shares.sum(axis=0)
    known = np.where(n > 0, recording.means, 0.0)
    mean = (shares * known).sum(axis=0)
    deviation = np.sqrt((shares * (known - mean) ** 2).sum(axis=0))
    deviation = np.where(deviation > FLAT, deviation, 1.0)
    z = np.where(n > 0, (known - mean) / deviation, 0.0)
    return _Target(
        torch.tensor(z, dtype=torch.float32),
        torch.tensor(shares, dtype=torch.float32),
        Scaling(torch.tensor(mean).float(), torch.tensor(deviation).float()),
    )


def _fit_tap(
    tap: Tap,
    recording: Recording,
    target: _Target,
    settings: FitSettings,
    store: FeatureStore,
    steps: Steps,
) -> _FittedTap:
    extractor = store.extractor(tap)
    features = store.features(tap, recording.images).to(extractor.device)
    steps.step(f"features: {tap.label}")
    channels = Scaling.of_channels(features)
    features = channels.standardised(features)
    target = _Target(
        target.z.to(features.device), target.weights.to(features.device), target.scaling
    )
    compared = [
        _held_out(features, recording, target, penalties, settings, steps, tap)
        for penalties in (settings.penalties if _is_compared(settings) else ())
    ]
    scores = [each.median_r for each in compared]
    best = int(np.argmax(scores)) if compared else 0
    readout = _solve(features, target.z, target.weights, settings.penalties[best], settings)
    steps.step(f"fit: {tap.label}")
    return _FittedTap(
        _encoder(extractor, channels, readout, target, recording),
        compared[best].predictions if compared else np.empty((0, 0)),
        scores[best] if compared else 0.0,
        tuple(
            Candidate(tap=tap, penalties=penalties, median_r=scores[i] if compared else None)
            for i, penalties in enumerate(settings.penalties)
        ),
    )


class _HeldOut(NamedTuple):
    predictions: NDArray[np.float64]
    median_r: float


def _held_out(
    features: Tensor,
    recording: Recording,
    target: _Target,
    penalties: Penalties,
    settings: FitSettings,
    steps: Steps,
    tap: Tap,
) -> _HeldOut:
    """Each image predicted, in spikes/s, by a fit to the other folds; the median site's r.

    Copies of one picture are in one fold.
    """
    order = random_stream(settings.seed, "folds").permutation(len(features))
    predicted = torch.zeros_like(target.z)
    for fold in folds(order, settings.n_folds, recording.copies):
        is_held_out = torch.zeros(len(features), dtype=torch.bool, device=features.device)
        is_held_out[torch.tensor(fold)] = True
        weights = target.weights[~is_held_out]
        weights = weights / weights.sum(dim=0).clamp_min(FLAT)
        readout = _solve(
            features[~is_held_out], target.z[~is_held_out], weights, penalties, settings
        )
        predicted[is_held_out] = readout(features[is_held_out])
        steps.step(f"cross-validation: {tap.label}")
    rates = target.scaling.restored(predicted.cpu()).numpy().astype(np.float64)
    return _HeldOut(rates, float(np.nanmedian(correlations(rates, recording.means))))


def _solve(
    features: Tensor, z: Tensor, weights: Tensor, penalties: Penalties, settings: FitSettings
) -> Readout:
    if settings.solver == "gradient":
        return fit_by_gradient(features, z, weights, penalties, settings.adam, seed=settings.seed)
    return fit_alternating(
        features,
        z,
        weights,
        penalties,
        max_sweeps=settings.max_sweeps,
        tolerance=settings.tolerance,
    )


def _encoder(
    extractor: FeatureExtractor,
    channels: Scaling,
    readout: Readout,
    target: _Target,
    recording: Recording,
) -> TwoStageEncoder:
    return TwoStageEncoder(
        extractor, channels, readout.upright(), target.scaling, recording.site_ids
    )
