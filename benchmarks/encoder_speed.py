"""How long encoders take: fits, features and synthesis, beside other ways to do the same.

Session 210325, one layer, one thread; all that is compared is timed in turn in one run. Peers
(neuralpredictors, torch-lucent) are compared where `--peers` finds them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.encoder_data import (
    CLOCKS,
    DEVELOPMENT,
    SINGLE,
    SOLVER,
    Problem,
    Run,
    common_arguments,
    feature_store,
    problem,
    recording_or_leave,
    report,
    side_by_side,
    split,
)
from benchmarks.fit_speed import fits
from benchmarks.peers import (
    lucent_climb,
    lucent_scene,
    missing,
    peers_argument,
    use_peers,
)
from benchmarks.results import table
from encoders.alternating import fit_alternating
from encoders.backbones import load_backbone, pixels_of
from encoders.backbones.folding import quicken
from encoders.backbones.robust import ROBUST
from encoders.encoder import TwoStageEncoder
from encoders.features import Tap
from encoders.fitting import LAYERS, FitSettings, fit
from encoders.two_stage import Penalties, Readout
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.ascent_settings import AscentSettings, RefinementSettings
from synth_server.synthesis.constraints import TransformSettings
from synth_server.synthesis.objectives import SiteObjective, SiteSettings
from synth_server.synthesis.recipes import Recipe, fourier_recipe, stimloop_recipe

SITES = (10, 100, 1000)
IMAGES = (100, 200, 480, 1000)
BATCHES = (1, 4, 16, 64)
BATCH_STEPS = 20
CLIMBED = AscentSettings().batch_size
"""Images that are synthesised, each for another site."""


def main() -> None:
    """Measure and write the sections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--split", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60, help="of ascent")
    peers_argument(parser)
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    parser.add_argument("--quick", action="store_true", help="a try-out: small sizes, no writing")
    common_arguments(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    use_peers(options.peers)
    run = Run(
        split(recording_or_leave(), options.split),
        feature_store(options.cache),
        3 if options.quick else options.repeats,
        CLOCKS[options.clock],
        8 if options.quick else options.steps,
        options.quick,
    )
    is_draft = options.draft or options.quick or options.split >= DEVELOPMENT
    for name in options.parts:
        heading, measure = PARTS[name]
        command = f"python -m benchmarks.encoder_speed --parts {name} --peers PEERS"
        circumstances = (
            f"{options.threads} torch thread; medians of {run.repeats} runs in turn, {options.clock} time; "
            f"{SINGLE.label}; session 210325, split {options.split}."
        )
        report(heading, command, f"{measure(run)}\n\n{circumstances}", draft=is_draft)


# --- features ----------------------------------------------------------------------------------


def features(run: Run) -> str:
    """Networks cut at the layer, against whole ones whose layer is read on the way."""
    images = run.parts.train.images[: 16 if run.is_quick else 64]
    rows = []
    taps = LAYERS[:2] if run.is_quick else (*LAYERS, VGG)
    for tap in taps:
        cut = run.store.extractor(tap).backbone
        whole = _whole(tap)
        timed = side_by_side(
            {"cut": _through(cut, images), "whole": _through(whole, images)},
            run.repeats,
            run.clock,
        )
        each = [1000 * timed[name].seconds / len(images) for name in ("cut", "whole")]
        rows.append([tap.label, *(f"{ms:.1f}" for ms in each), f"**{each[1] / each[0]:.2f}**"])
    head = ["layer", "cut at it, ms an image", "whole network", "whole ÷ cut"]
    return f"{table(head, rows)}\n\nBatches of 8 images; VGG-16 untrained (its speed is the same)."


VGG = Tap(backbone="torchvision:vgg16", layer="features.15", input_px=112, weights="random")


def _whole(tap: Tap) -> torch.nn.Module:
    last = "classifier.6" if "vgg" in tap.backbone else "classifier"
    weights = "default" if tap.weights == ROBUST else tap.weights
    whole = load_backbone(tap.backbone, last, input_px=tap.input_px, weights=weights, device="cpu")
    quicken(whole.network)
    return whole


def _through(network: torch.nn.Module, images: Any) -> Callable[[], None]:
    @torch.no_grad()
    def task() -> None:
        for at in range(0, len(images), 8):
            network(pixels_of(images[at : at + 8], torch.device("cpu")))

    return task


# --- synthesis ---------------------------------------------------------------------------------


def synthesis(run: Run) -> str:
    """A step of ascent, an image, against lucent on the same network, readout and size."""
    encoder = _single_encoder(run)
    n_images = 4 if run.is_quick else CLIMBED
    size_px = encoder.tap.input_px or 112
    recipe, learned = fourier_recipe(size_px), stimloop_recipe(size_px)
    turning = TransformSettings(**{**recipe.settings.transforms.model_dump(), "rotate_deg": 10})
    turned = recipe._replace(settings=recipe.settings.model_copy(update={"transforms": turning}))
    tasks: dict[str, Callable[[], Any]] = {
        "ours": _climb(encoder, n_images, recipe, run.n_steps),
        "ours, turned by up to 10° as well": _climb(encoder, n_images, turned, run.n_steps),
        "ours, one image at a time": _climb(encoder, 1, recipe, run.n_steps),
        "ours, with the learned prior": _climb(encoder, n_images, learned, run.n_steps),
        "the cut network alone, there and back": _network(encoder, n_images, run.n_steps),
    }
    n_of = dict(zip(tasks, (n_images, n_images, 1, n_images, n_images), strict=True))
    without = missing("lucent")
    if not without:
        lucent = {
            "torch-lucent": _lucent(encoder, 1, run.n_steps, whole=True),
            "torch-lucent, network cut for it": _lucent(encoder, 1, run.n_steps, whole=False),
            f"torch-lucent, network cut, batch of {n_images}": _lucent(
                encoder, n_images, run.n_steps, whole=False
            ),
        }
        n_of |= dict(zip(lucent, (1, 1, n_images), strict=True))
        tasks |= lucent
    timed = side_by_side(tasks, run.repeats, run.clock)
    each = {name: 1000 * timed[name].seconds / (n_of[name] * run.n_steps) for name in tasks}
    rows = [
        [name, str(n_of[name]), f"{ms:.2f}", f"**{ms / each['ours']:.2f}**"]
        for name, ms in each.items()
    ]
    text = (
        f"{run.n_steps} steps, {encoder.tap.input_px} px, each image for one site of the same "
        "encoder; all that either does for an image is counted. Ours with the recipe `fourier` "
        "(natural contrast, jitter, scale, looks at the best image on the way), and with the default "
        "recipe, whose learned prior is a network of its own; lucent with its own transforms (pad, "
        "jitter, scale, turn, jitter), its Adam and its Fourier space. The network alone is what no "
        "way of climbing can do without."
    )
    head = ["synthesis", "images at once", "ms a step an image", "÷ ours"]
    return f"{text}\n\n{table(head, rows)}\n\n{without}".strip()


def _single_encoder(run: Run) -> TwoStageEncoder:
    settings = FitSettings(taps=(SINGLE,), penalties=(Penalties(),))
    encoder = fit(run.parts.train, settings, run.store).encoder
    if not isinstance(encoder, TwoStageEncoder):
        raise TypeError("one tap makes one encoder")
    return encoder


def _network(encoder: TwoStageEncoder, n_images: int, n_steps: int) -> Callable[[], Any]:
    """A step's forward and backward pass through the network, and nothing else."""
    size_px = encoder.tap.input_px or 112
    pixels = torch.rand(n_images, 3, size_px, size_px, requires_grad=True)

    def passes() -> None:
        for _ in range(n_steps):
            torch.autograd.grad(encoder.extractor(pixels).sum(), pixels)

    return passes


def _climb(
    encoder: TwoStageEncoder, n_images: int, recipe: Recipe, n_steps: int
) -> Callable[[], Any]:
    """The steps of one batch's first climb; where there are more images than sites, of several seeds."""
    n_seeds = -(-n_images // len(encoder.site_ids))
    names = encoder.site_ids[: n_images // n_seeds]
    targets = {name: SiteObjective(SiteSettings(site=name)) for name in names}
    chosen = recipe.settings.model_copy(
        update={"n_steps": n_steps, "batch_size": n_images, "refinement": RefinementSettings()}
    )
    return lambda: synthesize(encoder, targets, recipe.space, chosen, range(n_seeds))


def _lucent(
    encoder: TwoStageEncoder, n_images: int, n_steps: int, *, whole: bool
) -> Callable[[], Any]:
    scene = lucent_scene(encoder, list(range(n_images)), whole=whole)
    return lambda: lucent_climb(scene, n_images, n_steps)


# --- growth ------------------------------------------------------------------------------------


def growth(run: Run) -> str:
    """Time of a fit over sites and images, of an image's step over the batch."""
    posed = problem(run.parts.train, run.parts.test.images, SINGLE, run.store)
    tables = [
        _growth_table("sites", "s", _growth_in_sites(run, posed)),
        _growth_table("images", "s", _growth_in_images(run, posed)),
        _growth_table("images in a batch", "ms a step an image", _growth_in_batch(run)),
    ]
    note = (
        f"Fits of {SOLVER['max_sweeps']} sweeps with one set of penalties; "
        f"{posed.responses.shape[1]} sites unless said otherwise (more are mixtures of the recorded "
        f"ones), {len(posed.features)} images (more are recorded ones with noise)."
    )
    return "\n\n".join([*tables, note])


def _growth_table(what: str, unit: str, found: Mapping[int, float]) -> str:
    sizes = list(found)
    rows = []
    for before, size in zip([None, *sizes[:-1]], sizes, strict=True):
        order = ""
        if before is not None:
            order = f"{np.log(found[size] / found[before]) / np.log(size / before):.2f}"
        rows.append([str(size), f"{found[size]:.3g}", order])
    return table([what, unit, "grows with the power"], rows)


def _growth_in_sites(run: Run, posed: Problem) -> dict[int, float]:
    sizes = SITES[:2] if run.is_quick else SITES
    return _timed_fits({size: _with_sites(posed, size) for size in sizes}, run)


def _growth_in_images(run: Run, posed: Problem) -> dict[int, float]:
    sizes = IMAGES[:2] if run.is_quick else IMAGES
    return _timed_fits({size: _with_images(posed, size) for size in sizes}, run)


def _growth_in_batch(run: Run) -> dict[int, float]:
    encoder, sizes = _single_encoder(run), BATCHES[:2] if run.is_quick else BATCHES
    recipe = fourier_recipe(encoder.tap.input_px or 112)
    n_steps = min(BATCH_STEPS, run.n_steps)
    tasks = {str(size): _climb(encoder, size, recipe, n_steps) for size in sizes}
    timed = side_by_side(tasks, run.repeats, run.clock)
    return {size: 1000 * timed[str(size)].seconds / (size * n_steps) for size in sizes}


def _timed_fits(problems: Mapping[int, Problem], run: Run) -> dict[int, float]:
    tasks = {str(size): _fit_task(posed) for size, posed in problems.items()}
    timed = side_by_side(tasks, run.repeats, run.clock)
    return {size: timed[str(size)].seconds for size in problems}


def _fit_task(posed: Problem) -> Callable[[], Readout]:
    """All sweeps are made: how many it takes depends on the data, and is not what is asked."""
    solver = {**SOLVER, "tolerance": 0.0}
    return lambda: fit_alternating(
        posed.features, posed.responses, posed.weights, Penalties(), **solver
    )


def _with_sites(posed: Problem, n_sites: int) -> Problem:
    """Mixtures of two recorded sites each: as hard to fit, and all different."""
    random = torch.Generator().manual_seed(0)
    n = posed.responses.shape[1]
    first, second = torch.randint(n, (2, n_sites), generator=random)
    mixed = posed.responses[:, first] + 0.5 * posed.responses[:, second]
    return posed._replace(responses=mixed / mixed.std(0), weights=posed.weights[:, first])


def _with_images(posed: Problem, n_images: int) -> Problem:
    """The first images, or with noise on their features if more are asked for."""
    random = torch.Generator().manual_seed(0)
    rows = torch.arange(n_images) % len(posed.features)
    taken = posed.features[rows]
    noise = 0.1 * torch.randn(taken.shape, generator=random)
    weights: Tensor = posed.weights[rows]
    return posed._replace(
        features=taken + noise,
        responses=posed.responses[rows],
        weights=weights / weights.sum(0),
    )


PARTS: Mapping[str, tuple[str, Callable[[Run], str]]] = {
    "fits": ("Speed of fits", fits),
    "features": ("Speed of features", features),
    "synthesis": ("Speed of synthesis", synthesis),
    "growth": ("Growth of fits and of synthesis", growth),
}

if __name__ == "__main__":
    main()
