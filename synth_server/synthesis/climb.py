"""One batch of images on its way up an objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import cos, pi
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor

from encoders.encoder import DifferentiableEncoder
from encoders.ensemble import EnsembleEncoder
from protocols.errors import DataError
from protocols.interfaces import Objective
from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.constraints import (
    Constraints,
    NaturalDistance,
    draw_transforms,
    total_variation,
    transformed,
)
from synth_server.synthesis.diversity import similarity
from synth_server.synthesis.image_space import ImageSpace, image_stream, seeded_start
from synth_server.synthesis.rows import deviation, finite, rowwise

CHECKED_STEP_RMS = 1e-4
"""Of the small step that a gradient is checked by, in 0..1."""

Score: TypeAlias = Callable[[Tensor, Sequence[str]], Tensor]
"""Objectives are declared for counts; those of stimloop score tensors as well."""


class Job(NamedTuple):
    """An image to make: the name of its objective, and its seed."""

    target: str
    seed: int


class Goal(NamedTuple):
    """What images climb to: `objectives` by target, `natural` if they are to look natural."""

    encoder: DifferentiableEncoder
    objectives: Mapping[str, Objective]
    natural: NaturalDistance | None = None

    def score(self, target: str) -> Score:
        """The objective of `target`."""
        return cast(Score, self.objectives[target])


class Climb:
    """One batch on its way up, and the best image of each so far.

    Args:
        goal: What it climbs to.
        space: What images are written in.
        settings: How they climb.
        jobs: Target and seed of each image, in the order of the targets.
        starts: `(len(jobs), …)`: where each begins, in the parameters of `space`.

    Attributes:
        restarts: How often each diverged, or could not leave its start.
    """

    def __init__(
        self,
        goal: Goal,
        space: ImageSpace,
        settings: AscentSettings,
        jobs: Sequence[Job],
        starts: Tensor,
    ) -> None:
        self.goal, self.space, self.settings, self.jobs = goal, space, settings, tuple(jobs)
        self.restarts = [0] * len(jobs)
        rows = rows_by_target(jobs).items()
        self._groups = [(goal.score(name), some) for name, some in rows]
        self._constraints = Constraints(settings.constraints, space.size_px)
        self._streams = [image_stream(job.seed, "transforms") for job in jobs]
        device = device_of(goal.encoder, settings)
        self._leaf = starts.detach().to(device, copy=True).requires_grad_()
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.SGD
        self._optimizer = kind([self._leaf], lr=settings.learning_rate, maximize=True)
        self._fresh = torch.ones(len(jobs), dtype=torch.bool, device=device)
        self._best_leaf = self._leaf.detach().clone()
        self._best_value = torch.full((len(jobs),), -torch.inf, device=device)

    def climb(self, tell: Callable[[int], None]) -> None:
        """All steps; `tell` is called after each, with the number of images that made it."""
        for number in range(self.settings.n_steps):
            self._step(number)
            tell(len(self.jobs))
        self._look()

    @torch.no_grad()
    def best(self) -> Tensor:
        """`(n, size, size, 3)` uint8: the best image of each so far."""
        return self._constraints.levels(self.space.images(self._best_leaf))

    def best_parameters(self) -> Tensor:
        """`(n, …)`: what the best image of each so far is written as."""
        return self._best_leaf.clone()

    @torch.no_grad()
    def best_unframed(self) -> Tensor:
        """`(n, 3, size, size)` in 0..1: the same, but for an aperture and not in gray levels."""
        return self._constraints.unframed(self.space.images(self._best_leaf))

    def _step(self, number: int) -> None:
        """One step up for every image; those that cannot go on start anew."""
        settings = self.settings
        if number % settings.evaluate_every == 0:
            self._look()
        images = self._constraints(self.space.images(self._leaf))
        moves = draw_transforms(settings.transforms, self._streams)
        seen = transformed(images, moves, settings.transforms)
        if number == 0:
            self._check_gradient(seen.detach())
        value = self._value(images, seen, number)
        (gradient,) = torch.autograd.grad(value.sum(), self._leaf)
        self._move(gradient, _rate(settings, number))
        self._restart(~self._sound(gradient))

    def _value(self, images: Tensor, seen: Tensor, step: int | None = None) -> Tensor:
        """`(n,)`: the objective on what is `seen`, less the penalties on `images`.

        `step`: asks only the network whose turn it is, if networks take turns.
        """
        value, penalties = self._scores(seen, step), self.settings.penalties
        if penalties.total_variation:
            value = value - penalties.total_variation * total_variation(images)
        if penalties.unnaturalness and self.goal.natural is not None:
            excess = (self.goal.natural(images) - 1).clamp_min(0)
            value = value - penalties.unnaturalness * excess
        if self.settings.diversity:
            alike = [similarity(images[rows]) for _, rows in self._groups]
            value = value - self.settings.diversity * torch.cat(alike)
        return value

    def _scores(self, seen: Tensor, step: int | None = None) -> Tensor:
        rates = self._rates(seen, step).to(seen.device)
        names = self.goal.encoder.site_ids
        return torch.cat([score(rates[rows], names) for score, rows in self._groups])

    def _rates(self, seen: Tensor, step: int | None) -> Tensor:
        encoder = self.goal.encoder
        takes_turns = step is not None and self.settings.networks == "in_turn"
        if takes_turns and isinstance(encoder, EnsembleEncoder):
            return encoder.rates_of_part(seen, step or 0)
        return encoder.rates(seen)

    def _check_gradient(self, seen: Tensor) -> None:
        """A small step must change the scores as the gradient says.

        (torch 2.15, CPU: batch norm in evaluation mode has wrong ones for some memory layouts.)
        """
        (gradient,) = torch.autograd.grad(self._scores(seen.requires_grad_()).sum(), seen)
        length = gradient.square().sum((1, 2, 3), keepdim=True).sqrt()
        step = gradient / length.clamp_min(1e-30) * CHECKED_STEP_RMS * seen[0].numel() ** 0.5
        with torch.no_grad():
            up, down = self._scores(seen + step), self._scores(seen - step)
        told, found = 2 * (gradient * step).sum((1, 2, 3)), up - down
        visible = (
            told.isfinite() & found.isfinite() & (told > 1e-4 * (up.abs() + down.abs()) + 1e-6)
        )
        wrong = visible & ((found - told).abs() > 0.5 * told)
        if 2 * int(wrong.sum()) > int(visible.sum()):
            raise DataError(
                "the encoder's gradient is not that of its rates",
                expected=f"scores that change by {told[wrong][0].item():.4g} at a small step",
                got=f"{found[wrong][0].item():.4g}",
                remedy="another batch_size or version of torch may help",
            )

    @torch.no_grad()
    def _look(self) -> None:
        """Keep what is better than the best so far, judged in gray levels and not moved."""
        levels = self._constraints.levels(self.space.images(self._leaf))
        pixels = levels.permute(0, 3, 1, 2).float() / 255
        value = self._value(pixels, pixels)
        better = value > self._best_value
        self._best_leaf[better] = self._leaf[better]
        self._best_value[better] = value[better]

    def _sound(self, gradient: Tensor) -> Tensor:
        """`(n,)`: finite, and not stuck on flat ground at its very start."""
        stuck = self._fresh & (gradient.flatten(1).abs().amax(dim=1) == 0)
        return finite(gradient) & finite(self._leaf) & ~stuck

    @torch.no_grad()
    def _move(self, gradient: Tensor, rate: float) -> None:
        gradient = torch.where(rowwise(finite(gradient), gradient), gradient, 0)
        if self.settings.normalise_gradient:
            gradient = gradient / rowwise(deviation(gradient) + 1e-8, gradient)
        self._leaf.grad = gradient
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        self.space.project_(self._leaf)

    @torch.no_grad()
    def _restart(self, lost: Tensor) -> None:
        """Put `lost` rows on a new start, without momentum; beyond `max_restarts` they rest there."""
        self._fresh = lost.clone()
        for row in lost.nonzero().flatten().tolist():
            self.restarts[row] = min(self.restarts[row] + 1, self.settings.max_restarts)
            start = seeded_start(self.space, self.jobs[row].seed, self.restarts[row])
            self._leaf[row] = start[0].to(self._leaf.device)
            for moment in self._optimizer.state[self._leaf].values():
                if isinstance(moment, Tensor) and moment.shape == self._leaf.shape:
                    moment[row] = 0


def device_of(encoder: DifferentiableEncoder, settings: AscentSettings) -> torch.device:
    """Where images are kept."""
    return torch.device(settings.device) if settings.device else encoder.device


def _rate(settings: AscentSettings, step: int) -> float:
    decay = 0.5 * (1 + cos(pi * step / settings.n_steps)) if settings.cosine_decay else 1
    return settings.learning_rate * decay


def rows_by_target(jobs: Sequence[Job]) -> dict[str, slice]:
    """Targets are in order, so that each has a run of rows."""
    names = [job.target for job in jobs]
    firsts = {name: names.index(name) for name in dict.fromkeys(names)}
    return {name: slice(first, first + names.count(name)) for name, first in firsts.items()}
