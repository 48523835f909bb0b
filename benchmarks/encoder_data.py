"""What the encoders' benchmarks share: the recording, its splits, scores, and where features are kept."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.results import write_section
from benchmarks.twins import data_folder, recorded_session
from encoders.encoder import Scaling
from encoders.features import FeatureStore, Tap
from encoders.fitting import FitSettings
from encoders.recording import Recording, split_images
from encoders.validation import correlations, noise_corrected, split_half_reliability
from protocols.vocabulary import Images, Rates

SESSION = "210325"
N_TRAIN = 480
SINGLE = Tap(backbone="efficientnet_lite0", layer="blocks.3", input_px=112)
"""The one layer on which readouts are compared."""
SOLVER: Mapping[str, Any] = {
    "max_sweeps": FitSettings().max_sweeps,
    "tolerance": FitSettings().tolerance,
}
DEVELOPMENT = 100
"""Splits from here on are for development: what they say is printed, and not reported."""


def with_weights(settings: FitSettings, weights: str) -> FitSettings:
    """The same with networks of other weights, such as `random`."""
    taps = tuple(tap.model_copy(update={"weights": weights}) for tap in settings.taps)
    return settings.model_copy(update={"taps": taps})


class Split(NamedTuple):
    """A recording's images, parted, and the noise ceiling of the held-out ones."""

    train: Recording
    test: Recording
    reliability: NDArray[np.float64]

    def median_r(self, predicted: Rates) -> tuple[float, float]:
        """Median over sites of held-out r, plain and noise-corrected."""
        r = correlations(predicted, self.test.means)
        corrected = noise_corrected(r, self.reliability)
        return float(np.nanmedian(r)), float(np.nanmedian(corrected))


def split(recording: Recording, seed: int) -> Split:
    """480 training images by a permutation of this seed; the rest is held out."""
    train, test = split_images(recording.n_images, N_TRAIN, np.random.default_rng(seed))
    held_out = recording.of_images(test)
    if held_out.trials is None:
        raise ValueError("the noise ceiling needs single trials")
    reliability = split_half_reliability(held_out.trials, np.random.default_rng(seed))
    return Split(recording.of_images(train), held_out, reliability)


class Problem(NamedTuple):
    """A fit at one tap: features `(n, c, h, w)` and responses `(n, n_sites)` of unit variance."""

    features: Tensor
    responses: Tensor
    weights: Tensor
    held_out_features: Tensor


def problem(train: Recording, held_out: Images, tap: Tap, store: FeatureStore) -> Problem:
    """As `encoders.fitting` poses it: images weigh by their repetitions."""
    features = store.features(tap, train.images)
    channels = Scaling.of_channels(features)
    shares = train.repetitions / train.repetitions.sum(axis=0)
    centred = train.means - (shares * train.means).sum(axis=0)
    z = centred / np.sqrt((shares * centred**2).sum(axis=0))
    return Problem(
        channels.standardised(features),
        torch.tensor(z, dtype=torch.float32),
        torch.tensor(shares, dtype=torch.float32),
        channels.standardised(store.features(tap, held_out)),
    )


CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""`cpu` does not count while others have the processor: for one thread on a busy machine."""


def side_by_side(
    tasks: Mapping[str, Callable[[], Any]], repeats: int, clock: Callable[[], float]
) -> dict[str, Timed]:
    """Time all tasks in turn, `repeats` times, so that a noisy minute meets them all."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    results: dict[str, Any] = {}
    for _ in range(repeats):
        for name, task in tasks.items():
            started = clock()
            results[name] = task()
            seconds[name].append(clock() - started)
    return {name: Timed(float(np.median(seconds[name])), results[name]) for name in tasks}


class Run(NamedTuple):
    """What all parts need."""

    parts: Split
    store: FeatureStore
    repeats: int
    clock: Callable[[], float]
    n_steps: int
    is_quick: bool


class Timed(NamedTuple):
    """Median seconds of a task, and what its last run returned."""

    seconds: float
    result: Any


def recording_or_leave(name: str = SESSION, *, repeats: bool = True) -> Recording:
    """The session, or an explanation and the end."""
    responses = data_folder() / "v4" / f"responses_repeat_averaged_{name}.npy"
    if not responses.is_file():
        print(f"skipped: no {responses}; set STIMLOOP_DATA to the folder of the recordings")
        sys.exit(0)
    return recorded_session(name, repeats=repeats)


def common_arguments(parser: argparse.ArgumentParser) -> None:
    """`--cache`, `--threads`, `--draft`."""
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir()) / "stimloop-features",
        help="where features are kept between runs",
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--draft", action="store_true", help="print only, leave RESULTS.md alone")


def feature_store(cache: Path) -> FeatureStore:
    """Features on the CPU, kept in `cache`."""
    return FeatureStore(cache, device="cpu")


def report(name: str, command: str, text: str, *, draft: bool) -> None:
    """A section of RESULTS.md; a draft is printed only."""
    if draft:
        print(f"## {name} (draft, not written)\n\n{text}\n")
    else:
        write_section(name, command, text)
