"""Control that transfers: images made with an encoder, shown to neurons that the encoder never was.

An encoder is fitted to the recorded responses of session 190923 and nothing else, images are made as
`synth-server synthesize` makes them by default, and the digital twins of the same neurons (made by
others, from other data) answer to them. A twin's answer is a z-score; its gain is that answer to a
synthesised image, median over seeds, ÷ its answer to the best of the session's 1,200 images.

The neurons are parted by a seeded permutation: on `DEVELOPED` layers, image space and steps were
chosen, on `REPORTED` nothing was. All images have the session's median mean and RMS contrast, but for
the rows that say otherwise.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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
from benchmarks.results import table
from benchmarks.twins import IMAGE_PX, SESSION, TwinPopulation, data_folder
from encoders.backbones.robust import ROBUST
from encoders.encoder import DifferentiableEncoder
from encoders.features import FeatureStore, Tap
from encoders.fitting import Fit, FitSettings, fit
from encoders.recording import Recording
from protocols.digests import array_digest
from protocols.vocabulary import Images, Rates
from synth_server.synthesis.ascent import Synthesized, synthesize
from synth_server.synthesis.constraints import Constraints, starting_images
from synth_server.synthesis.generators.deep import DeepGenerator, DeepSettings
from synth_server.synthesis.image_space import (
    GeneratorSpace,
    GeneratorSpaceSettings,
    PixelSpace,
    PixelSpaceSettings,
)
from synth_server.synthesis.recipes import Recipe, recipe_of
from synth_server.synthesis.targets import objectives_for

N_DEVELOPED = 11
N_SEARCHED = 150
"""Random images that the control searches: as many as the ascent's steps."""
CONTRAST_GAIN = 1.5
_ORDER = np.random.default_rng(20261121).permutation(33)
DEVELOPED = tuple(sorted(_ORDER[:N_DEVELOPED].tolist()))
REPORTED = tuple(sorted(_ORDER[N_DEVELOPED:].tolist()))


class Bench(NamedTuple):
    """What all rows share; `natural` `(1200, 33)` are the twins' answers to the session's images."""

    recording: Recording
    twins: TwinPopulation
    natural: Rates
    store: FeatureStore

    def gains(self, images: Images, sites: Sequence[int]) -> NDArray[np.float64]:
        """`(len(images),)`: each image's answer at its site, ÷ that site's best natural image."""
        answers = self.twins.rates(images)[np.arange(len(images)), list(sites)]
        return np.asarray(answers / self.natural.max(axis=0)[list(sites)])


def main() -> None:
    """`python -m benchmarks.transfer [--seeds 5] [--first-seed 0] [--parts stretch one-hot levers]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--images", type=Path, help="keep the synthesised images in this folder")
    common_arguments(parser)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    recording = recording_or_leave(SESSION, repeats=False)
    twins = TwinPopulation(data_folder() / "v4" / "compact_models")
    natural = _kept(chosen.cache, recording, twins)
    bench = Bench(recording, twins, natural, feature_store(chosen.cache))
    started = time.perf_counter()
    fitted = fit(recording, FitSettings(), bench.store)
    print(f"fitted in {time.perf_counter() - started:.0f} s", flush=True)
    for part in chosen.parts:
        seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
        text = PARTS[part](bench, fitted, seeds, chosen.images)
        command = f"python -m benchmarks.transfer --parts {part} --seeds {chosen.seeds}"
        is_draft = chosen.draft or chosen.first_seed > 0
        report(f"Transfer to twins: {part}", command, text, draft=is_draft)


def stretch(bench: Bench, fitted: Fit, seeds: Sequence[int], kept: Path | None) -> str:
    """Gains of all neurons, reported and developed apart."""
    started = time.perf_counter()
    sites = [*REPORTED, *DEVELOPED]
    made = _made(fitted, "stretch", sites, seeds)
    seconds = time.perf_counter() - started
    _keep(made, kept, "stretch")
    gains = bench.gains(made.images, [int(site) for site in made.targets])
    by_site = np.median(gains.reshape(len(sites), len(seeds)), axis=1)
    n = len(REPORTED)
    rows = [
        ("reported", *_row(by_site[:n])),
        ("developed on", *_row(by_site[n:])),
    ]
    each = " ".join(f"{gain:.2f}" for gain in np.sort(by_site[:n]))
    return (
        table(("neurons", "n", "median gain", "95 % CI", "above 1", "quartiles"), rows)
        + f"\n\nReported neurons, sorted: {each}.\n\n"
        + f"{len(made.images)} images in {seconds / 60:.1f} min, {torch.get_num_threads()} thread(s)."
    )


def one_hot(bench: Bench, fitted: Fit, seeds: Sequence[int], kept: Path | None) -> str:
    """Softmax of the target among all 33 twins, z-scored over the natural images."""
    sites = [*REPORTED, *DEVELOPED]
    made = _made(fitted, "one-hot-population", sites, seeds)
    _keep(made, kept, "one-hot")
    mean, sd = bench.natural.mean(axis=0), bench.natural.std(axis=0)
    best = _softmax((bench.natural - mean) / sd).max(axis=0)
    scores = _softmax((bench.twins.rates(made.images) - mean) / sd)
    targets = [int(site) for site in made.targets]
    own = scores[np.arange(len(targets)), targets].reshape(len(sites), len(seeds))
    ratios = np.median(own, axis=1) / best[sites]
    n = len(REPORTED)
    rows = [("reported", *_row(ratios[:n])), ("developed on", *_row(ratios[n:]))]
    return (
        table(("neurons", "n", "median ratio", "95 % CI", "above 1", "quartiles"), rows)
        + f"\n\nScores of the reported neurons: best natural image median {np.median(best[sites[:n]]):.2f}, "
        + f"synthesised {np.median(np.median(own, axis=1)[:n]):.2f} (chance {1 / len(mean):.2f})."
    )


def levers(bench: Bench, fitted: Fit, *_: object) -> str:
    """What each lever adds: the default with one thing changed, on the neurons developed on."""
    rows = []
    for name, make in _variants(bench, fitted).items():
        images = make()
        gains = bench.gains(images, DEVELOPED)
        rows.append((name, f"{np.median(gains):.2f}", f"{gains.mean():.2f}", _share(gains)))
        print(rows[-1], flush=True)
    return table(("one seed, 11 neurons", "median gain", "mean", "above 1"), rows)


PARTS: Mapping[str, Callable[..., str]] = {
    "stretch": stretch,
    "one-hot": one_hot,
    "levers": levers,
}


def _variants(bench: Bench, fitted: Fit) -> dict[str, Callable[[], Images]]:
    recipe, fourier = _recipe(fitted), _recipe(fitted, name="fourier")
    untrained_prior = GeneratorSpace(
        DeepGenerator(DeepSettings(tiles=1, code_dim=1024, weights="untrained")),
        GeneratorSpaceSettings(size_px=IMAGE_PX),
    )
    single = FitSettings(taps=(Tap(weights=ROBUST),))
    fine = tuple(
        Tap(backbone=f"efficientnet_lite{n}", layer=layer, input_px=px, weights=ROBUST)
        for n, layer, px in ((0, "blocks.3", 112), (0, "blocks.3", 160), (2, "blocks.4", 160))
    )

    def climbed(encoder: DifferentiableEncoder, how: Recipe = recipe) -> Callable[[], Images]:
        names = [str(site) for site in DEVELOPED]
        objectives = objectives_for("stretch", names, encoder.site_ids)
        return lambda: synthesize(encoder, objectives, *how, [0]).images

    def other_fit(settings: FitSettings) -> Callable[[], Images]:
        return lambda: climbed(fit(bench.recording, settings, bench.store).encoder)()

    free = {"constraints": {"mean": None, "rms_contrast": None}}
    adam = {"optimizer": "adam", "learning_rate": 0.1}
    adam_codes = {"optimizer": "adam", "learning_rate": 0.03}
    still = {"transforms": {"jitter_px": 0, "scale": 0}}
    pixels = PixelSpace(PixelSpaceSettings(size_px=IMAGE_PX, colour=True))
    return {
        "default": climbed(fitted.encoder),
        "no second climb in Fourier space": climbed(
            fitted.encoder, _recipe(fitted, {"refinement": {"n_steps": 0}})
        ),
        "steps by Adam": climbed(fitted.encoder, _recipe(fitted, adam_codes)),
        "no jitter, no scaling": climbed(fitted.encoder, _recipe(fitted, still)),
        "mean and contrast free": climbed(fitted.encoder, _recipe(fitted, free)),
        "no learned prior: Fourier space": climbed(fitted.encoder, fourier),
        "Fourier space, steps by Adam": climbed(fitted.encoder, _recipe(fitted, adam, "fourier")),
        "pixel space": climbed(fitted.encoder, fourier._replace(space=pixels)),
        "untrained generator": climbed(fitted.encoder, recipe._replace(space=untrained_prior)),
        "one start, not the best of 64": climbed(
            fitted.encoder, _recipe(fitted, {"n_candidates": 1})
        ),
        "one layer (lite0 blocks.3, 112 px)": other_fit(single),
        "three layers at fine scales": other_fit(FitSettings(taps=fine)),
        "networks as pretrained, not robust": other_fit(with_weights(FitSettings(), "default")),
        "untrained networks": other_fit(with_weights(FitSettings(), "random")),
        "npc recipe": climbed(fitted.encoder, recipe_of("npc", IMAGE_PX)),
        f"best of {N_SEARCHED} random images": lambda: _searched(fitted, recipe),
        "the images' starts": lambda: np.repeat(
            starting_images(recipe.space, recipe.settings.constraints, [0]), N_DEVELOPED, axis=0
        ),
        "best natural image, same mean and contrast": lambda: _matched(bench, recipe),
        f"best natural image, contrast × {CONTRAST_GAIN:g}": lambda: _enhanced(bench),
    }


def _made(fitted: Fit, objective: str, sites: Sequence[int], seeds: Sequence[int]) -> Synthesized:
    names = [str(site) for site in sites]
    objectives = objectives_for(objective, names, fitted.encoder.site_ids, natural=fitted.natural)
    space, settings = _recipe(fitted)
    return synthesize(fitted.encoder, objectives, space, settings, list(seeds), progress=_tell)


def _recipe(
    fitted: Fit, changes: Mapping[str, Any] | None = None, name: str = "stimloop"
) -> Recipe:
    moments = fitted.natural.mean, fitted.natural.rms_contrast
    return recipe_of(name, IMAGE_PX, moments=moments, changes=changes)


def _searched(fitted: Fit, recipe: Recipe) -> Images:
    noise = starting_images(recipe.space, recipe.settings.constraints, list(range(N_SEARCHED)))
    return np.asarray(noise[fitted.encoder.predict(noise)[:, list(DEVELOPED)].argmax(axis=0)])


def _best_natural(bench: Bench) -> Images:
    return np.asarray(bench.recording.images[bench.natural[:, list(DEVELOPED)].argmax(axis=0)])


def _matched(bench: Bench, recipe: Recipe) -> Images:
    pixels = torch.from_numpy(_best_natural(bench)).permute(0, 3, 1, 2) / 255
    return np.asarray(Constraints(recipe.settings.constraints, IMAGE_PX).levels(pixels).numpy())


def _enhanced(bench: Bench) -> Images:
    images = _best_natural(bench).astype(np.float64)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    raised = (mean + CONTRAST_GAIN * (images - mean)).clip(0, 255)
    return np.asarray(raised.round().astype(np.uint8))


def _row(values: NDArray[np.float64]) -> tuple[str, ...]:
    random = np.random.default_rng(0)
    drawn = np.median(values[random.integers(0, len(values), (10_000, len(values)))], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    first, third = np.quantile(values, (0.25, 0.75))
    median = f"**{np.median(values):.2f}**"
    return (
        str(len(values)),
        median,
        f"{low:.2f}–{high:.2f}",
        _share(values),
        f"{first:.2f}, {third:.2f}",
    )


def _share(values: NDArray[np.float64]) -> str:
    return f"{np.sum(values > 1)} of {len(values)} ({100 * np.mean(values > 1):.0f} %)"


def _softmax(z: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _kept(cache: Path, recording: Recording, twins: TwinPopulation) -> Rates:
    """The twins' answers to the session's images take minutes: once is enough."""
    path = cache / f"twins-{array_digest(recording.images)[:16]}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, twins.rates(recording.images))
    return np.asarray(np.load(path, allow_pickle=False))


def _keep(made: Synthesized, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", made.images)


def _tell(done: int, total: int) -> None:
    if done % max(1, total // 20) < 8:
        print(f"{done} of {total} image steps", end="\r", flush=True)


if __name__ == "__main__":
    main()
