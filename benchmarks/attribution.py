"""Does an attribution name what drives a neuron? Keep what it names, or take it away, and ask the twin.

An encoder of one layer is fitted to session 190923; for each neuron's best recorded images the attribution by
integrated gradients is computed, and the digital twin of the same neuron (made by others) answers to the
images of which only the best tenth of the area is kept, or is gone. Controls: a disc of equal area where the
encoder's mask lies, and a random patch. Answers are in shares of the way from the image's mean colour (0) to
the whole image (1). Neurons are parted as in `transfer`; nothing was tuned on the reported ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.encoder_data import common_arguments, feature_store, recording_or_leave, report
from benchmarks.keeping import Kept
from benchmarks.results import bootstrapped, table
from benchmarks.transfer import DEVELOPED, REPORTED
from benchmarks.twins import IMAGE_PX, SESSION, TwinPopulation, data_folder
from encoders.attribution import integrated_gradients
from encoders.backbones.robust import ROBUST
from encoders.encoder import DifferentiableEncoder
from encoders.features import FeatureStore, Tap
from encoders.fitting import FitSettings, fit
from encoders.masks import estimated_fields
from encoders.parts import best_part, disc, kept, random_patch, removed
from encoders.receptive_field import ReceptiveField
from encoders.recording import Recording
from protocols.seeds import random_stream

TAP = Tap(layer="blocks.3", weights=ROBUST)
SHARE, N_BEST = 0.1, 10
WAYS = ("integrated gradients", "disc at the field", "random patch")
Floats = NDArray[np.float64]


def measured(
    recording: Recording,
    twins: TwinPopulation,
    sites: Sequence[int],
    store: FeatureStore,
    kept_results: Kept,
) -> Floats:
    """`(n_sites, 3 ways, 2)`: kept and removed, the mean over each neuron's best images."""
    names = {site: f"{TAP.label} {SHARE:g} {site}" for site in sites}
    if not kept_results.has(list(names.values())):
        encoder = fit(recording, FitSettings(taps=(TAP,)), store).encoder
        fields = estimated_fields(encoder, (IMAGE_PX, IMAGE_PX))

    def of(site: int) -> list[float]:
        found = _of_site(recording, twins, encoder, fields[site], site)
        print(site, np.round(found, 2).tolist(), flush=True)
        return [float(value) for value in found.ravel()]

    rows = [kept_results.or_made(name, partial(of, site)) for site, name in names.items()]
    return np.array(rows).reshape(len(sites), len(WAYS), 2)


def _of_site(
    recording: Recording,
    twins: TwinPopulation,
    encoder: DifferentiableEncoder,
    field: ReceptiveField,
    site: int,
) -> Floats:
    """`(3 ways, 2)`."""
    best = np.argsort(-recording.means[:, site], kind="stable")[:N_BEST]
    images = recording.images[best]
    shape = (IMAGE_PX, IMAGE_PX)
    maps = integrated_gradients(encoder, images, [str(site)] * N_BEST)
    random = random_stream(0, "attribution", site)
    masks = (
        np.stack([best_part(each, SHARE) for each in maps]),
        np.stack([disc((field.x_px, field.y_px), shape, SHARE)] * N_BEST),
        np.stack([random_patch(shape, SHARE, random) for _ in best]),
    )
    empty = kept(images, np.zeros(maps.shape))
    nothing, whole = (twins.rates_of(site, each).mean() for each in (empty, images))
    answers = [
        [twins.rates_of(site, change(images, mask)).mean() for change in (kept, removed)]
        for mask in masks
    ]
    found: Floats = (np.array(answers) - nothing) / (whole - nothing)
    return found


def main() -> None:
    """`python -m benchmarks.attribution`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", choices=("all", "reported"), default="all")
    parser.add_argument("--kept", type=Path, help="a file of results, so that a run can go on")
    common_arguments(parser)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    recording = recording_or_leave(SESSION, repeats=False)
    twins = TwinPopulation(data_folder() / "v4" / "compact_models")
    sites = REPORTED if chosen.neurons == "reported" else (*REPORTED, *DEVELOPED)
    found = measured(recording, twins, sites, feature_store(chosen.cache), Kept(chosen.kept))
    n = len(REPORTED)
    parts = [found[:n, :, 0], found[:n, :, 1], *([found[n:, :, 0]] if len(found) > n else [])]
    rows = [(way, *(bootstrapped(each[:, i]) for each in parts)) for i, way in enumerate(WAYS)]
    gain = bootstrapped(found[:n, 0, 0] - found[:n, 1, 0])
    n_better = int((found[:n, 0, 0] > found[:n, 1, 0]).sum())
    head = ("best 10 % by", "kept", "removed", "kept, neurons that were looked at")
    text = (
        f"{table(head[: len(parts) + 1], rows)}\n\nThe twin's response left, {n} reported neurons, "
        f"{N_BEST} best recorded images each, mean and 95 % interval over neurons. Integrated gradients keep "
        f"more than the disc by {gain}; at {n_better} of {n} neurons. Encoder: {TAP.label}, fitted to "
        f"session {SESSION}."
    )
    report("Attribution", "python -m benchmarks.attribution", text, draft=chosen.draft)


if __name__ == "__main__":
    main()
