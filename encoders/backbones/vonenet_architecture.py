"""VOneNet: a fixed V1 in front of a network (Dapello et al. 2020, NeurIPS).

V1's noise is left out: features must not change from look to look.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones.cornet_architecture import CLASSES, above_v1, initialise
from encoders.backbones.gabor_bank import drawn_bank
from protocols.seeds import random_stream

SIMPLE_CELLS = COMPLEX_CELLS = 256
KERNEL_PX, STRIDE_PX = 25, 4
PX_PER_DEG = 224 / 8
"""The networks were trained on images of 224 px, taken as 8 degrees."""
GAIN = 25
"""Of the filter responses: k_exc."""
BOTTLENECK_CHANNELS = 64


class GaborConv(nn.Conv2d):
    """A bank of fixed filters, of which the first `n_left_out` are not computed."""

    def __init__(self, n_left_out: int = 0) -> None:
        channels = SIMPLE_CELLS + COMPLEX_CELLS
        super().__init__(3, channels, KERNEL_PX, STRIDE_PX, padding=KERNEL_PX // 2, bias=False)
        self.n_left_out = n_left_out
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 3, h, w)` → `(n, channels − n_left_out, ⌈h / 4⌉, ⌈w / 4⌉)`."""
        weight = self.weight[self.n_left_out :]
        return functional.conv2d(x, weight, None, self.stride, self.padding)


class SimpleCells(nn.Module):
    """Rectified: `GAIN · max(q0, 0)`."""

    def forward(self, even: Tensor) -> Tensor:
        """The first channels of `(n, c, h, w)`."""
        return GAIN * functional.relu(even[:, :SIMPLE_CELLS])


class ComplexCells(nn.Module):
    """Phase-invariant: `GAIN · √((q0² + q1²) / 2)`.

    Where both are 0, as on an even gray, the gradient is 0, and not the NaN of a plain root.
    """

    def forward(self, even: Tensor, odd: Tensor) -> Tensor:
        """`(n, simple + complex, h, w)` and `(n, complex, h, w)` → the latter's shape."""
        pair = torch.stack((even[:, SIMPLE_CELLS:], odd))
        energy: Tensor = torch.linalg.vector_norm(pair, dim=0)
        return GAIN / math.sqrt(2) * energy


class VOneBlock(nn.Module):
    """V1: 256 simple, then 256 complex cells at every fourth pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.simple_conv_q0 = GaborConv()
        self.simple_conv_q1 = GaborConv(n_left_out=SIMPLE_CELLS)
        self.simple, self.complex = SimpleCells(), ComplexCells()

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 3, h, w)` → `(n, 512, ⌈h / 4⌉, ⌈w / 4⌉)`, not negative."""
        even, odd = self.simple_conv_q0(x), self.simple_conv_q1(x)
        return torch.cat((self.simple(even), self.complex(even, odd)), 1)

    @torch.no_grad()
    def draw_filters(self, seed: int) -> None:
        """Fill the filters from the published distributions."""
        banks = drawn_bank(
            SIMPLE_CELLS + COMPLEX_CELLS,
            random_stream(seed, "gabor bank"),
            side_px=KERNEL_PX,
            px_per_deg=PX_PER_DEG,
        )
        for conv, bank in zip((self.simple_conv_q0, self.simple_conv_q1), banks, strict=True):
            conv.weight.copy_(torch.from_numpy(bank))


def vonenet(back_end: nn.Module) -> nn.Sequential:
    """`vone_block`, `bottleneck` and `model`; the filters are not drawn yet."""
    bottleneck = nn.Conv2d(SIMPLE_CELLS + COMPLEX_CELLS, BOTTLENECK_CHANNELS, 1, bias=False)
    initialise(bottleneck)
    return nn.Sequential(OrderedDict(vone_block=VOneBlock(), bottleneck=bottleneck, model=back_end))


def resnet50_back_end() -> nn.Sequential:
    """ResNet-50 from `layer1` on (He et al. 2016)."""
    whole = torchvision.models.resnet50(weights=None)
    stages = ("layer1", "layer2", "layer3", "layer4", "avgpool")
    kept = OrderedDict((name, getattr(whole, name)) for name in stages)
    return nn.Sequential(OrderedDict(**kept, flatten=nn.Flatten(), fc=whole.fc))


def alexnet_back_end() -> nn.Sequential:
    """AlexNet from its second convolution on (Krizhevsky 2014), strided where V1 was not."""
    features = nn.Sequential(
        nn.Conv2d(BOTTLENECK_CHANNELS, 192, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, padding=1),
    )
    classifier = nn.Sequential(
        nn.Dropout(),
        nn.Linear(256 * 7 * 7, 4096),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, CLASSES),
    )
    return nn.Sequential(
        OrderedDict(
            features=features,
            avgpool=nn.AdaptiveAvgPool2d(7),
            flatten=nn.Flatten(),
            classifier=classifier,
        )
    )


def cornet_s_back_end() -> nn.Sequential:
    """CORnet-S from V2 on."""
    network = nn.Sequential(above_v1())
    initialise(network)
    return network
