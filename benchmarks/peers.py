"""Other people's tools, driven as their documentation has it, to be timed beside ours.

They are no dependency: `use_peers` finds them in a folder of their own, behind everything that is
installed, so that they run with our numpy and our torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.backbones import load_backbone
from encoders.encoder import TwoStageEncoder

INSTALL = (
    "pip install --no-deps --target PEERS neuralpredictors==0.3.0 torch-lucent==0.1.8 "
    "kornia==0.4.1 pandas python-dateutil pytz tzdata six h5py tqdm ipython traitlets "
    "prompt_toolkit wcwidth jedi parso matplotlib-inline stack_data executing asttokens pure_eval "
    "pexpect ptyprocess decorator"
)
"""PEERS: any folder, named by `--peers`. Without --no-deps they would bring another torch."""


def peers_argument(parser: argparse.ArgumentParser) -> None:
    """`--peers`."""
    parser.add_argument(
        "--peers",
        type=Path,
        default=os.environ.get("STIMLOOP_PEERS"),
        help="folder with neuralpredictors and torch-lucent; default: STIMLOOP_PEERS",
    )


def use_peers(folder: Path | None) -> None:
    """Make what lies in `folder` importable, after everything else."""
    if folder is not None:
        sys.path.append(str(folder.resolve()))


def missing(module: str) -> str:
    """What to do about a peer that is not there; empty if it is."""
    if importlib.util.find_spec(module) is not None:
        return ""
    return f"{module} is not installed. To have it compared: `{INSTALL}`, then `--peers PEERS`."


class FactorisedSettings(NamedTuple):
    """How neuralpredictors' readout is trained; found on development splits."""

    learning_rate: float = 0.003
    batch_size: int = 64
    patience: int = 10
    rate_drops: int = 3
    validation_share: float = 0.1
    initial_sd: float = 1e-3


class Factorised(NamedTuple):
    """A trained readout, and how it did on its inner validation images."""

    readout: Any
    validation_r: float

    @torch.no_grad()
    def __call__(self, features: Tensor) -> NDArray[np.float64]:
        """`(n, c, h, w)` → `(n, n_sites)`."""
        predicted: Tensor = self.readout(features)
        return predicted.numpy().astype(np.float64)


def fit_factorised(
    features: Tensor,
    responses: Tensor,
    weights: Tensor,
    strength: float,
    settings: FactorisedSettings = FactorisedSettings(),  # noqa: B008 - immutable
) -> Factorised:
    """neuralpredictors' `FullFactorized2d` by Adam, with its own early stopping.

    Its rate falls by a factor of 0.3 whenever the correlation with inner validation images has not
    risen for `patience` epochs; the third time it stops, with the weights that did best.

    Args:
        features: `(n, c, h, w)`, of unit variance.
        responses: `(n, n_sites)`, of unit variance.
        weights: `(n, n_sites)`, of sum 1 over the images.
        strength: Of its L1 penalty on mask ⊗ features.
        settings: Of the descent.
    """
    from neuralpredictors.layers.readouts import FullFactorized2d
    from neuralpredictors.training import early_stopping

    n, n_sites = responses.shape
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    n_inner = round(settings.validation_share * n)
    inner, train = order[:n_inner], order[n_inner:]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        readout = FullFactorized2d(
            tuple(features.shape[1:]), n_sites, bias=True, init_noise=settings.initial_sd
        )
    optimizer = torch.optim.Adam(readout.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.3, patience=settings.patience, threshold=1e-5
    )

    @torch.no_grad()
    def validation_r(model: Any) -> float:
        return float(_mean_r(model(features[inner]), responses[inner]))

    epochs = early_stopping(
        readout,
        validation_r,
        interval=1,
        patience=settings.patience,
        max_iter=1000,
        maximize=True,
        scheduler=schedule,
        lr_decay_steps=settings.rate_drops,
    )
    shuffle = torch.Generator().manual_seed(1)
    for _ in epochs:
        shuffled = train[torch.randperm(len(train), generator=shuffle)]
        for batch in torch.split(shuffled, settings.batch_size):
            share = weights[batch] * (n / len(batch))
            error = (share * (readout(features[batch]) - responses[batch]).square()).sum()
            optimizer.zero_grad()
            torch.autograd.backward(error + strength * readout.regularizer())
            optimizer.step()
    return Factorised(readout.eval(), validation_r(readout))


def _mean_r(predicted: Tensor, measured: Tensor) -> Tensor:
    a, b = predicted - predicted.mean(0), measured - measured.mean(0)
    r: Tensor = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-12)
    return r.mean()


class LucentScene(NamedTuple):
    """A network as lucent wants it, and what it climbs."""

    model: torch.nn.Module
    objective: Any
    size_px: int


def lucent_scene(encoder: TwoStageEncoder, sites: list[int], *, whole: bool) -> LucentScene:
    """The encoder's network and readout: image i of a batch climbs the prediction of `sites[i]`.

    Args:
        encoder: From one tap.
        sites: A row of the readout for each image of lucent's batch.
        whole: The untruncated network as it was loaded, which is how lucent is used; or ours, cut at
            the layer and quickened (`encoders.backbones.folding`).
    """
    from lucent.optvis import objectives

    tap = encoder.tap
    truncated = encoder.extractor.backbone
    units = truncated.network
    if not isinstance(units, torch.nn.Sequential):
        raise TypeError(f"{tap.backbone} is not a sequence of units")
    model = truncated
    if whole:
        model = load_backbone(tap.backbone, "classifier", input_px=tap.input_px, device="cpu")
    layer, rows = f"network_{len(units) - 1}", torch.arange(len(sites))

    def objective(layers: Any) -> Tensor:
        rates = encoder.rates_from_features(layers(layer))
        return -rates[rows, sites].sum()

    return LucentScene(model, objectives.Objective(objective), tap.input_px or 224)


def lucent_climb(scene: LucentScene, n_images: int, n_steps: int) -> NDArray[np.float32]:
    """Lucent's own loop with its standard parametrisation, transformations and optimiser.

    Returns:
        `(n_images, size, size, 3)` in 0..1.
    """
    from lucent.optvis import param, render

    (images,) = render.render_vis(
        scene.model,
        scene.objective,
        lambda: param.image(scene.size_px, batch=n_images),
        thresholds=(n_steps,),
        preprocess=False,
        progress=False,
        show_image=False,
        fixed_image_size=scene.size_px,
    )
    return np.asarray(images)
