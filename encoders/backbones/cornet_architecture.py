"""CORnet-S: four areas, three of them recurrent (Kubilius et al. 2019, NeurIPS).

The recurrence is written out in time. An area's steps are modules `t0`, `t1` …, which share their
convolutions and have batch norms of their own; so each time step is a layer with a name.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

V1_CHANNELS = 64
AREAS = (("V2", 128, 2), ("V4", 256, 4), ("IT", 512, 2))
"""Name, channels, time steps."""
EXPANSION, CLASSES = 4, 1000


class Step(nn.Module):
    """One time step: widen 1 × 1, filter 3 × 3, narrow 1 × 1; added to what the area was before.

    Args:
        channels: Of the area.
        stride: Of the filter; 2 where the area is entered.
        first: The step whose very convolutions this one uses, with its own stride; None: its own.
    """

    def __init__(self, channels: int, stride: int = 1, first: Step | None = None) -> None:
        super().__init__()
        width = EXPANSION * channels
        device = None if first is None else torch.device("meta")
        self.conv1 = conv(channels, width, 1, device=device)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = conv(width, width, 3, stride, device=device)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv3 = conv(width, channels, 1, device=device)
        self.norm3 = nn.BatchNorm2d(channels)
        if first is not None:
            for name in ("conv1", "conv2", "conv3"):
                getattr(self, name).weight = getattr(first, name).weight

    def forward(self, x: Tensor) -> Tensor:
        """`(n, channels, h, w)` → `(n, channels, ⌈h / stride⌉, ⌈w / stride⌉)`."""
        y = functional.relu(self.norm1(self.conv1(x)))
        y = functional.relu(self.norm2(self.conv2(y)))
        return functional.relu(self.norm3(self.conv3(y)) + self.bypass(x))

    def bypass(self, x: Tensor) -> Tensor:
        """What the step's change is added to."""
        return x


class FirstStep(Step):
    """The step in which an area is entered: it halves the map, and its bypass does too."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, stride=2)
        self.skip = conv(channels, channels, 1, stride=2)
        self.norm_skip = nn.BatchNorm2d(channels)

    def bypass(self, x: Tensor) -> Tensor:
        """The input, on the coarser map."""
        halved: Tensor = self.norm_skip(self.skip(x))
        return halved


def conv(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, device: torch.device | None = None
) -> nn.Conv2d:
    """A convolution without bias that keeps the size but for its stride."""
    return nn.Conv2d(
        inputs, outputs, kernel, stride, padding=kernel // 2, bias=False, device=device
    )


def recurrent_area(inputs: int, channels: int, n_steps: int) -> nn.Sequential:
    """`conv_input`, `t0`, `t1` …: `(n, inputs, h, w)` → `(n, channels, ⌈h / 2⌉, ⌈w / 2⌉)`."""
    first = FirstStep(channels)
    steps = [first, *(Step(channels, first=first) for _ in range(n_steps - 1))]
    named = {f"t{t}": step for t, step in enumerate(steps)}
    return nn.Sequential(OrderedDict(conv_input=conv(inputs, channels, 1), **named))


def above_v1() -> OrderedDict[str, nn.Module]:
    """V2, V4, IT and the decoder; their input has 64 channels."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    inputs = V1_CHANNELS
    for name, channels, n_steps in AREAS:
        parts[name] = recurrent_area(inputs, channels, n_steps)
        inputs = channels
    parts["decoder"] = nn.Sequential(
        OrderedDict(
            avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=nn.Linear(inputs, CLASSES)
        )
    )
    return parts


def cornet_s_network() -> nn.Sequential:
    """The whole network, `(n, 3, h, w)` → `(n, 1000)`, with initial weights as for its training."""
    v1 = OrderedDict(
        conv1=conv(3, V1_CHANNELS, 7, stride=2),
        norm1=nn.BatchNorm2d(V1_CHANNELS),
        relu1=nn.ReLU(),
        pool=nn.MaxPool2d(3, stride=2, padding=1),
        conv2=conv(V1_CHANNELS, V1_CHANNELS, 3),
        norm2=nn.BatchNorm2d(V1_CHANNELS),
        relu2=nn.ReLU(),
    )
    network = nn.Sequential(OrderedDict(V1=nn.Sequential(v1), **above_v1()))
    initialise(network)
    return network


def initialise(network: nn.Module) -> None:
    """Normal weights of variance 2 / fan-out in all convolutions (He et al. 2015, eq. 14)."""
    for weight in network.parameters():
        if weight.ndim == 4:
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def public_name(name: str) -> str:
    """A weight's name in the published files: `V4.t2.norm1.bias` is their `V4.norm1_2.bias`.

    The convolutions that the steps share have one name there: `V4.t2.conv1.weight` is `V4.conv1.weight`.
    """
    own_norms = re.sub(r"\.t(\d+)\.(norm[123])\.", r".\2_\1.", name)
    return re.sub(r"\.t\d+\.", ".", own_norms)
