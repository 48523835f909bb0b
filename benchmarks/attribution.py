"""Does an attribution name what drives a neuron? Keep what it names, or take it away, and ask the twin.

An encoder of one layer is fitted to session 190923; for each neuron's best recorded images the attribution by
integrated gradients is computed, and the digital twin of the same neuron (made by others) answers to the
images of which only the best tenth of the area is kept, or is gone. Controls: a disc of equal area where the
encoder's mask lies, and a random patch. Answers are in shares of the way from the image's mean colour (0) to
the whole image (1). Neurons are parted as in `transfer`; nothing was tuned on the reported ones.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.encoder_data import common_arguments, feature_store, recording_or_leave, report
from benchmarks.results import table
from benchmarks.transfer import DEVELOPED, REPORTED
from benchmarks.twins import SESSION, TwinPopulation, data_folder
from encoders.attribution import integrated_gradients
from encoders.backbones.robust import ROBUST
from encoders.features import Tap
from encoders.fitting import FitSettings, fit
from encoders.masks import estimated_fields
from encoders.parts import best_part, disc, kept, random_patch, removed
from encoders.recording import Recording
from protocols.seeds import random_stream

TAP = Tap(layer="blocks.3", weights=ROBUST)
SHARE, N_BEST, N_RESAMPLES = 0.1, 10, 2000
WAYS = ("integrated gradients", "disc at the field", "random patch")
Floats = NDArray[np.float64]


def measured(
    recording: Recording, twins: TwinPopulation, sites: tuple[int, ...], store: object
) -> Floats:
    """`(n_sites, 3 ways, 2)`: kept and removed, the mean over each neuron's best images."""
    encoder = fit(recording, FitSettings(taps=(TAP,)), store).encoder  # type: ignore[arg-type]
    shape = recording.images.shape[1:3]
    fields = estimated_fields(encoder, (shape[0], shape[1]))
    found = np.empty((len(sites), len(WAYS), 2))
    for row, site in enumerate(sites):
        best = np.argsort(-recording.means[:, site], kind="stable")[:N_BEST]
        images = recording.images[best]
        maps = integrated_gradients(encoder, images, [str(site)] * N_BEST)
        field, random = fields[site], random_stream(0, "attribution", site)
        masks = (
            np.stack([best_part(each, SHARE) for each in maps]),
            np.stack([disc((field.x_px, field.y_px), shape, SHARE)] * N_BEST),
            np.stack([random_patch(shape, SHARE, random) for _ in best]),
        )
        empty = kept(images, np.zeros(maps.shape))
        nothing, whole = (twins.rates(each)[:, site].mean() for each in (empty, images))
        for way, mask in enumerate(masks):
            for column, change in enumerate((kept, removed)):
                answer = twins.rates(change(images, mask))[:, site].mean()
                found[row, way, column] = (answer - nothing) / (whole - nothing)
        print(site, np.round(found[row], 2).tolist(), flush=True)
    return found


def interval(values: Floats) -> str:
    """Mean and 95 % bootstrap interval over neurons."""
    random = random_stream(0, "attribution", "bootstrap")
    draws = values[random.integers(0, len(values), (N_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5))
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """`python -m benchmarks.attribution`."""
    parser = argparse.ArgumentParser(description=__doc__)
    common_arguments(parser)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    recording = recording_or_leave(SESSION, repeats=False)
    twins = TwinPopulation(data_folder() / "v4" / "compact_models")
    found = measured(recording, twins, (*REPORTED, *DEVELOPED), feature_store(chosen.cache))
    n = len(REPORTED)
    rows = [
        (way, interval(found[:n, i, 0]), interval(found[:n, i, 1]), interval(found[n:, i, 0]))
        for i, way in enumerate(WAYS)
    ]
    gain = interval(found[:n, 0, 0] - found[:n, 1, 0])
    head = ("best 10 % by", "kept", "removed", "kept, neurons that were looked at")
    text = (
        f"{table(head, rows)}\n\nThe twin's response left, {n} reported neurons, {N_BEST} best recorded "
        f"images each, mean and 95 % interval over neurons. Integrated gradients keep more than the disc by "
        f"{gain}. Encoder: {TAP.label}, fitted to session {SESSION}."
    )
    report("Attribution", "python -m benchmarks.attribution", text, draft=chosen.draft)


if __name__ == "__main__":
    main()
