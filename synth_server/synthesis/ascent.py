"""Gradient ascent: images that an encoder predicts to drive its sites as an objective asks.

All targets × seeds climb together, a batch at a time. An image depends on its objective, its seed and
the settings, on nothing else in its batch (unless `diversity` is asked for): all that is random
about it comes from its own streams, and nothing is averaged over the batch. Batches of another size
may still round otherwise, which a deep network's ascent can amplify.

What is returned is the best image met on the way, judged as it will be shown: in gray levels, with
all constraints, and not moved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import cos, pi
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from encoders.encoder import DifferentiableEncoder
from protocols.errors import DataError, SettingsError
from protocols.interfaces import Objective
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates
from synth_server.synthesis.constraints import (
    Constraints,
    ConstraintSettings,
    NaturalDistance,
    PenaltySettings,
    TransformSettings,
    draw_transforms,
    similarity,
    total_variation,
    transformed,
)
from synth_server.synthesis.image_space import (
    ImageSpace,
    image_stream,
    seeded_start,
)
from synth_server.synthesis.rows import deviation, finite, rowwise

CHECKED_STEP_RMS = 1e-4
Progress: TypeAlias = Callable[[int, int], None]
"""Called with (image steps done, image steps in all); may raise, to stop."""


class AscentSettings(Frozen):
    """How images climb, and what holds for them."""

    n_steps: int = Field(default=200, ge=1, le=100_000)
    optimizer: Literal["adam", "gradient"] = Field(
        default="adam", description="'gradient': plain steps of learning_rate × gradient"
    )
    learning_rate: float = Field(default=0.1, gt=0, description="of the first step")
    cosine_decay: bool = Field(default=True, description="the rate falls to 0; or it stays")
    normalise_gradient: bool = Field(
        default=True, description="divide each image's gradient by its standard deviation"
    )
    diversity: float = Field(
        default=0,
        ge=0,
        description="weight of an image's mean similarity (-1..1) to those of "
        "the same target, in the objective's unit",
    )
    evaluate_every: int = Field(default=10, ge=1, description="steps between looks at the image")
    max_restarts: int = Field(default=3, ge=0, description="new starts for a diverged image")
    n_candidates: int = Field(
        default=1,
        ge=1,
        le=100_000,
        description="starts drawn for a seed; each target climbs from the one that scores highest",
    )
    batch_size: int = Field(
        default=8,
        ge=1,
        le=4096,
        description="images that climb together; a target's stay "
        "together if they are to be diverse",
    )
    device: str | None = Field(
        default=None,
        description="where images are kept, as torch names it; not given: where the encoder is",
    )
    constraints: ConstraintSettings = ConstraintSettings()
    transforms: TransformSettings = TransformSettings()
    penalties: PenaltySettings = PenaltySettings()


class Synthesized(NamedTuple):
    """The images, and where each came from; `targets` are in order, seeds within each."""

    images: Images
    """`(n, size, size, 3) uint8`."""
    targets: tuple[str, ...]
    """The name of each image's objective."""
    seeds: NDArray[np.int64]
    predicted: Rates
    """`(n, n_sites)` spikes/s, of the images as returned."""
    scores: NDArray[np.float64]
    """`(n,)`: what each image's objective makes of them."""
    restarts: NDArray[np.int64]
    """`(n,)`: how often an image diverged, or could not leave its start."""


def synthesize(
    encoder: DifferentiableEncoder,
    objectives: Mapping[str, Objective],
    space: ImageSpace,
    settings: AscentSettings,
    seeds: Sequence[int],
    *,
    natural: NaturalDistance | None = None,
    progress: Progress | None = None,
) -> Synthesized:
    """One image for each target and seed.

    Args:
        encoder: Predicts rates; its parameters are left alone.
        objectives: Name of a target → what its images maximise; must work on tensors.
        space: What images are written in.
        settings: How they climb.
        seeds: One image of each target for each; the same seed starts all targets alike.
        natural: Needed if `settings.penalties.unnaturalness` is above 0.
        progress: Told of every step, and between the batches that starts are chosen from.

    Raises:
        SettingsError: If a target's site is not predicted, or there is nothing to do.
        DataError: If the encoder's gradient is wrong.
    """
    _check(encoder, objectives, settings, seeds, natural)
    jobs = [_Job(name, seed) for name in objectives for seed in seeds]
    done, total = 0, len(jobs) * settings.n_steps
    found: list[tuple[Tensor, list[int]]] = []
    size = settings.batch_size
    if settings.diversity:
        size = max(1, size // len(seeds)) * len(seeds)

    def tell() -> None:
        if progress is not None:
            progress(done, total)

    starts = _Starts(encoder, objectives, space, settings, tell)
    for batch in (jobs[start : start + size] for start in range(0, len(jobs), size)):
        climb = _Climb(encoder, objectives, space, settings, batch, starts, natural)
        for step in range(settings.n_steps):
            climb.step(step)
            done += len(batch)
            tell()
        found.append(climb.best())
    return _collected(encoder, objectives, jobs, found, settings.batch_size)


_Score: TypeAlias = Callable[[Tensor, Sequence[str]], Tensor]
"""Objectives are declared for counts; those of stimloop score tensors as well."""


class _Job(NamedTuple):
    target: str
    seed: int


class _Starts:
    """Where images begin: of each seed's candidates, the one that scores highest for the target."""

    def __init__(
        self,
        encoder: DifferentiableEncoder,
        objectives: Mapping[str, Objective],
        space: ImageSpace,
        settings: AscentSettings,
        tell: Callable[[], None],
    ) -> None:
        self._encoder, self._space, self._settings = encoder, space, settings
        self._tell = tell
        self._scores = {name: cast(_Score, objective) for name, objective in objectives.items()}
        self._best: dict[int, dict[str, Tensor]] = {}

    def of(self, job: _Job) -> Tensor:
        """`(1, …)` on the CPU."""
        if self._settings.n_candidates == 1:
            return seeded_start(self._space, job.seed)
        if job.seed not in self._best:
            self._best[job.seed] = self._screened(job.seed)
        return self._best[job.seed][job.target]

    @torch.no_grad()
    def _screened(self, seed: int) -> dict[str, Tensor]:
        n, size = self._settings.n_candidates, self._settings.batch_size
        candidates = self._space.initial(n, image_stream(seed, "candidates"))
        constraints = Constraints(self._settings.constraints, self._space.size_px)
        device = _device(self._encoder, self._settings)
        rates = []
        for at in range(0, n, size):
            images = self._space.images(candidates[at : at + size].to(device))
            rates.append(self._encoder.rates(constraints(images)).cpu())
            self._tell()
        names, whole = self._encoder.site_ids, torch.cat(rates)
        best = {name: int(score(whole, names).argmax()) for name, score in self._scores.items()}
        return {name: candidates[row : row + 1].clone() for name, row in best.items()}


class _Climb:
    """One batch on its way up: parameters `(n, …)`, and the best image of each so far."""

    def __init__(
        self,
        encoder: DifferentiableEncoder,
        objectives: Mapping[str, Objective],
        space: ImageSpace,
        settings: AscentSettings,
        jobs: Sequence[_Job],
        first: _Starts,
        natural: NaturalDistance | None,
    ) -> None:
        self._encoder, self._space, self._settings = encoder, space, settings
        self._jobs, self._natural = jobs, natural
        rows_by_target = _rows_by_target(jobs).items()
        self._groups = [(cast(_Score, objectives[name]), rows) for name, rows in rows_by_target]
        self._constraints = Constraints(settings.constraints, space.size_px)
        self._streams = [image_stream(job.seed, "transforms") for job in jobs]
        starts = torch.cat([first.of(job) for job in jobs])
        device = _device(encoder, settings)
        self._leaf = starts.to(device).requires_grad_()
        kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.SGD
        self._optimizer = kind([self._leaf], lr=settings.learning_rate, maximize=True)
        self._restarts = [0] * len(jobs)
        self._fresh = torch.ones(len(jobs), dtype=torch.bool, device=device)
        self._best_levels = self._constraints.levels(space.images(self._leaf))
        self._best_value = torch.full((len(jobs),), -torch.inf, device=device)

    def step(self, number: int) -> None:
        """One step up for every image; those that cannot go on start anew."""
        settings = self._settings
        if number % settings.evaluate_every == 0:
            self._look()
        images = self._constraints(self._space.images(self._leaf))
        moves = draw_transforms(settings.transforms, self._streams)
        seen = transformed(images, moves, settings.transforms)
        if number == 0:
            self._check_gradient(seen.detach())
        value = self._value(images, seen)
        (gradient,) = torch.autograd.grad(value.sum(), self._leaf)
        self._move(gradient, _rate(settings, number))
        self._restart(~self._sound(gradient))

    def best(self) -> tuple[Tensor, list[int]]:
        """The best images `(n, size, size, 3)` uint8, and how often each was restarted."""
        self._look()
        return self._best_levels.cpu(), self._restarts

    def _value(self, images: Tensor, seen: Tensor) -> Tensor:
        """`(n,)`: the objective on what is `seen`, less the penalties on `images`."""
        value, penalties = self._scores(seen), self._settings.penalties
        if penalties.total_variation:
            value = value - penalties.total_variation * total_variation(images)
        if penalties.unnaturalness and self._natural is not None:
            excess = (self._natural(images) - 1).clamp_min(0)
            value = value - penalties.unnaturalness * excess
        if self._settings.diversity:
            alike = [similarity(images[rows]) for _, rows in self._groups]
            value = value - self._settings.diversity * torch.cat(alike)
        return value

    def _scores(self, seen: Tensor) -> Tensor:
        rates = self._encoder.rates(seen).to(seen.device)
        names = self._encoder.site_ids
        return torch.cat([score(rates[rows], names) for score, rows in self._groups])

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
        levels = self._constraints.levels(self._space.images(self._leaf))
        pixels = levels.permute(0, 3, 1, 2).float() / 255
        value = self._value(pixels, pixels)
        better = value > self._best_value
        self._best_levels[better] = levels[better]
        self._best_value[better] = value[better]

    def _sound(self, gradient: Tensor) -> Tensor:
        """`(n,)`: finite, and not stuck on flat ground at its very start."""
        stuck = self._fresh & (gradient.flatten(1).abs().amax(dim=1) == 0)
        return finite(gradient) & finite(self._leaf) & ~stuck

    @torch.no_grad()
    def _move(self, gradient: Tensor, rate: float) -> None:
        gradient = torch.where(rowwise(finite(gradient), gradient), gradient, 0)
        if self._settings.normalise_gradient:
            gradient = gradient / rowwise(deviation(gradient) + 1e-8, gradient)
        self._leaf.grad = gradient
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        self._space.project_(self._leaf)

    @torch.no_grad()
    def _restart(self, lost: Tensor) -> None:
        """Put `lost` rows on a new start, without momentum; beyond `max_restarts` they rest there."""
        self._fresh = lost.clone()
        for row in lost.nonzero().flatten().tolist():
            self._restarts[row] = min(self._restarts[row] + 1, self._settings.max_restarts)
            start = seeded_start(self._space, self._jobs[row].seed, self._restarts[row])
            self._leaf[row] = start[0].to(self._leaf.device)
            for moment in self._optimizer.state[self._leaf].values():
                if isinstance(moment, Tensor) and moment.shape == self._leaf.shape:
                    moment[row] = 0


def _device(encoder: DifferentiableEncoder, settings: AscentSettings) -> torch.device:
    return torch.device(settings.device) if settings.device else encoder.device


def _rate(settings: AscentSettings, step: int) -> float:
    decay = 0.5 * (1 + cos(pi * step / settings.n_steps)) if settings.cosine_decay else 1
    return settings.learning_rate * decay


def _rows_by_target(jobs: Sequence[_Job]) -> dict[str, slice]:
    """Targets are in order, so that each has a run of rows."""
    names = [job.target for job in jobs]
    firsts = {name: names.index(name) for name in dict.fromkeys(names)}
    return {name: slice(first, first + names.count(name)) for name, first in firsts.items()}


def _collected(
    encoder: DifferentiableEncoder,
    objectives: Mapping[str, Objective],
    jobs: Sequence[_Job],
    found: Sequence[tuple[Tensor, list[int]]],
    batch_size: int,
) -> Synthesized:
    images = torch.cat([levels for levels, _ in found]).numpy()
    starts = range(0, len(images), batch_size)
    predicted = np.concatenate([encoder.predict(images[i : i + batch_size]) for i in starts])
    rows = _rows_by_target(jobs)
    scores = [objectives[name](predicted[rows[name]], encoder.site_ids) for name in rows]
    return Synthesized(
        images,
        tuple(job.target for job in jobs),
        np.array([job.seed for job in jobs], np.int64),
        predicted,
        np.concatenate(scores),
        np.array([n for _, restarts in found for n in restarts], np.int64),
    )


def _check(
    encoder: DifferentiableEncoder,
    objectives: Mapping[str, Objective],
    settings: AscentSettings,
    seeds: Sequence[int],
    natural: NaturalDistance | None,
) -> None:
    if not objectives or not seeds or len(set(seeds)) < len(seeds):
        raise SettingsError(
            "there is nothing to synthesise, or something twice",
            expected="at least one target, at least one seed, all seeds different",
            got=f"{len(objectives)} target(s), seeds {list(seeds)}",
        )
    for objective in objectives.values():
        objective.sites(encoder.site_ids)
    if settings.penalties.unnaturalness and natural is None:
        raise SettingsError(
            "penalties.unnaturalness needs natural images",
            remedy="give natural=NaturalDistance(images), or set it to 0",
        )
