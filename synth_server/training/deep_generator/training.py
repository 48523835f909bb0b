"""The training itself: invert features, look like a photograph, for codes of photographs and of the prior.

A step takes a batch of photographs, encodes them, cuts each code at a random length (nested dropout,
Rippel, Gelbart & Adams 2014: so that one decoder serves codes of any length), and decodes them and as
many codes of N(0, 1). The decoder minimises

    w_pixel · (|x̂ − x| at 128 px + 2 |x̂ − x| at 32 px) + w_feature · Σ_layers ⟨|φ(x̂) − φ(x)|⟩ / σ_φ
    − w_adversary · ⟨score⟩

the first two over photographs only. What is kept is the running mean of its weights.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones.weights import untrained
from protocols.seeds import random_stream
from protocols.settings import Frozen
from synth_server.synthesis.generators.decoder import BACKBONE, LAYER, Decoder, WhitenedBasis
from synth_server.training.deep_generator.adversary import (
    DEPTHS,
    Adversary,
    discrimination_loss,
    persuasion_loss,
)
from synth_server.training.deep_generator.whitening import whitened_basis
from synth_server.training.features import FeatureStack
from synth_server.training.photographs import Photographs
from synth_server.training.stoppable import StoppableTraining

FEATURE_LAYERS = ("blocks.1", "blocks.2", LAYER)
N_SPREAD = 16
"""Photographs of each kind that say how far a channel varies."""
LENGTHS = (192, 256, 384, 512, 768, 1024)
"""At which codes are cut."""


class TrainingSettings(Frozen):
    """Everything that decides the weights, with the photographs."""

    seed: int = Field(default=0, ge=0)
    n_steps: int = Field(default=6000, ge=1)
    n_sharp: int = Field(default=4, ge=1, description="sharp photographs in a batch")
    n_small: int = Field(default=4, ge=0, description="small ones, enlarged")
    n_prior: int = Field(default=4, ge=1, description="codes of the prior in a batch")
    code_dim: int = Field(default=1024, ge=1, le=5120)
    n_whitening: int = Field(default=16_000, ge=32, description="crops behind the basis")
    learning_rate: float = Field(default=5e-4, gt=0)
    adversary_learning_rate: float = Field(default=4e-4, gt=0)
    pixel_weight: float = Field(default=2.0, ge=0)
    feature_weight: float = Field(default=1.0, ge=0)
    adversary_weight: float = Field(default=0.3, ge=0)
    n_without_adversary: int = Field(default=300, ge=0, description="first steps")
    averaging: float = Field(default=0.998, ge=0, lt=1, description="of the running mean")


class Training(StoppableTraining[dict[str, float]]):
    """A training that can be stopped and taken up again.

    Args:
        settings: Of the run.
        photographs: To train on.
    """

    def __init__(self, settings: TrainingSettings, photographs: Photographs) -> None:
        super().__init__(settings.seed, settings.n_steps)
        self._settings = settings
        self._photographs = photographs
        self._stack = FeatureStack(BACKBONE, tuple(DEPTHS))
        self.decoder = untrained(Decoder, settings.seed, "decoder")
        self.decoder.to(memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.decoder).requires_grad_(False)
        self._adversary = untrained(Adversary, settings.seed, "adversary")
        self._adversary.to(memory_format=torch.channels_last)
        betas = (0.5, 0.99)
        self._steps = torch.optim.Adam(
            self.decoder.parameters(), settings.learning_rate, betas=betas
        )
        self._adversary_steps = torch.optim.Adam(
            self._adversary.parameters(), settings.adversary_learning_rate, betas=betas
        )
        self.basis = WhitenedBasis(settings.code_dim)
        seen = photographs.batch(N_SPREAD, N_SPREAD, random_stream(settings.seed, "spread"))
        self._spread = self._stack.spread(seen)

    def prepare(self) -> None:
        """Compute the basis of the codes."""
        random = random_stream(self._settings.seed, "whitening")
        self.basis = whitened_basis(
            self._photographs,
            self._stack,
            self._settings.code_dim,
            self._settings.n_whitening,
            random,
        )

    def _parts(self) -> dict[str, Any]:
        return {
            "decoder": self.decoder,
            "averaged": self.averaged,
            "adversary": self._adversary,
            "steps": self._steps,
            "adversary_steps": self._adversary_steps,
            "basis": self.basis,
        }

    def _step(self, random: np.random.Generator) -> dict[str, float]:
        settings = self._settings
        for group in self._steps.param_groups:
            group["lr"] = settings.learning_rate * _annealed(self.n_done / settings.n_steps)
        images = self._photographs.batch(settings.n_sharp, settings.n_small, random)
        with torch.no_grad(), _half_precision():
            real = self._stack(images)
        features = self.basis.features(self._codes(real[LAYER].float(), random))
        with _half_precision():
            made = self.decoder(features)
        made = made.float()
        with _half_precision():
            seen = self._stack(made)
            scores = self._adversary(made, seen)
        losses = {
            "pixel": _pixel_loss(made[: len(images)], images),
            "feature": self._feature_loss(seen, real),
            "adversary": persuasion_loss(scores),
        }
        self._climb(losses)
        losses["discrimination"] = self._discriminate(images, real, made, seen)
        return {name: float(loss.detach()) for name, loss in losses.items()}

    def _codes(self, features: Tensor, random: np.random.Generator) -> Tensor:
        """Codes of photographs, then of the prior, each cut at a random length."""
        settings = self._settings
        shape = (settings.n_prior, settings.code_dim)
        prior = torch.from_numpy(random.standard_normal(shape, dtype=np.float32))
        codes = torch.cat([self.basis.codes(features), prior])
        lengths = torch.from_numpy(random.choice(LENGTHS, len(codes)))
        return codes * (torch.arange(settings.code_dim) < lengths[:, None])

    def _climb(self, losses: dict[str, Tensor]) -> None:
        settings = self._settings
        loss = settings.pixel_weight * losses["pixel"]
        loss = loss + settings.feature_weight * losses["feature"]
        if self.n_done >= settings.n_without_adversary:
            loss = loss + settings.adversary_weight * losses["adversary"]
        self._steps.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.decoder.parameters(), 5.0)
        self._steps.step()
        decay = min(settings.averaging, self.n_done / (self.n_done + 10))
        with torch.no_grad():
            for mean, now in zip(
                self.averaged.parameters(), self.decoder.parameters(), strict=True
            ):
                mean.lerp_(now, 1 - decay)

    def _discriminate(
        self, images: Tensor, real: dict[str, Tensor], made: Tensor, seen: dict[str, Tensor]
    ) -> Tensor:
        """Only sharp photographs count as real."""
        n = self._settings.n_sharp
        with _half_precision():
            of_real = self._adversary(images[:n], {name: each[:n] for name, each in real.items()})
            of_made = self._adversary(
                made.detach(), {name: each.detach() for name, each in seen.items()}
            )
        loss = discrimination_loss(of_real, of_made)
        self._adversary_steps.zero_grad()
        torch.autograd.backward(loss)
        self._adversary_steps.step()
        return loss

    def _feature_loss(self, seen: dict[str, Tensor], real: dict[str, Tensor]) -> Tensor:
        n = len(real[LAYER])
        losses = []
        for name in FEATURE_LAYERS:
            missed = (seen[name][:n].float() - real[name].float()).abs()
            losses.append((missed / self._spread[name]).mean())
        return sum(losses[1:], losses[0])


def _pixel_loss(made: Tensor, wanted: Tensor) -> Tensor:
    coarse = functional.avg_pool2d(made, 4) - functional.avg_pool2d(wanted, 4)
    return (made - wanted).abs().mean() + 2 * coarse.abs().mean()


def _annealed(part: float) -> float:
    """Warm up over 1 %, then the first half at full rate, then down to a twentieth, linearly."""
    return min(1.0, part / 0.01 + 0.02, max(0.05, 2 * (1 - part)))


def _half_precision() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)
