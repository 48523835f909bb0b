"""How well encoders predict held-out V4 responses, beside baselines and controls in the same run.

Session 210325 (Cowley, Stan, Pillow & Smith): 50 sites, 640 images, single trials. Reported are
splits 0–4; splits from 100 on were used in development, and are printed only.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from benchmarks.encoder_data import (
    DEVELOPMENT,
    N_TRAIN,
    SESSION,
    SINGLE,
    common_arguments,
    feature_store,
    problem,
    recording_or_leave,
    report,
    split,
    with_weights,
)
from benchmarks.fit_speed import FACTORISED_STRENGTHS
from benchmarks.peers import fit_factorised, missing, peers_argument, use_peers
from benchmarks.results import table
from encoders.backbones.robust import ROBUST
from encoders.baselines import partial_least_squares, ridge
from encoders.features import FeatureStore, Tap
from encoders.fitting import FitSettings, fit, published
from encoders.recording import Recording
from encoders.validation import Fitted
from protocols.seeds import random_stream
from protocols.vocabulary import Images, Rates

Make: TypeAlias = Callable[[FeatureStore], Fitted]
DEFAULT = FitSettings()
FACTORISED = "neuralpredictors' factorised readout, same layer"
ONE_LAYER = DEFAULT.model_copy(update={"taps": (SINGLE,)})


def fitted_with(settings: FitSettings) -> Make:
    """Our fit."""

    def make(store: FeatureStore) -> Fitted:
        def fitted(train: Recording, images: Images) -> Rates:
            return fit(train, settings, store).encoder.predict(images, store)

        return fitted

    return make


def shuffled(make: Make) -> Make:
    """The same, fitted to training images in an order that is not that of the responses."""

    def make_shuffled(store: FeatureStore) -> Fitted:
        inner = make(store)

        def fitted(train: Recording, images: Images) -> Rates:
            order = random_stream(0, "shuffled images").permutation(train.n_images)
            wrong = Recording(
                train.images[order], train.means, train.repetitions, train.site_ids, train.trials
            )
            return inner(wrong, images)

        return fitted

    return make_shuffled


def averaged(make_one: Callable[[Tap, FeatureStore], Fitted], taps: tuple[Tap, ...]) -> Make:
    """One regression a layer, the mean of their z-scored predictions."""

    def make(store: FeatureStore) -> Fitted:
        each = [make_one(tap, store) for tap in taps]

        def fitted(train: Recording, images: Images) -> Rates:
            predicted = [one(train, images) for one in each]
            alike = [p / np.maximum(p.std(axis=0), 1e-9) for p in predicted]
            mean: Rates = np.mean(alike, axis=0)
            return mean

        return fitted

    return make


def factorised(store: FeatureStore) -> Fitted:
    """neuralpredictors' readout on the same layer, its penalty chosen on inner validation images."""

    def fitted(train: Recording, images: Images) -> Rates:
        posed = problem(train, images, SINGLE, store)
        tried = [fit_factorised(*posed[:3], strength) for strength in FACTORISED_STRENGTHS]
        return max(tried, key=lambda each: each.validation_r)(posed.held_out_features)

    return fitted


def published_from(initial_sd: float) -> FitSettings:
    """The published recipe on the same layer, from weights of this standard deviation."""
    settings = published(SINGLE)
    adam = settings.adam.model_copy(update={"initial_sd": initial_sd})
    return settings.model_copy(update={"adam": adam})


CONDITIONS: Mapping[str, Make] = {
    f"default: ensemble of {len(DEFAULT.taps)} layers": fitted_with(DEFAULT),
    "default, networks as pretrained, not robust": fitted_with(with_weights(DEFAULT, "default")),
    "ridge on each of its layers, averaged": averaged(ridge, DEFAULT.taps),
    "two-stage, one layer": fitted_with(ONE_LAYER),
    "two-stage, same layer, robust": fitted_with(with_weights(ONE_LAYER, ROBUST)),
    "ridge, same layer": lambda store: ridge(SINGLE, store),
    "PLS-25, same layer": lambda store: partial_least_squares(SINGLE, store),
    FACTORISED: factorised,
    "published recipe, same layer": fitted_with(published_from(1.0)),
    "published recipe from weights of SD 0.1": fitted_with(published_from(0.1)),
    "default, untrained networks": fitted_with(with_weights(DEFAULT, "random")),
    "one layer, untrained network": fitted_with(with_weights(ONE_LAYER, "random")),
    "default, images shuffled": shuffled(fitted_with(DEFAULT)),
    "one layer, images shuffled": shuffled(fitted_with(ONE_LAYER)),
}


class Measured(NamedTuple):
    """One condition in one split."""

    r: float
    corrected: float
    seconds: float


def row(name: str, measured: list[Measured]) -> list[str]:
    """A table's row: means over splits, and the range."""
    r, corrected, seconds = (np.array(column) for column in zip(*measured, strict=True))
    return [
        name,
        f"{r.mean():.3f}",
        f"**{corrected.mean():.3f}**",
        f"{corrected.min():.3f} to {corrected.max():.3f}",
        f"{np.median(seconds):.0f}",
    ]


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--only", default="", help="conditions whose name contains this")
    peers_argument(parser)
    common_arguments(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    use_peers(options.peers)
    recording, store = recording_or_leave(), feature_store(options.cache)
    without = missing("neuralpredictors")
    chosen = {name: make for name, make in CONDITIONS.items() if options.only in name}
    if without:
        chosen.pop(FACTORISED, None)
    found: dict[str, list[Measured]] = {name: [] for name in chosen}
    for seed in options.splits:
        parts = split(recording, seed)
        for name, make in chosen.items():
            started = time.perf_counter()
            predicted = make(store)(parts.train, parts.test.images)
            seconds = time.perf_counter() - started
            found[name].append(Measured(*parts.median_r(predicted), seconds))
            print(f"split {seed}", *row(name, found[name][-1:]), sep=" | ", flush=True)
    head = ["encoder", "median r", "noise-corrected", "range over splits", "s a split"]
    rows = [row(name, measured) for name, measured in found.items()]
    text = (
        f"{table(head, rows)}\n\nSession {SESSION}: {len(recording.site_ids)} sites, {N_TRAIN} "
        f"training images, {recording.n_images - N_TRAIN} held out, by a permutation of seeds "
        f"{', '.join(map(str, options.splits))}. Median over sites of the held-out correlation; "
        "noise-corrected by the held-out images' split-half reliability (Spearman–Brown); mean over "
        f"splits. One layer: {SINGLE.label}. Seconds ({options.threads} thread) include choosing "
        "layers and penalties by cross-validation, and features where they were not yet known. "
        "Untrained networks are still banks of local filters; shuffled images are the null model. "
        f"{without}".rstrip()
    )
    is_draft = options.draft or bool(options.only) or max(options.splits) >= DEVELOPMENT
    command = "python -m benchmarks.encoder_accuracy --peers PEERS"
    report("Accuracy of encoders", command, text, draft=is_draft)


if __name__ == "__main__":
    main()
