"""A decoder from a network's features back to images, and the whitened basis that its codes live in.

After Dosovitskiy & Brox (2016, "Generating images with perceptual similarity metrics based on deep
networks"): a convolutional network learns to invert the features of a pretrained one. Here the
features are those of EfficientNet-lite0 at stride 16, channels standardised; a code holds their first
principal components over photographs, each divided by its standard deviation. So the codes of
photographs have covariance 1, any code of N(0, 1) has the spatial correlations of nature, and fewer
numbers mean coarser layouts, whose detail the decoder makes up.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

BACKBONE = "efficientnet_lite0"
LAYER = "blocks.3"
FEATURE_SHAPE = (80, 8, 8)
"""Channels, rows, columns of the features at `IMAGE_SIZE_PX`."""
IMAGE_SIZE_PX = 128
LEAK = 0.2


class WhitenedBasis(nn.Module):
    """Features to codes and back: `z = Vᵀ (f − μ) / (σ_f σ_z)`.

    Args:
        code_dim: Components kept, at most 5120.
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor
    deviations: Tensor

    def __init__(self, code_dim: int) -> None:
        super().__init__()
        channels, rows, columns = FEATURE_SHAPE
        n_features = channels * rows * columns
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("directions", torch.zeros(code_dim, n_features))
        self.register_buffer("deviations", torch.ones(code_dim))

    @property
    def code_dim(self) -> int:
        """Numbers in a code."""
        return len(self.deviations)

    def codes(self, features: Tensor) -> Tensor:
        """`(n, 80, 8, 8)` as the backbone gives them → `(n, code_dim)`, unit variance each."""
        standard = (features / self.scale[:, None, None]).flatten(1) - self.mean
        return standard @ self.directions.T / self.deviations

    def features(self, codes: Tensor) -> Tensor:
        """`(n, code_dim)` → standardised features `(n, 80, 8, 8)`, their mean taken off."""
        flat = (codes * self.deviations) @ self.directions
        return flat.reshape(-1, *FEATURE_SHAPE)


class ResidualBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut, `channels` in and out."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        inner = self.first(functional.leaky_relu(x, LEAK))
        added: Tensor = self.second(functional.leaky_relu(inner, LEAK))
        return x + added


class Decoder(nn.Module):
    """Standardised features `(n, 80, 8, 8)` → RGB in 0..1 `(n, 3, 128, 128)`.

    Args:
        widths: Channels at 8, 16, 32 and 64 px.
    """

    def __init__(self, widths: tuple[int, ...] = (256, 128, 64, 32)) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.Conv2d(FEATURE_SHAPE[0], widths[0], 1)]
        steps.append(ResidualBlock(widths[0]))
        for coarse, fine in pairwise(widths):
            steps += [
                ResidualBlock(coarse),
                nn.Conv2d(coarse, fine, 1),
                nn.Upsample(scale_factor=2),
            ]
        steps += [ResidualBlock(widths[-1]), nn.LeakyReLU(LEAK)]
        self.steps = nn.Sequential(*steps)
        self.last = nn.Conv2d(widths[-1], 12, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """The last doubling puts each position's twelve numbers side by side, as 2 × 2 pixels."""
        raw: Tensor = self.last(self.steps(features))
        return torch.sigmoid(functional.pixel_shuffle(raw, 2))

    def join_edges(self) -> None:
        """Let what leaves at one edge come in at the other, so that images can be laid side by side."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d) and part.kernel_size == (3, 3):
                part.padding = (0, 0)
                part.register_forward_pre_hook(_wrap_input)


def wrapped(x: Tensor) -> Tensor:
    """`(n, c, h, w)` → `(n, c, h + 2, w + 2)`: a torus, cut open one position later on every side.

    What torch's circular padding gives, but it keeps the memory layout, which halves the time.
    """
    x = torch.cat([x[:, :, -1:], x, x[:, :, :1]], dim=2)
    return torch.cat([x[:, :, :, -1:], x, x[:, :, :, :1]], dim=3)


def _wrap_input(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (wrapped(inputs[0]),)
