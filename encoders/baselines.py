"""Ridge and partial least squares on the same features, by scikit-learn: what a readout must beat.

Both weigh every feature at every place freely, h·w·c weights a site.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.features import FeatureStore, Tap
from encoders.recording import Recording
from encoders.validation import Fitted
from protocols.errors import DataError, InstallationError
from protocols.vocabulary import Images, Rates

PLS_COMPONENTS = 25
"""As Brain-Score has it."""
RIDGE_STRENGTHS = tuple(float(strength) for strength in np.logspace(-2, 3, 11))
"""In units of the mean squared length of an image's features; chosen by leave-one-out."""


def ridge(tap: Tap, store: FeatureStore) -> Fitted:
    """Ridge regression, its strength chosen for each site by leave-one-out on the training images.

    Raises:
        InstallationError: If scikit-learn is not installed.
    """
    linear = _scikit_learn("linear_model")

    def fitted(train: Recording, images: Images) -> Rates:
        x, y, new = _arrays(tap, store, train, images)
        scale = float((x**2).sum(axis=1).mean())
        strengths = scale * np.array(RIDGE_STRENGTHS)
        model = linear.RidgeCV(alphas=strengths, alpha_per_target=True).fit(x, y)
        return _columns(model.predict(new))

    return fitted


def partial_least_squares(
    tap: Tap, store: FeatureStore, n_components: int = PLS_COMPONENTS
) -> Fitted:
    """PLS regression on `n_components` components of all sites together (Brain-Score's choice).

    Raises:
        InstallationError: If scikit-learn is not installed.
    """
    decomposition = _scikit_learn("cross_decomposition")

    def fitted(train: Recording, images: Images) -> Rates:
        x, y, new = _arrays(tap, store, train, images)
        model = decomposition.PLSRegression(n_components, scale=False).fit(x, y)
        return _columns(model.predict(new))

    return fitted


def _arrays(
    tap: Tap, store: FeatureStore, train: Recording, images: Images
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Features of training images and of new ones, channels z-scored, flattened; responses."""
    if not np.isfinite(train.means).all():
        raise DataError(
            "the baselines need every site measured for every training image",
            where="responses",
            got=f"{np.isnan(train.means).sum()} missing",
            remedy="leave those images or sites out",
        )
    both = [store.features(tap, each).numpy().astype(np.float64) for each in (train.images, images)]
    mean = both[0].mean(axis=(0, 2, 3), keepdims=True)
    deviation = both[0].std(axis=(0, 2, 3), keepdims=True)
    scale = np.where(deviation > 0, deviation, 1.0)
    x, new = (((each - mean) / scale).reshape(len(each), -1) for each in both)
    centre = x.mean(axis=0)
    return x - centre, train.means, new - centre


def _columns(predicted: NDArray[np.float64]) -> Rates:
    return predicted.reshape(len(predicted), -1)


def _scikit_learn(module: str) -> Any:
    """A module of scikit-learn, loaded late: only the baselines need it."""
    try:
        return importlib.import_module(f"sklearn.{module}")
    except ImportError as error:
        raise InstallationError(
            "the baselines need scikit-learn",
            got=error,
            remedy="pip install scikit-learn",
        ) from None
