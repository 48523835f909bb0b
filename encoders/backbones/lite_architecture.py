"""The architecture of EfficientNet-lite (Tan & Le 2019, table 1; lite: no squeeze-excite, ReLU6).

In a scaled variant the stem, the head and the depth of the first and the last stage stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from encoders.backbones.padding import padded


class Stage(NamedTuple):
    """A row of Tan & Le's table 1: inverted-bottleneck blocks of one width."""

    expansion: int
    channels: int
    depth: int
    kernel: int
    stride: int


STAGES = (
    Stage(1, 16, 1, 3, 1),
    Stage(6, 24, 2, 3, 2),
    Stage(6, 40, 2, 5, 2),
    Stage(6, 80, 3, 3, 2),
    Stage(6, 112, 3, 5, 1),
    Stage(6, 192, 4, 5, 2),
    Stage(6, 320, 1, 3, 1),
)
STEM_CHANNELS, HEAD_CHANNELS, CLASSES = 32, 1280, 1000
BATCH_NORM_EPSILON = 1e-3


class Layer(NamedTuple):
    """What a layer's units see: `stride` and `receptive_field_px` in input pixels."""

    name: str
    channels: int
    stride: int
    receptive_field_px: int


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding: ⌈size / stride⌉ outputs, odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """`(n, c, h, w)` → `(n, c', ⌈h / stride⌉, ⌈w / stride⌉)`."""
        top, bottom = self._padding(x.shape[-2])
        left, right = self._padding(x.shape[-1])
        if top == bottom and left == right:
            return functional.conv2d(
                x, self.weight, self.bias, self.stride, (top, left), (1, 1), self.groups
            )
        return super().forward(padded(x, left, right, top, bottom))

    def _padding(self, size: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1
) -> list[nn.Module]:
    """A convolution without bias and its batch norm."""
    return [
        SameConv(inputs, outputs, kernel, stride, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPSILON),
    ]


class InvertedBottleneck(nn.Module):
    """Expand 1×1, filter each channel, project 1×1; added to its input where the shapes allow.

    MBConv of Sandler et al. 2018 (MobileNetV2), figure 4d. Its output is not rectified.
    """

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        width = inputs * expansion
        expand = [*conv_norm(inputs, width, 1), nn.ReLU6()] if expansion > 1 else []
        self.path = nn.Sequential(
            *expand,
            *conv_norm(width, width, kernel, stride, groups=width),
            nn.ReLU6(),
            *conv_norm(width, outputs, 1),
        )
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """`(n, inputs, h, w)` → `(n, outputs, ⌈h / stride⌉, ⌈w / stride⌉)`."""
        y: Tensor = self.path(x)
        return x + y if self.is_residual else y


class LiteNetwork(nn.Module):
    """A whole EfficientNet-lite: units in order, each known by name.

    Args:
        width: Factor on the channels of each stage, rounded to multiples of 8.
        depth: Factor on the blocks of each stage but the first and the last, rounded up.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        units: dict[str, nn.Module] = {
            "stem": nn.Sequential(*conv_norm(3, STEM_CHANNELS, 3, 2), nn.ReLU6())
        }
        channels = STEM_CHANNELS
        for number, stage in enumerate(STAGES):
            outputs = _round_to_8(stage.channels * width)
            is_scaled = 0 < number < len(STAGES) - 1
            for block in range(math.ceil(stage.depth * depth) if is_scaled else stage.depth):
                stride = stage.stride if block == 0 else 1
                units[f"blocks.{number}.{block}"] = InvertedBottleneck(
                    channels, outputs, stage.expansion, stage.kernel, stride
                )
                channels = outputs
        units["head"] = nn.Sequential(*conv_norm(channels, HEAD_CHANNELS, 1), nn.ReLU6())
        units["classifier"] = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(HEAD_CHANNELS, CLASSES)
        )
        self._names = tuple(units)
        self.units = nn.Sequential(*units.values())

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 3, h, w)` preprocessed → `(n, 1000)` logits."""
        logits: Tensor = self.units(x)
        return logits

    @property
    def unit_names(self) -> tuple[str, ...]:
        """One for each of `units`, in order."""
        return self._names

    def layer_names(self) -> tuple[str, ...]:
        """`stem`, `blocks.0` … `blocks.6`, `head`, `classifier`, and single blocks (`blocks.3.1`)."""
        stages = tuple(f"blocks.{number}" for number in range(len(STAGES)))
        single = tuple(name for name in self._names if name.startswith("blocks."))
        return ("stem", *stages, "head", "classifier", *single)

    def up_to(self, layer: str) -> nn.Sequential:
        """The units up to `layer`, which is one of `layer_names`; the rest is left behind."""
        last = max(i for i, name in enumerate(self._names) if f"{name}.".startswith(f"{layer}."))
        return self.units[: last + 1]

    def catalogue(self) -> tuple[Layer, ...]:
        """Channels, stride and receptive field of every unit before the classifier.

        A convolution of kernel k widens the receptive field by (k - 1) times the stride so far.
        """
        return tuple(self._walk())

    def _walk(self) -> Iterator[Layer]:
        stride, field = 1, 1
        for name, unit in zip(self._names[:-1], self.units, strict=False):
            channels = 0
            for conv in (part for part in unit.modules() if isinstance(part, SameConv)):
                field += (conv.kernel_size[0] - 1) * stride
                stride *= conv.stride[0]
                channels = conv.out_channels
            yield Layer(name, channels, stride, field)


def _round_to_8(channels: float) -> int:
    """The nearest multiple of 8, but never less than 90 % of `channels`."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
