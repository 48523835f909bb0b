"""Who tells made images from photographs: small heads on pretrained features, and one on pixels.

A discriminator on frozen features learns in a fraction of the steps (Sauer et al. 2021, "Projected
GANs converge faster"); the head on pixels sees what those features are blind to. Hinge loss.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

DEPTHS = {"blocks.0": 16, "blocks.1": 24, "blocks.2": 40, "blocks.3": 80}
"""Layer of the pretrained network → channels; at 128 px they have 64, 32, 16 and 8 rows."""
WIDTH = 64


class Adversary(nn.Module):
    """A map of scores for each depth, high where an image looks like a photograph."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(
            {name.replace(".", "_"): _head(channels) for name, channels in DEPTHS.items()}
        )
        self.pixels = nn.Sequential(
            _conv(3, 16, 4, 2), nn.LeakyReLU(0.2), _conv(16, 32, 4, 2), nn.LeakyReLU(0.2),
            _conv(32, WIDTH, 4, 2), nn.LeakyReLU(0.2), _conv(WIDTH, 1, 3, 1),
        )  # fmt: skip

    def forward(self, pixels: Tensor, features: dict[str, Tensor]) -> list[Tensor]:
        """Images and their features → `(n, 1, h, w)` each."""
        scores = [self.heads[name.replace(".", "_")](each) for name, each in features.items()]
        return [*scores, self.pixels(2 * pixels - 1)]


def discrimination_loss(real: Iterable[Tensor], made: Iterable[Tensor]) -> Tensor:
    """What the adversary minimises: `⟨max(0, 1 − real)⟩ + ⟨max(0, 1 + made)⟩`, mean over heads."""
    losses = [
        functional.relu(1 - r.float()).mean() + functional.relu(1 + m.float()).mean()
        for r, m in zip(real, made, strict=True)
    ]
    return sum(losses[1:], losses[0]) / len(losses)


def persuasion_loss(made: Iterable[Tensor]) -> Tensor:
    """What the decoder minimises: minus the mean score."""
    losses = [-m.float().mean() for m in made]
    return sum(losses[1:], losses[0]) / len(losses)


def _head(channels: int) -> nn.Module:
    return nn.Sequential(
        _conv(channels, WIDTH, 4, 2), nn.LeakyReLU(0.2), _conv(WIDTH, WIDTH, 3, 1),
        nn.LeakyReLU(0.2), _conv(WIDTH, 1, 3, 1),
    )  # fmt: skip


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2))
