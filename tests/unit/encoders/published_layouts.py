"""Weights files as the authors of CORnet-S and VOneNet publish them: names, shapes and containers.

The names and shapes were read off their repositories (github.com/dicarlolab/CORnet, …/vonenet). Values
are made up; a tensor repeats along its input channels, so that files stay small.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, ...]
AREAS = {"V2": (64, 128, 2), "V4": (128, 256, 4), "IT": (256, 512, 2)}


def norm(name: str, channels: int) -> Iterator[tuple[str, Shape]]:
    for part in ("weight", "bias", "running_mean", "running_var"):
        yield f"{name}.{part}", (channels,)
    yield f"{name}.num_batches_tracked", ()


def above_v1() -> Iterator[tuple[str, Shape]]:
    for area, (inputs, channels, times) in AREAS.items():
        wide = 4 * channels
        yield f"{area}.conv_input.weight", (channels, inputs, 1, 1)
        yield f"{area}.skip.weight", (channels, channels, 1, 1)
        yield from norm(f"{area}.norm_skip", channels)
        yield f"{area}.conv1.weight", (wide, channels, 1, 1)
        yield f"{area}.conv2.weight", (wide, wide, 3, 3)
        yield f"{area}.conv3.weight", (channels, wide, 1, 1)
        for t in range(times):
            yield from norm(f"{area}.norm1_{t}", wide)
            yield from norm(f"{area}.norm2_{t}", wide)
            yield from norm(f"{area}.norm3_{t}", channels)
    yield "decoder.linear.weight", (1000, 512)
    yield "decoder.linear.bias", (1000,)


def cornet_s() -> dict[str, Shape]:
    return {
        "V1.conv1.weight": (64, 3, 7, 7),
        **dict(norm("V1.norm1", 64)),
        "V1.conv2.weight": (64, 64, 3, 3),
        **dict(norm("V1.norm2", 64)),
        **dict(above_v1()),
    }


def resnet50_from_layer1() -> dict[str, Shape]:
    with torch.device("meta"):
        state = torchvision.models.resnet50(weights=None).state_dict()
    stem = ("conv1.", "bn1.")
    return {name: tuple(t.shape) for name, t in state.items() if not name.startswith(stem)}


def alexnet_from_conv2() -> dict[str, Shape]:
    shapes = {
        "features.0": (192, 64, 5, 5),
        "features.3": (384, 192, 3, 3),
        "features.5": (256, 384, 3, 3),
        "features.7": (256, 256, 3, 3),
        "classifier.1": (4096, 256 * 7 * 7),
        "classifier.4": (4096, 4096),
        "classifier.6": (1000, 4096),
    }
    weights = {f"{name}.weight": shape for name, shape in shapes.items()}
    return weights | {f"{name}.bias": shape[:1] for name, shape in shapes.items()}


def vonenet(back_end: dict[str, Shape]) -> dict[str, Shape]:
    return {
        "vone_block.simple_conv_q0.weight": (512, 3, 25, 25),
        "vone_block.simple_conv_q1.weight": (512, 3, 25, 25),
        "bottleneck.weight": (64, 512, 1, 1),
        **{f"model.{name}": shape for name, shape in back_end.items()},
    }


LAYOUTS = {
    "cornet_s": cornet_s(),
    "vonenet:resnet50": vonenet(resnet50_from_layer1()),
    "vonenet:alexnet": vonenet(alexnet_from_conv2()),
    "vonenet:cornet_s": vonenet(dict(above_v1())),
}


def made_up(layout: dict[str, Shape]) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {f"module.{name}": _tensor(name, shape, draw) for name, shape in layout.items()}


def _tensor(name: str, shape: Shape, draw: torch.Generator) -> Tensor:
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if len(shape) == 1:
        positive = name.endswith(("running_var", ".weight"))
        values = torch.randn(shape, generator=draw)
        return 0.5 + values.sigmoid() if positive else 0.3 * values
    per_output = torch.randn((shape[0], 1, *shape[2:]), generator=draw)
    return (per_output / shape[1] ** 0.75).expand(shape)


def write(path: Path, state: dict[str, Tensor], **options: Any) -> None:
    """As their training scripts do: with flags, the epoch and the optimizer's state."""
    flags = {"arch": "whatever", "ngpus": 2, "k_exc": 25.0, "noise_mode": None}
    optimizer = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    torch.save(
        {"flags": flags, "epoch": 43, "state_dict": state, "optimizer": optimizer}, path, **options
    )


class Reference:
    """The networks as formulas of the published names, recurrence as a loop over time."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = {name.removeprefix("module."): tensor for name, tensor in state.items()}

    def cornet_s(self, x: Tensor) -> dict[str, Tensor]:
        x = functional.relu(self.normed(self.conv(x, "V1.conv1", 2, 3), "V1.norm1"))
        x = functional.max_pool2d(x, 3, 2, 1)
        x = functional.relu(self.normed(self.conv(x, "V1.conv2", 1, 1), "V1.norm2"))
        return {"V1": x, **self.areas(x)}

    def areas(self, x: Tensor, prefix: str = "") -> dict[str, Tensor]:
        found = {}
        for area, (_, _, times) in AREAS.items():
            at = prefix + area
            x = self.conv(x, f"{at}.conv_input")
            for t in range(times):
                stride = 2 if t == 0 else 1
                skip = x
                if t == 0:
                    skip = self.normed(self.conv(x, f"{at}.skip", 2), f"{at}.norm_skip")
                x = functional.relu(self.normed(self.conv(x, f"{at}.conv1"), f"{at}.norm1_{t}"))
                y = self.conv(x, f"{at}.conv2", stride, 1)
                x = functional.relu(self.normed(y, f"{at}.norm2_{t}"))
                x = functional.relu(
                    self.normed(self.conv(x, f"{at}.conv3"), f"{at}.norm3_{t}") + skip
                )
                found[f"{at}.t{t}"] = x
            found[at] = x
        decoder = f"{prefix}decoder"
        weight, bias = (self.state[f"{decoder}.linear.{part}"] for part in ("weight", "bias"))
        found[decoder] = functional.linear(x.mean(dim=(2, 3)), weight, bias)
        return found

    def v1(self, x: Tensor) -> Tensor:
        """Dapello et al. 2020: k_exc 25; 256 simple, 256 complex cells."""
        q0, q1 = (self.conv(x, f"vone_block.simple_conv_{q}", 4, 12) for q in ("q0", "q1"))
        energy = torch.sqrt(q0[:, 256:] ** 2 + q1[:, 256:] ** 2) / 2**0.5
        return 25 * torch.cat((functional.relu(q0[:, :256]), energy), 1)

    def bottleneck(self, x: Tensor) -> Tensor:
        return self.conv(self.v1(x), "bottleneck")

    def resnet50(self, x: Tensor) -> dict[str, Tensor]:
        whole = torchvision.models.resnet50(weights=None).eval()
        state = {k.removeprefix("model."): v for k, v in self.state.items()}
        lacking = whole.load_state_dict(state, strict=False).missing_keys
        assert all(name.startswith(("conv1.", "bn1.")) for name in lacking)
        y1 = whole.layer1(self.bottleneck(x))
        y2 = whole.layer2(y1)
        return {"model.layer1": y1, "model.layer1.2": y1, "model.layer2": y2}

    def alexnet(self, x: Tensor) -> dict[str, Tensor]:
        y = functional.relu(self.conv(self.bottleneck(x), "model.features.0", 2, 2))
        y = functional.max_pool2d(y, 3, 2, 1)
        y = self.conv(y, "model.features.3", 1, 1)
        y = functional.relu(y)
        return {"model.features.4": y, "model.features.5": self.conv(y, "model.features.5", 1, 1)}

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        return functional.conv2d(x, weight, bias, stride, padding)

    def normed(self, x: Tensor, name: str) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(self.state[f"{name}.{part}"] for part in parts))
