"""How far small changes, found by an encoder, move neurons that it never was.

The default encoder is fitted to session 190923; around photographs of that session it finds, for every
neuron, the change of a given size that drives it most and the one that suppresses it most, as the plan
`perturb` does. The digital twins of the same neurons (made by others) answer. Their *signed* change is
(answer to drive − answer to suppress) / 2, in SDs of the twin's answers to the session's 1,200 images.
Controls: a random change of equal size, and changes made for other neurons. Neurons are parted as in
`transfer`; nothing was tuned on the reported ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.encoder_data import (
    common_arguments,
    feature_store,
    recording_or_leave,
    report,
    with_weights,
)
from benchmarks.keeping import Kept
from benchmarks.results import bootstrapped, table
from benchmarks.transfer import REPORTED
from benchmarks.twins import SESSION, TwinPopulation, data_folder
from encoders.backbones.robust import ROBUST
from encoders.checkpoint import FittedEncoder, Provenance, load_encoder, save_encoder
from encoders.features import FeatureStore
from encoders.fitting import FitSettings, fit
from encoders.recording import Recording
from protocols import plugins
from protocols.digests import array_digest
from protocols.experiments.perturb import PerturbSettings
from protocols.interfaces import Objective
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.vocabulary import Rates
from synth_server.synthesis.ball import climbed_in_ball, directions, random_change

FIGURES = ("signed", "predicted", "others", "random", "naive")
Floats = NDArray[np.float64]


def of_ball(
    encoder: FittedEncoder,
    twins: TwinPopulation,
    natural: tuple[Rates, Rates],
    image: NDArray[np.uint8],
    radius: float,
) -> Floats:
    """`(n_reported, figures)` around one photograph; `natural` are rates of twins and of the encoder."""
    names = [str(site) for site in REPORTED]
    sites = np.arange(len(names))
    found = climbed_in_ball(
        encoder, directions(names, _objective), image, radius, PerturbSettings().n_steps
    )
    random = random_stream(0, "perturbation", array_digest(image), str(radius))
    shown = np.concatenate([found.images, random_change(image, radius, random)[None], image[None]])
    sd, predicted_sd = (rates.std(axis=0)[list(REPORTED)] for rates in natural)
    answers = twins.rates(shown)[:, list(REPORTED)] / sd
    rates = encoder.predict(shown)[:, [encoder.site_ids.index(name) for name in names]]
    rates /= predicted_sd
    drive, suppress = np.arange(0, 2 * len(names), 2), np.arange(1, 2 * len(names), 2)
    signed = (answers[drive] - answers[suppress]) / 2
    own = signed[sites, sites]
    others = (signed.sum(axis=0) - own) / (len(names) - 1)
    away = np.abs(answers[:-2] - answers[-1])
    naive = (away[drive, sites] + away[suppress, sites]) / 2
    predicted = (rates[drive, sites] - rates[suppress, sites]) / 2
    return np.stack([own, predicted, others, answers[-2] - answers[-1], naive], axis=1)


def measured(
    encoder: FittedEncoder,
    twins: TwinPopulation,
    recording: Recording,
    natural: tuple[Rates, Rates],
    n_bases: int,
    kept: Kept,
    label: str,
) -> Floats:
    """`(n_bases, n_radii, n_reported, figures)`."""
    rows = random_stream(0, "perturbation", "bases").choice(
        recording.n_images, n_bases, replace=False
    )

    def made(row: int, radius: float) -> list[float]:
        found = of_ball(encoder, twins, natural, recording.images[row], radius)
        print(row, radius, np.round(found.mean(axis=0), 3).tolist(), flush=True)
        return [float(value) for value in found.ravel()]

    radii = PerturbSettings().radii
    values = [
        kept.or_made(f"{label} image {row} radius {radius}", partial(made, int(row), radius))
        for row in rows
        for radius in radii
    ]
    return np.array(values).reshape(n_bases, len(radii), len(REPORTED), len(FIGURES))


def text_of(found: Floats, weights: str) -> str:
    """The section: means over bases, intervals over neurons."""
    by_site = found.mean(axis=0)
    rows = []
    for radius, of_radius in zip(PerturbSettings().radii, by_site, strict=True):
        cells = dict(zip(FIGURES, of_radius.T, strict=True))
        rows.append(
            (
                f"{radius:g}",
                *(bootstrapped(cells[name], 3) for name in ("signed", "random", "others")),
                f"{cells['predicted'].mean():.2f}",
                f"{np.sum(cells['signed'] > 0)} of {len(REPORTED)}",
            )
        )
    head = ("radius, RMS gray levels as shown", "made for the neuron", "random change",
            "made for others", "predicted", "neurons moved as predicted")  # fmt: skip
    return (
        f"{table(head, rows)}\n\nSigned change of {len(REPORTED)} reported twins in SDs of their answers to "
        f"1,200 photographs; mean over {len(found)} photographs, then mean and 95 % interval over neurons. "
        f"No noise. Default encoder ({weights} networks) fitted to session {SESSION}; 20 steps, as the plan "
        "`perturb` has them by default."
    )


def _encoder(
    recording: Recording, weights: str, cache: Path, store: FeatureStore
) -> tuple[FittedEncoder, str]:
    file = cache / f"encoder-{SESSION}-{weights}.safetensors"
    if not file.is_file():
        made = fit(recording, with_weights(FitSettings(), weights), store).encoder
        file.parent.mkdir(parents=True, exist_ok=True)
        save_encoder(file, made, Provenance(data_digest=recording.digest, refit_on_all=True))
    loaded = load_encoder(file, device="cpu")
    return loaded.encoder, f"{weights} {loaded.about.provenance.data_digest[:8]}"  # type: ignore[return-value]


def _objective(plugin: str, site: str) -> Objective:
    made: Objective = plugins.create(
        "stimloop.objectives", PluginChoice(name=plugin, options={"site": site})
    )
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m benchmarks.perturbation [--bases 6] [--weights robust] [--kept FILE]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bases", type=int, default=6, help="photographs")
    parser.add_argument("--weights", default=ROBUST, help="of the encoder's networks")
    parser.add_argument("--kept", type=Path, help="a file of results, so that a run can go on")
    common_arguments(parser)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    recording = recording_or_leave(SESSION, repeats=False)
    twins = TwinPopulation(data_folder() / "v4" / "compact_models")
    store = feature_store(chosen.cache)
    encoder, label = _encoder(recording, chosen.weights, chosen.cache, store)
    natural = twins.rates(recording.images), encoder.predict(recording.images, store)
    found = measured(encoder, twins, recording, natural, chosen.bases, Kept(chosen.kept), label)
    name = "Small changes on twins" + ("" if chosen.weights == ROBUST else f" ({chosen.weights})")
    report(name, f"python -m benchmarks.perturbation --bases {chosen.bases}",
           text_of(found, chosen.weights), draft=chosen.draft)  # fmt: skip


if __name__ == "__main__":
    main()
