"""The worst small disturbance of an image: projected gradient ascent within a ball (Madry et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Damage = Callable[[Tensor], Tensor]
"""Images `(n, 3, h, w)` → how far off each one's features are, `(n,)`."""


def worst_disturbance(
    damage: Damage,
    images: Tensor,
    radius: float,
    random: torch.Generator,
    *,
    n_steps: int = 2,
    step: float = 0.7,
) -> Tensor:
    """What to add to `images` `(n, 3, h, w)`; at most `radius` long in each, L2 over RGB in 0..1.

    Args:
        damage: What is to grow.
        images: In 0..1.
        radius: Of the ball.
        random: Draws where in the ball to begin.
        n_steps: Of ascent.
        step: Length of each, in radii.
    """
    start = torch.randn(images.shape, generator=random)
    added = start * radius * torch.rand(len(images), 1, 1, 1, generator=random) / _lengths(start)
    for _ in range(n_steps):
        added.requires_grad_(True)
        (slope,) = torch.autograd.grad(damage(images + added).sum(), added)
        with torch.no_grad():
            added = added + step * radius * slope / _lengths(slope)
            added = added * (radius / _lengths(added)).clamp(max=1)
    return added.detach()


def _lengths(images: Tensor) -> Tensor:
    lengths: Tensor = images.flatten(1).norm(dim=1)
    return lengths.clamp_min(1e-12)[:, None, None, None]
