"""One layer against the recorded sites, by all measures: on all images, on each half, and by chance."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from encoders.backbones.choice import NetworkChoice
from encoders.baselines import partial_least_squares
from encoders.features import FeatureStore, Tap
from encoders.fitting import FitSettings, fit
from encoders.geometry import Floats, debiased_cka, dissimilarities, gram, of_images, rsa
from encoders.kernel_ridge import predicted_from_products
from encoders.predictivity import (
    N_SPLITS,
    Indices,
    Predict,
    Predictivity,
    from_recordings,
    predictivity,
    split_mean_r,
)
from encoders.recording import Recording
from encoders.validation import Fitted
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates
from synth_server.compare.documents import Band, LayerScore, Readout
from synth_server.compare.networks import Layer, tap_of

N_SHUFFLES = 10
N_SHUFFLED_SPLITS = 3
MAX_PLS_UNITS = 60_000
"""A wider layer takes PLS minutes a split."""


class CompareSettings(Frozen):
    """How networks are compared."""

    readout: Readout = "ridge"
    n_splits: int = N_SPLITS
    seed: int = 0


class Sites(NamedTuple):
    """The recorded side: everything that is the same for all layers."""

    recording: Recording
    products: Floats
    """`(n, n)`, of z-scored responses."""
    triangle: Floats | None
    """Their RDM; None of so few sites that its entries would say nothing."""
    reliability: Floats | None
    halves: tuple[Indices, Indices]
    """Images by which layers are chosen, and those that the chosen ones are scored on."""


Halves: TypeAlias = dict[str, tuple[float, float]]
"""Measure → the score on each half of the images."""


def layer_score(
    choice: NetworkChoice, layer: Layer, units: Floats, sites: Sites, settings: CompareSettings
) -> tuple[LayerScore, Halves]:
    """The layer whose patterns are `units` `(n_images, n_units)`."""
    products, triangle = gram(units), dissimilarities(units)
    values, shuffled, on_halves = _geometry(products, triangle, sites, settings.seed)
    n_units, note = units.shape[1], ""
    if settings.readout == "pls" and n_units > MAX_PLS_UNITS:
        note = f"too wide for PLS: {n_units:,} units, more than {MAX_PLS_UNITS:,}"
    else:
        of_order = _readout(choice, layer, products, sites.recording, settings)
        found = _predictivity(of_order, sites, settings)
        values |= {
            "r": _known(found.whole.r),
            "r_noise_corrected": found.whole.noise_corrected,
            "brain_score": found.whole.brain_score,
        }
        shuffled["r_noise_corrected"] = Band.of([found.shuffled])
        on_halves["r_noise_corrected"] = found.on_halves
    score = LayerScore(
        layer=layer.name,
        depth=layer.depth,
        n_units=n_units,
        shuffled={name: band for name, band in shuffled.items() if band is not None},
        note=note,
        **values,
    )
    return score, on_halves


def _geometry(
    products: Floats, triangle: Floats, sites: Sites, seed: int
) -> tuple[dict[str, float | None], dict[str, Band | None], Halves]:
    n = len(products)
    orders = [
        random_stream(seed, "compare", "shuffle", number).permutation(n)
        for number in range(N_SHUFFLES)
    ]
    first, second = (np.ix_(half, half) for half in sites.halves)
    shuffled = {
        "cka": Band.of([debiased_cka(products[np.ix_(o, o)], sites.products) for o in orders])
    }
    values = {"cka": _known(debiased_cka(products, sites.products))}
    on_halves = {
        "cka": (
            debiased_cka(products[first], sites.products[first]),
            debiased_cka(products[second], sites.products[second]),
        )
    }
    if (own := sites.triangle) is not None:
        shuffled["rsa"] = Band.of([rsa(of_images(triangle, o, n), own) for o in orders])
        values["rsa"] = _known(rsa(triangle, own))
        values["rsa_pearson"] = _known(rsa(triangle, own, "pearson"))
        one, other = (
            rsa(of_images(triangle, half, n), of_images(own, half, n)) for half in sites.halves
        )
        on_halves["rsa"] = one, other
    return values, shuffled, on_halves


class _Predicted(NamedTuple):
    whole: Predictivity
    on_halves: tuple[float, float]
    shuffled: float


OfOrder: TypeAlias = Callable[[Indices | None], Predict]
"""A readout of the images in an order that is not that of the responses; None: in their own."""


def _predictivity(of_order: OfOrder, sites: Sites, settings: CompareSettings) -> _Predicted:
    seed, means, reliability = settings.seed, sites.recording.means, sites.reliability
    copies = sites.recording.copies
    predict = of_order(None)

    def score(predict: Predict, stream: str, images: Indices | None, n: int) -> Predictivity:
        random = random_stream(seed, "compare", stream)
        r = split_mean_r(predict, means, random, images=images, copies=copies, n_splits=n)
        return predictivity(r, reliability)

    first, second = (
        _main(score(predict, "splits of a half", half, settings.n_splits)) for half in sites.halves
    )
    order = random_stream(seed, "compare", "shuffle", 0).permutation(len(means))
    return _Predicted(
        score(predict, "splits", None, settings.n_splits),
        (first, second),
        _main(score(of_order(order), "splits", None, min(N_SHUFFLED_SPLITS, settings.n_splits))),
    )


def _main(found: Predictivity) -> float:
    """The figure by which layers are ranked."""
    return found.r if found.noise_corrected is None else found.noise_corrected


def _readout(
    choice: NetworkChoice,
    layer: Layer,
    products: Floats,
    recording: Recording,
    settings: CompareSettings,
) -> OfOrder:
    def ridge(order: Indices | None) -> Predict:
        ordered = products if order is None else products[np.ix_(order, order)]
        return lambda train, test: predicted_from_products(ordered, recording.means, train, test)

    if settings.readout == "ridge":
        return ridge
    tap, store = tap_of(choice, layer.name), FeatureStore()
    store.features(tap, recording.images)
    fitted = (
        partial_least_squares(tap, store)
        if settings.readout == "pls"
        else _two_stage(tap, store, settings.seed)
    )

    def of_order(order: Indices | None) -> Predict:
        images = recording.images if order is None else recording.images[order]
        shown = Recording(
            images, recording.means, recording.repetitions, recording.site_ids, recording.trials
        )
        return from_recordings(fitted, shown)

    return of_order


def _two_stage(tap: Tap, store: FeatureStore, seed: int) -> Fitted:
    """The project's own readout, its penalties chosen within the training images."""

    def fitted(train: Recording, images: Images) -> Rates:
        settings = FitSettings(taps=(tap,), seed=seed)
        return fit(train, settings, store).encoder.predict(images, store)

    return fitted


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
