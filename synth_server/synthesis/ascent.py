"""Gradient ascent: images that an encoder predicts to drive its sites as an objective asks.

All targets × seeds climb together, a batch at a time. An image depends on its objective, its seed and
the settings, on nothing else in its batch (unless `diversity` is asked for): all that is random
about it comes from its own streams, and nothing is averaged over the batch. Batches of another size
may still round otherwise, which a deep network's ascent can amplify.

What is returned is the best image met on the way, judged as it will be shown: in gray levels, with
all constraints, and not moved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.backbones import pixels_of
from encoders.encoder import DifferentiableEncoder
from encoders.parallel import in_parallel
from protocols.errors import SettingsError
from protocols.interfaces import Objective
from protocols.vocabulary import Images, Rates, check_images
from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.climb import Climb, Goal, Job, rows_by_target
from synth_server.synthesis.constraints import NaturalDistance
from synth_server.synthesis.image_space import ImageSpace, free_fourier_space
from synth_server.synthesis.refinement import refined
from synth_server.synthesis.starts import Starts

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (image steps done, image steps in all); may raise, to stop."""


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
    workers: int = 1,
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
        workers: Batches that climb at a time, each on one torch thread; the images do not depend on
            it.

    Raises:
        SettingsError: If a target's site is not predicted, or there is nothing to do.
        DataError: If the encoder's gradient is wrong.
    """
    _check(encoder, objectives, settings, seeds, natural)
    jobs = [Job(name, seed) for name in objectives for seed in seeds]
    goal = Goal(encoder, objectives, natural)
    tell = _Told(len(jobs) * (settings.n_steps + settings.refinement.n_steps), progress)
    starts = Starts(goal, space, settings, tell, workers)

    def climbed(batch: list[Job]) -> _Found:
        return _climbed(Climb(goal, space, settings, batch, starts.of(batch)), tell)

    starts.screen(seeds)
    batches = [partial(climbed, batch) for batch in _batches(jobs, settings, len(seeds))]
    return _collected(goal, jobs, in_parallel(batches, workers), settings.batch_size)


def improve(
    encoder: DifferentiableEncoder,
    objectives: Mapping[str, Objective],
    settings: AscentSettings,
    starts: Mapping[str, Images],
    seeds: Sequence[int],
    *,
    natural: NaturalDistance | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> Synthesized:
    """Images that climb from given ones, in Fourier space, `settings.n_steps` steps.

    Args:
        encoder: As in `synthesize`.
        objectives: As in `synthesize`.
        settings: How they climb; `n_candidates` and `refinement` are of no use here.
        starts: Target → `(len(seeds), size, size, 3) uint8`, where its images begin.
        seeds: Of the random movements; the n-th is that of every target's n-th image.
        natural: As in `synthesize`.
        progress: Told of every step.
        workers: As in `synthesize`.

    Raises:
        SettingsError: As `synthesize`; or if there are other targets in `starts`, or not one start a
            seed.
        DataError: If the encoder's gradient is wrong.
    """
    _check(encoder, objectives, settings, seeds, natural)
    _check_starts(objectives, starts, len(seeds))
    jobs = [Job(name, seed) for name in objectives for seed in seeds]
    images = np.concatenate([starts[name] for name in objectives])
    goal, space = Goal(encoder, objectives, natural), free_fourier_space(images.shape[1])
    parameters = space.parameters(pixels_of(images, torch.device("cpu")))
    tell = _Told(len(jobs) * settings.n_steps, progress)

    def climbed(rows: slice) -> _Found:
        climb = Climb(goal, space, settings, jobs[rows], parameters[rows])
        climb.climb(tell)
        return _Found(climb.best().cpu(), climb.restarts)

    size = settings.batch_size
    batches = [slice(at, at + size) for at in range(0, len(jobs), size)]
    found = in_parallel([partial(climbed, rows) for rows in batches], workers)
    return _collected(goal, jobs, found, size)


def improve_codes(
    encoder: DifferentiableEncoder,
    objectives: Mapping[str, Objective],
    space: ImageSpace,
    settings: AscentSettings,
    starts: Tensor,
    seeds: Sequence[int],
    *,
    progress: Progress | None = None,
    workers: int = 1,
) -> Tensor:
    """Parameters of `space` that climb from given ones, `settings.n_steps` steps.

    Args:
        encoder: As in `synthesize`.
        objectives: One alone.
        space: What images are written in.
        settings: How they climb; `n_candidates` and `refinement` are of no use here.
        starts: `(len(seeds), …)`.
        seeds: Of the random movements.
        progress: Told of every step.
        workers: As in `synthesize`.

    Returns:
        `(len(seeds), …)` on the CPU: of each, the best on its way.

    Raises:
        SettingsError, DataError: As `synthesize`.
    """
    _check(encoder, objectives, settings, seeds, None)
    (name,) = objectives
    goal, size = Goal(encoder, objectives), settings.batch_size
    tell = _Told(len(seeds) * settings.n_steps, progress)

    def climbed(at: int) -> Tensor:
        jobs = [Job(name, seed) for seed in seeds[at : at + size]]
        climb = Climb(goal, space, settings, jobs, starts[at : at + size])
        climb.climb(tell)
        return climb.best_parameters().cpu()

    batches = [partial(climbed, at) for at in range(0, len(seeds), size)]
    return torch.cat(in_parallel(batches, workers))


class _Told:
    """Adds up what all batches have climbed, and says so."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = threading.Lock()

    def __call__(self, n_climbed: int = 0) -> None:
        with self._lock:
            self._done += n_climbed
            if self._progress is not None:
                self._progress(self._done, self._total)


class _Found(NamedTuple):
    """A batch's images `(n, size, size, 3)` uint8 on the CPU, and how often each was restarted."""

    levels: Tensor
    restarts: list[int]


def _climbed(first: Climb, tell: Callable[[int], None]) -> _Found:
    """The climb, and the second one if it is asked for."""
    first.climb(tell)
    if not first.settings.refinement.n_steps:
        return _Found(first.best().cpu(), first.restarts)
    second = refined(first)
    second.climb(tell)
    both = [sum(each) for each in zip(first.restarts, second.restarts, strict=True)]
    return _Found(second.best().cpu(), both)


def _batches(jobs: list[Job], settings: AscentSettings, n_seeds: int) -> Iterator[list[Job]]:
    """A target's images stay together if they are to be diverse."""
    size = settings.batch_size
    if settings.diversity:
        size = max(1, size // n_seeds) * n_seeds
    yield from (jobs[start : start + size] for start in range(0, len(jobs), size))


def _collected(
    goal: Goal, jobs: Sequence[Job], found: Sequence[_Found], batch_size: int
) -> Synthesized:
    encoder = goal.encoder
    images = torch.cat([batch.levels for batch in found]).numpy()
    starts = range(0, len(images), batch_size)
    predicted = np.concatenate([encoder.predict(images[i : i + batch_size]) for i in starts])
    rows = rows_by_target(jobs)
    scores = [goal.objectives[name](predicted[rows[name]], encoder.site_ids) for name in rows]
    return Synthesized(
        images,
        tuple(job.target for job in jobs),
        np.array([job.seed for job in jobs], np.int64),
        predicted,
        np.concatenate(scores),
        np.array([n for batch in found for n in batch.restarts], np.int64),
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


def _check_starts(
    objectives: Mapping[str, Objective], starts: Mapping[str, Images], n_seeds: int
) -> None:
    for name in objectives:
        given = starts.get(name)
        if given is None or len(given) != n_seeds:
            raise SettingsError(
                "every image needs a start of its own",
                where=f"starts of {name}",
                expected=f"{n_seeds} images",
                got="none" if given is None else f"{len(given)}",
            )
        check_images(given, where=f"starts of {name}")
