"""What an encoder's training images were like: the measure of what is natural for its sites.

Synthesis matches mean and contrast to it, and compares sites by z-scores over it. It is kept with the
encoder, whose training images are not.
"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates, check_images

MIDDLE = (0.02, 0.98)
POSSIBLE = 0.8
"""Of the largest standard deviation that values of some mean can have: as much is asked for at most."""
LEAST_SD = 1e-3
"""Of the largest site's: a site that is predicted to answer all images alike keeps a z-score."""


class NaturalStatistics(Frozen):
    """Medians over images of their moments, and each site's predicted responses to them."""

    n_images: int = Field(ge=1)
    mean: float = Field(ge=0, le=1, description="median mean over pixels and channels, in 0..1")
    rms_contrast: float = Field(
        ge=0, le=0.5, description="median standard deviation over pixels and channels, in 0..1"
    )
    predicted_mean: dict[str, float] = Field(description="site → mean over images, spikes/s")
    predicted_sd: dict[str, float] = Field(description="site → standard deviation, above 0")
    predicted_max: dict[str, float] = Field(description="site → best image's, spikes/s")


def natural_statistics(
    images: Images, predicted: Rates, site_ids: tuple[str, ...]
) -> NaturalStatistics:
    """Of natural images `(n, h, w, 3) uint8` and the rates `(n, n_sites)` predicted for them."""
    mean, rms_contrast = natural_moments(images)
    deviations = predicted.std(axis=0)
    least = max(LEAST_SD * float(deviations.max()), 1e-9)
    columns = zip(
        site_ids,
        predicted.mean(axis=0).tolist(),
        np.maximum(deviations, least).tolist(),
        predicted.max(axis=0).tolist(),
        strict=True,
    )
    by_site = {site: values for site, *values in columns}
    return NaturalStatistics(
        n_images=len(images),
        mean=mean,
        rms_contrast=rms_contrast,
        predicted_mean={site: values[0] for site, values in by_site.items()},
        predicted_sd={site: values[1] for site, values in by_site.items()},
        predicted_max={site: values[2] for site, values in by_site.items()},
    )


def natural_moments(natural: Images) -> tuple[float, float]:
    """Median over images `(n, h, w, 3)` of mean and RMS contrast, in 0..1: what to match."""
    check_images(natural, where="natural images")
    values = natural.reshape(len(natural), -1) / 255
    return float(np.median(values.mean(axis=1))), float(np.median(values.std(axis=1)))


def natural_means(natural: Images) -> tuple[float, float]:
    """Between which means, in 0..1, nearly all of images `(n, h, w, 3)` lie: what is not unnatural.

    The middle 96 % of images, as far as an image of such a mean can have their median contrast.
    """
    values = natural.reshape(len(natural), -1) / 255
    least, largest = np.quantile(values.mean(axis=1), MIDDLE)
    rms = min(natural_moments(natural)[1] / POSSIBLE, 0.5)
    edge = 0.5 - float(np.sqrt(0.25 - rms**2))
    return float(np.clip(least, edge, 1 - edge)), float(np.clip(largest, edge, 1 - edge))
