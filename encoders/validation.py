"""How well predictions do on images that the fit never saw, and how well they could.

Arrays are `(n_images, n_sites)`; NaN, where a site was not measured, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from encoders.recording import Recording
from protocols.errors import DataError
from protocols.interfaces import Encoder
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates

Floats: TypeAlias = NDArray[np.float64]
Fitted: TypeAlias = Callable[[Recording, Images], Rates]
"""Fits to a recording, then predicts for images: what `encoders.predictivity` compares."""

N_SPLITS = 100
"""Random halves of the repetitions over which reliability is averaged."""
LEAST_RELIABILITY = 0.05
"""Below it, a correlation is not corrected for noise: the quotient would be noise itself."""


def correlations(predicted: Floats, measured: Floats) -> Floats:
    """Pearson's r of every site, `(n_sites,)`; 0 where the prediction is constant.

    NaN where fewer than three images were measured, or the measurement is constant.
    """
    _check_alike(predicted, measured)
    known = np.isfinite(measured) & np.isfinite(predicted)
    a, b = _centred(predicted, known), _centred(measured, known)
    varies = (a**2).sum(axis=0) > 1e-18
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    usable = (known.sum(axis=0) >= 3) & ((b**2).sum(axis=0) > 1e-18)
    r = (a * b).sum(axis=0) / np.where(norm > 0, norm, 1.0)
    found: Floats = np.where(usable, np.where(varies, r, 0.0), np.nan)
    return found


def correlation_interval(r: float, n: int) -> tuple[float, float]:
    """95 % confidence interval of a correlation of `n` images (Fisher's z; −1 to 1 below 4)."""
    if n < 4:
        return -1.0, 1.0
    z, half = np.arctanh(np.clip(r, -0.999999, 0.999999)), 1.96 / np.sqrt(n - 3)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def explained_variance(predicted: Floats, measured: Floats) -> Floats:
    """1 − Σ(y − ŷ)² / Σ(y − ȳ)² of every site; negative where the mean would have done better."""
    _check_alike(predicted, measured)
    known = np.isfinite(measured) & np.isfinite(predicted)
    error = np.where(known, measured - predicted, 0.0)
    total = (_centred(measured, known) ** 2).sum(axis=0)
    explained: Floats = 1 - (error**2).sum(axis=0) / np.where(total > 0, total, np.nan)
    return explained


def split_half_reliability(
    trials: Floats, random: np.random.Generator, n_splits: int = N_SPLITS
) -> Floats:
    """Reliability of the mean over all repetitions, `(n_sites,)`.

    Each image's repetitions are halved at random; r of the halves' means is averaged over
    `n_splits`, and corrected to full length by 2r / (1 + r) (Spearman 1910; Brown 1910).

    Args:
        trials: `(n_images, n_sites, n_repetitions)`, NaN-padded; images with fewer than two
            repetitions are left out.
        random: Draws the halves.
        n_splits: Random halvings.
    """
    each = [correlations(*halves(trials, random)) for _ in range(n_splits)]
    r: Floats = np.mean(each, axis=0)
    return 2 * r / (1 + r)


def noise_corrected(r: Floats, reliability: Floats) -> Floats:
    """r / √reliability: the correlation with noiseless responses (Spearman 1904).

    NaN for sites too unreliable to say.
    """
    usable = reliability >= LEAST_RELIABILITY
    corrected: Floats = np.where(usable, r / np.sqrt(np.where(usable, reliability, 1.0)), np.nan)
    return corrected


class SiteScore(Frozen):
    """How well one site is predicted; None where it cannot be said."""

    site: str
    r: float | None
    reliability: float | None = Field(description="split-half, Spearman–Brown; needs trials")
    r_noise_corrected: float | None
    explained_variance: float | None


class Scores(Frozen):
    """How well an encoder predicts held-out images."""

    n_images: int
    sites: tuple[SiteScore, ...]

    def median(self, what: str) -> float | None:
        """The median over sites of a field of `SiteScore`, sites without a value left out."""
        values = [value for site in self.sites if (value := getattr(site, what)) is not None]
        return float(np.median(values)) if values else None


def evaluate(encoder: Encoder, held_out: Recording, random: np.random.Generator) -> Scores:
    """Scores of `encoder` on a recording of its sites; reliability is that of the held-out images.

    Raises:
        DataError: If the recording lacks one of the encoder's sites.
    """
    recording = held_out.of_sites(encoder.site_ids)
    return scores(encoder.predict(recording.images), recording, random)


def scores(predicted: Rates, recording: Recording, random: np.random.Generator) -> Scores:
    """Scores of predictions `(n_images, n_sites)` for the images and sites of `recording`."""
    r = correlations(predicted, recording.means)
    reliability = np.full(len(r), np.nan)
    if recording.trials is not None:
        reliability = split_half_reliability(recording.trials, random)
    columns = (
        r,
        reliability,
        noise_corrected(r, reliability),
        explained_variance(predicted, recording.means),
    )
    rows = zip(recording.site_ids, *columns, strict=True)
    return Scores(
        n_images=recording.n_images,
        sites=tuple(
            SiteScore(
                site=site,
                r=_known(a),
                reliability=_known(b),
                r_noise_corrected=_known(c),
                explained_variance=_known(d),
            )
            for site, a, b, c, d in rows
        ),
    )


def halves(trials: Floats, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Means over two random halves of each image's repetitions; an odd one is left out."""
    keys = np.where(np.isfinite(trials), random.random(trials.shape), np.inf)
    rank = keys.argsort(axis=2).argsort(axis=2)
    half = np.isfinite(trials).sum(axis=2, keepdims=True) // 2
    first, second = rank < half, (rank >= half) & (rank < 2 * half)
    return _mean_of(trials, first), _mean_of(trials, second)


def _mean_of(trials: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Mean over the chosen repetitions, NaN where there is none."""
    n = chosen.sum(axis=2)
    sums = np.where(chosen, trials, 0.0).sum(axis=2)
    return np.where(n > 0, sums / np.maximum(n, 1), np.nan)


def _centred(values: Floats, known: NDArray[np.bool_]) -> Floats:
    """Minus the mean over known rows; 0 where unknown."""
    kept = np.where(known, values, 0.0)
    return np.where(known, kept - kept.sum(axis=0) / np.maximum(known.sum(axis=0), 1), 0.0)


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _check_alike(predicted: Floats, measured: Floats) -> None:
    if predicted.shape != measured.shape or predicted.ndim != 2:
        raise DataError(
            "predictions and measurements do not fit",
            expected=f"(n_images, n_sites) = {measured.shape}",
            got=predicted.shape,
        )
