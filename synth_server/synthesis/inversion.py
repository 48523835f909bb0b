"""Inversion by gradient: codes whose images resemble the given ones, for any differentiable generator.

An image is a code's guess; what it misses is measured at several resolutions, since a shape that is
out of place by a few pixels has no gradient at the finest (a pyramid of averages; Burt & Adelson
1983). Codes are kept as long as the prior's: a generator draws its best there (Nguyen et al. 2016;
Xiao & Kreiman 2020 start evolutions from codes found like this).
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi
from typing import TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from protocols.digests import array_digest
from protocols.errors import DataError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Codes, Images, check_images
from synth_server.synthesis.image_space import DifferentiableGenerator

Progress: TypeAlias = Callable[[int, int, str], None]
"""Told (steps done, steps in all, what is done); may raise to break off."""
N_PRIOR = 64
"""Codes that the prior's length is estimated from."""
BETAS = (0.9, 0.99)
EPSILON = 1e-8


class InversionSettings(Frozen):
    """How codes descend."""

    n_steps: int = Field(default=300, ge=1, le=100_000)
    learning_rate: float = Field(default=0.2, gt=0, description="of Adam; the prior's RMS is 1")
    n_levels: int = Field(
        default=4, ge=1, le=10, description="resolutions, each half the one before"
    )
    norm_weight: float = Field(default=0.05, ge=0, description="of (RMS ÷ the prior's RMS − 1)²")
    batch_size: int = Field(default=8, ge=1, le=1024, description="images at once")
    seed: int = Field(default=0, ge=0, description="of the codes that the descent starts from")


def invert(
    generator: DifferentiableGenerator,
    images: Images,
    settings: InversionSettings | None = None,
    *,
    start: Codes | None = None,
    progress: Progress | None = None,
) -> Codes:
    """Codes whose images resemble `images`.

    Args:
        generator: Draws images; its weights are not changed.
        images: `(n, size, size, 3) uint8`, of the generator's size.
        settings: How codes descend.
        start: `(n, code_dim)`: codes to improve. If not given, each image starts from one drawn
            from the prior by a stream of its own: an image's code does not depend on the others.
        progress: Told after every step.

    Returns:
        `(n, code_dim) float32`; of every image's codes along the descent, the best.

    Raises:
        DataError: If images or codes have the wrong shape.
    """
    settings = settings or InversionSettings()
    _check(generator, images, start)
    rms = _prior_rms(generator, settings.seed)
    starts = (
        _starts(generator, images, settings.seed) if start is None else np.array(start, np.float32)
    )
    found = np.empty((len(images), generator.code_dim), np.float32)
    n_batches = -(-len(images) // settings.batch_size)
    for batch in range(n_batches):
        some = slice(batch * settings.batch_size, (batch + 1) * settings.batch_size)
        done = batch * settings.n_steps

        def tell(step: int, done: int = done) -> None:
            if progress is not None:
                progress(done + step, n_batches * settings.n_steps, "")

        found[some] = _descend(generator, images[some], starts[some], rms, settings, tell)
    return found


def _descend(
    generator: DifferentiableGenerator,
    images: Images,
    starts: Codes,
    rms: float,
    settings: InversionSettings,
    tell: Callable[[int], None],
) -> Codes:
    """The best codes `(n, code_dim)` along the way from `starts`; rows share nothing but the clock."""
    device = torch.device(getattr(generator, "device", "cpu"))
    wanted = _pyramid(_pixels(images).to(device), settings.n_levels)
    codes = torch.from_numpy(starts).to(device).requires_grad_()
    adam = torch.optim.Adam([codes], lr=1.0, betas=BETAS, eps=EPSILON)
    best, least = codes.detach().clone(), torch.full((len(starts),), torch.inf, device=device)
    for step in range(settings.n_steps + 1):
        losses = _losses(generator, codes, wanted, rms, settings)
        better = losses.detach() < least
        least = torch.where(better, losses.detach(), least)
        best = torch.where(better[:, None], codes.detach(), best)
        if step == settings.n_steps:
            break
        adam.param_groups[0]["lr"] = rms * settings.learning_rate * _pace(step / settings.n_steps)
        codes.grad = torch.autograd.grad(losses.sum(), codes)[0]
        adam.step()
        tell(step + 1)
    return np.asarray(best.cpu().numpy(), np.float32)


def _losses(
    generator: DifferentiableGenerator,
    codes: Tensor,
    wanted: list[Tensor],
    rms: float,
    settings: InversionSettings,
) -> Tensor:
    """`(n,)`: mean squared error, averaged over resolutions, and the penalty for a code's length."""
    drawn = _pyramid(generator.decode(codes), len(wanted))
    errors = [(a - b).square().mean((1, 2, 3)) for a, b in zip(drawn, wanted, strict=True)]
    length = (codes.square().mean(1) + EPSILON).sqrt() / rms
    return torch.stack(errors).mean(0) + settings.norm_weight * (length - 1).square()


def _pyramid(values: Tensor, n_levels: int) -> list[Tensor]:
    """`(n, 3, h, w)`, then averages over 2 × 2 of the one before, as long as there are any."""
    levels = [values]
    while len(levels) < n_levels and min(levels[-1].shape[2:]) >= 2:
        levels.append(nn.functional.avg_pool2d(levels[-1], 2))
    return levels


def _pace(part: float) -> float:
    """The learning rate falls along half a cosine (Loshchilov & Hutter 2017), and ends at a 50th."""
    return 0.02 + 0.98 * (1 + cos(pi * part)) / 2


def _starts(generator: DifferentiableGenerator, images: Images, seed: int) -> Codes:
    """`(n, code_dim)` from the prior; the stream is named by the image."""
    drawn = [
        generator.sample_codes(1, random_stream(seed, "inversion", array_digest(image)))
        for image in images
    ]
    return np.concatenate(drawn).astype(np.float32, copy=False)


def _prior_rms(generator: DifferentiableGenerator, seed: int) -> float:
    """Of the numbers in a code from the prior."""
    codes = generator.sample_codes(N_PRIOR, random_stream(seed, "inversion", "prior"))
    return float(np.sqrt(np.mean(np.square(codes, dtype=np.float64)))) or 1.0


def _pixels(images: Images) -> Tensor:
    """`(n, h, w, 3) uint8` → `(n, 3, h, w)` in 0..1."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255


def _check(generator: DifferentiableGenerator, images: Images, start: Codes | None) -> None:
    check_images(images, where="images to invert")
    size = generator.image_size_px
    if images.shape[1:3] != (size, size):
        raise DataError(
            "images to invert have another size than the generator's",
            expected=f"(n, {size}, {size}, 3)",
            got=images.shape,
            remedy="load them at the generator's size",
        )
    if start is not None and start.shape != (len(images), generator.code_dim):
        raise DataError(
            "one code an image is needed to start from",
            expected=(len(images), generator.code_dim),
            got=start.shape,
        )
