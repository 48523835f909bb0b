"""Features that stay where they were when an image is disturbed in the worst way.

A network g starts as the pretrained f, and learns to see a disturbed photograph as f sees the
undisturbed one: over its weights it minimises, and over the disturbance δ of each image maximises,

    Σ_layers ⟨|g(x + δ) − f(x)|²⟩ / σ_f²,   ‖δ‖₂ ≤ radius

This is adversarial training (Madry et al. 2018) with features for labels, so that no labels are
needed and the features keep their meaning. Gradients of such networks show what a person sees too
(Engstrom et al. 2019, "Adversarial robustness as a prior for learned representations").
"""

from __future__ import annotations

import copy
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from encoders.backbones import resized
from protocols.seeds import random_stream
from protocols.settings import Frozen
from synth_server.training.features import FeatureStack
from synth_server.training.photographs import Photographs
from synth_server.training.robust_networks.disturbance import worst_disturbance
from synth_server.training.stoppable import StoppableTraining

N_SPREAD = 64
"""Photographs of each kind that say how far a channel varies."""
SPREAD_PX = 96
FLAT = 1e-3
"""Root mean square of weights that are all but zero."""
N_WARM_UP = 50
"""Steps."""


class DistillationSettings(Frozen):
    """Everything that decides the weights, with the photographs."""

    backbone: str = Field(default="efficientnet_lite0", min_length=1)
    layers: tuple[str, ...] = Field(
        default=("blocks.2", "blocks.3", "blocks.4"), min_length=1, description="the deepest last"
    )
    seed: int = Field(default=0, ge=0)
    n_steps: int = Field(default=1200, ge=1)
    n_sharp: int = Field(default=8, ge=1, description="sharp photographs in a batch")
    n_small: int = Field(default=8, ge=0, description="small ones, enlarged")
    sizes_px: tuple[int, ...] = Field(
        default=(80, 96, 112), min_length=1, description="a batch has one of them"
    )
    radius: float = Field(
        default=3.0, gt=0, description="‖δ‖₂ at 96 px, RGB in 0..1; in proportion to the side"
    )
    rate: float = Field(
        default=3e-3, gt=0, description="Adam's, in root mean squares of each tensor of weights"
    )


class Damages(NamedTuple):
    """How far features are from those that the pretrained network has of undisturbed images."""

    undisturbed: float
    worst: float
    worst_before_training: float


class Distillation(StoppableTraining[float]):
    """A training that can be stopped and taken up again.

    Args:
        settings: Of the run.
        photographs: To train on.
    """

    def __init__(self, settings: DistillationSettings, photographs: Photographs) -> None:
        super().__init__(settings.seed, settings.n_steps)
        self._settings = settings
        self._photographs = photographs
        self._teacher = FeatureStack(settings.backbone, settings.layers)
        self.student = copy.deepcopy(self._teacher)
        weights = list(self.student.backbone.network.requires_grad_(True).parameters())
        self._rates = [settings.rate * _size(weight) for weight in weights]
        self._steps = torch.optim.Adam([{"params": [each]} for each in weights], betas=(0.9, 0.99))
        seen = photographs.batch(N_SPREAD, N_SPREAD, random_stream(settings.seed, "spread"))
        self._spread = self._teacher.spread(resized(seen, SPREAD_PX))

    def damages(self, photographs: Photographs, n_images: int = N_SPREAD) -> Damages:
        """Of `n_images` photographs at 96 px, mean over them and over the layers; a share of features'
        variance."""
        random = random_stream(self._settings.seed, "damages")
        images = resized(photographs.batch(n_images, n_images, random), SPREAD_PX)
        patient = {"n_steps": 10, "step": 0.25}
        with torch.no_grad():
            wanted = self._teacher(images)
            undisturbed = self._damage(self.student, images, wanted)
        return Damages(
            *(
                float(each.mean()) / len(self._settings.layers)
                for each in (
                    undisturbed,
                    self._worst(self.student, images, wanted, random, **patient).detach(),
                    self._worst(self._teacher, images, wanted, random, **patient).detach(),
                )
            )
        )

    def _worst(
        self,
        network: FeatureStack,
        images: Tensor,
        wanted: dict[str, Tensor],
        random: np.random.Generator,
        **attack: Any,
    ) -> Tensor:
        """The `_damage` that the worst disturbance of `images` does, `(n,)`."""
        draw = torch.Generator().manual_seed(int(random.integers(2**63)))
        radius = self._settings.radius * images.shape[-1] / SPREAD_PX

        def damage(disturbed: Tensor) -> Tensor:
            return self._damage(network, disturbed, wanted)

        return damage(images + worst_disturbance(damage, images, radius, draw, **attack))

    def _damage(self, network: FeatureStack, images: Tensor, wanted: dict[str, Tensor]) -> Tensor:
        """How far `network` is from the features `wanted` of `images`, `(n,)`, summed over layers."""
        seen = network(images)
        missed = [
            ((seen[name] - wanted[name]) / self._spread[name]).square().mean((1, 2, 3))
            for name in wanted
        ]
        return torch.stack(missed).sum(0)

    def _parts(self) -> dict[str, Any]:
        return {"network": self.student.backbone.network, "steps": self._steps}

    def _batch(self, random: np.random.Generator) -> Tensor:
        settings = self._settings
        images = self._photographs.batch(settings.n_sharp, settings.n_small, random)
        return resized(images, int(random.choice(settings.sizes_px)))

    def _step(self, random: np.random.Generator) -> float:
        images = self._batch(random)
        with torch.no_grad():
            wanted = self._teacher(images)
        damages = self._worst(self.student, images, wanted, random)
        part = self.n_done / self._settings.n_steps
        share = min(1, (self.n_done + 1) / N_WARM_UP) * (1 + math.cos(math.pi * part)) / 2
        for group, rate in zip(self._steps.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        loss = damages.mean()
        self._steps.zero_grad()
        torch.autograd.backward(loss)
        self._steps.step()
        return float(loss.detach())


def _size(weight: Tensor) -> float:
    return max(float(weight.detach().square().mean().sqrt()), FLAT)
