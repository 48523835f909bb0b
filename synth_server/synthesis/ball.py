"""Small changes: the ball of images around a photograph, climbed as any other image space.

A ball's radius is the RMS difference over pixels and channels. Images are shown in 255 gray levels, and a
change of less than half a level vanishes there: what is returned is scaled so that it has the radius *as
shown*, as nearly as levels allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoders.backbones import pixels_of
from encoders.encoder import DifferentiableEncoder
from protocols.interfaces import Objective
from protocols.vocabulary import Images
from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.climb import Climb, Goal, Job
from synth_server.synthesis.image_space import seeded_start

LEVELS = 255
STEP = 0.4
"""Of a climb, first, in radii."""
MAX_HALVINGS = 60
LARGEST_GAIN = 1e4


class BallSpace:
    """Pixels in 0..1, `(n, 3, size, size)`, no further from `base` than `radius_levels`.

    Args:
        base: `(size, size, 3) uint8`.
        radius_levels: RMS difference, in gray levels of 255.
    """

    def __init__(self, base: NDArray[np.uint8], radius_levels: float) -> None:
        self._base = pixels_of(base[None], torch.device("cpu"))
        self._radius = radius_levels / LEVELS

    @property
    def size_px(self) -> int:
        """Side of the image."""
        return self._base.shape[-1]

    def initial(self, n: int, generator: torch.Generator) -> Tensor:
        """Half-way to the edge, in a random direction: at the base itself a gradient may be flat."""
        way = torch.randn(n, *self._base.shape[1:], generator=generator)
        start = self._base + way * (self._radius / 2)
        self.project_(start)
        return start

    def images(self, parameters: Tensor) -> Tensor:
        """The parameters are the pixels."""
        return parameters

    def project_(self, parameters: Tensor) -> None:
        """Back into the ball, then into 0..1, which leads no image out of the ball again."""
        base = self._base.to(parameters.device)
        way = parameters - base
        rms = way.square().mean((1, 2, 3), keepdim=True).sqrt()
        parameters.copy_(base + way * (self._radius / rms.clamp_min(1e-12)).clamp_max(1))
        parameters.clamp_(0, 1)


class InBall(NamedTuple):
    """What a climb in a ball found."""

    images: Images
    """`(n_targets, h, w, 3)`, in the order of the targets."""


def climbed_in_ball(
    encoder: DifferentiableEncoder,
    objectives: Mapping[str, Objective],
    base: NDArray[np.uint8],
    radius_levels: float,
    n_steps: int,
    *,
    seed: int = 0,
    tell: Callable[[int], None] = lambda _: None,
) -> InBall:
    """For each objective the image of the ball that it scores highest, at the radius as shown.

    Args:
        encoder: Predicts rates.
        objectives: Name of a target → what its image maximises.
        base: `(h, h, 3) uint8`.
        radius_levels: Of the ball, RMS gray levels.
        n_steps: Of the climb.
        seed: Of the direction that it starts in.
        tell: Told of images that made a step.
    """
    space = BallSpace(base, radius_levels)
    settings = AscentSettings(
        n_steps=n_steps,
        optimizer="gradient",
        learning_rate=STEP * radius_levels / LEVELS,
        evaluate_every=n_steps,
    )
    jobs = [Job(name, seed) for name in objectives]
    starts = seeded_start(space, seed).expand(len(jobs), -1, -1, -1).clone()
    climb = Climb(Goal(encoder, objectives), space, settings, jobs, starts)
    climb.climb(tell)
    found = climb.best_unframed().permute(0, 2, 3, 1).cpu().double().numpy() * LEVELS
    return InBall(np.stack([at_radius(base, image, radius_levels) for image in found]))


def random_change(
    base: NDArray[np.uint8], radius_levels: float, random: np.random.Generator
) -> NDArray[np.uint8]:
    """`(h, w, 3) uint8`: the base moved by white noise of that length as shown."""
    return at_radius(base, base + random.standard_normal(base.shape), radius_levels)


def at_radius(
    base: NDArray[np.uint8], image: NDArray[np.float64], radius_levels: float
) -> NDArray[np.uint8]:
    """In the direction from `base` to `image`, in gray levels, what differs by `radius_levels` as shown.

    Where no length does (rounding and the ends of the range), the nearest that is not longer; an image
    that equals its base stays it.
    """
    way = image - base

    def shown(gain: float) -> NDArray[np.uint8]:
        return np.asarray(np.rint(np.clip(base + gain * way, 0, LEVELS)), np.uint8)

    low, high = 0.0, 1.0
    while rms_levels(shown(high), base) < radius_levels and high < LARGEST_GAIN:
        low, high = high, 2 * high
    for _ in range(MAX_HALVINGS):
        middle = (low + high) / 2
        if rms_levels(shown(middle), base) <= radius_levels:
            low = middle
        else:
            high = middle
    return shown(low)


def rms_levels(image: NDArray[np.uint8], base: NDArray[np.uint8]) -> float:
    """RMS difference over pixels and channels, in gray levels."""
    difference = image.astype(np.float64) - base
    return float(np.sqrt(np.mean(difference**2)))


def directions(sites: Sequence[str], make: Callable[[str, str], Objective]) -> dict[str, Objective]:
    """`drive` and `suppress` of every site, by a name for each."""
    return {
        f"{kind} {site}": make(plugin, site)
        for site in sites
        for kind, plugin in (("drive", "site"), ("suppress", "suppress"))
    }
