"""Through a network's graph with shapes only, to know what each tensor sees of the image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor, fx, nn

POINTWISE_MODULES = (
    nn.BatchNorm2d,
    nn.Dropout,
    nn.Dropout2d,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Identity,
    nn.LeakyReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.Sigmoid,
    nn.SiLU,
)
POINTWISE_FUNCTIONS = frozenset(
    {
        "_transform_input",
        "add",
        "add_",
        "batch_norm",
        "cat",
        "channel_shuffle",
        "chunk",
        "clone",
        "contiguous",
        "dropout",
        "gelu",
        "getitem",
        "hardswish",
        "hardtanh",
        "hardtanh_",
        "iadd",
        "imul",
        "layer_norm",
        "leaky_relu",
        "local_response_norm",
        "mul",
        "permute",
        "relu",
        "relu6",
        "relu_",
        "sigmoid",
        "silu",
        "split",
        "stochastic_depth",
        "sub",
        "truediv",
        "unsqueeze",
    }
)
WINDOW_FUNCTIONS = frozenset({"max_pool2d", "avg_pool2d", "boolean_dispatch"})


class Seen(NamedTuple):
    """Of the image: pixels between neighbouring outputs, and the side of the window of one."""

    stride: float = 1
    field: float = 1


EVERYTHING = Seen(math.inf, math.inf)
"""A tensor that depends on the whole image, or whose place in it is lost."""


class Window(NamedTuple):
    """A window's side in inputs, dilation included, and its step."""

    side: int
    step: int

    def over(self, seen: Seen) -> Seen:
        """What an output of this window sees, if its inputs see `seen`."""
        if seen == EVERYTHING:
            return EVERYTHING
        return Seen(seen.stride * self.step, seen.field + (self.side - 1) * seen.stride)


class ReceptiveFields(fx.Interpreter):
    """Runs a graph and keeps, for each tensor, what it sees; both directions at once.

    Windows that are not square are followed in height and in width; the larger field is told.
    """

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self._seen: dict[fx.Node, tuple[Seen, Seen]] = {}
        self.nodes: list[tuple[fx.Node, Tensor, Seen]] = []

    def run_node(self, n: fx.Node) -> Any:
        """One step of the graph."""
        value = super().run_node(n)
        inputs = [self._seen[each] for each in n.all_input_nodes if each in self._seen]
        if not inputs:
            if n.op == "placeholder":
                self._seen[n] = (Seen(), Seen())
            return value
        down, across = (_widest(each[axis] for each in inputs) for axis in (0, 1))
        windows = self._windows(n, is_map=isinstance(value, Tensor) and value.ndim == 4)
        self._seen[n] = (
            (windows[0].over(down), windows[1].over(across))
            if windows
            else ((EVERYTHING, EVERYTHING))
        )
        if isinstance(value, Tensor):
            self.nodes.append((n, value, _widest(self._seen[n])))
        return value

    def _windows(self, node: fx.Node, is_map: bool) -> tuple[Window, Window] | None:
        """In height and in width; None for what mixes places without a window."""
        if node.op == "call_module":
            return _of_module(self.fetch_attr(str(node.target)), is_map)
        name = node.target if isinstance(node.target, str) else node.target.__name__
        if name in POINTWISE_FUNCTIONS:
            return Window(1, 1), Window(1, 1)
        if name in WINDOW_FUNCTIONS:
            return _of_pool_call(node)
        return None


def _of_module(module: Any, is_map: bool) -> tuple[Window, Window] | None:
    if isinstance(module, nn.Conv2d):
        return _windows(module.kernel_size, module.stride, module.dilation)
    if isinstance(module, nn.MaxPool2d):
        return _windows(module.kernel_size, module.stride, module.dilation)
    if isinstance(module, nn.AvgPool2d):
        return _windows(module.kernel_size, module.stride, 1)
    mixes_channels = is_map and isinstance(module, nn.Linear | nn.LayerNorm)
    is_pointwise = (
        mixes_channels
        or isinstance(module, POINTWISE_MODULES)
        or type(module).__name__
        in {
            "ComplexCells",
            "FrozenBatchNorm2d",
            "LayerNorm2d",
            "StochasticDepth",
        }
    )
    return (Window(1, 1), Window(1, 1)) if is_pointwise else None


def _of_pool_call(node: fx.Node) -> tuple[Window, Window]:
    """`max_pool2d(x, kernel_size, stride, …)` as a function."""
    arguments = dict(zip(("input", "kernel_size", "stride"), node.args, strict=False))
    arguments |= node.kwargs
    kernel = arguments["kernel_size"]
    return _windows(kernel, arguments.get("stride") or kernel, node.kwargs.get("dilation", 1))


def _windows(kernel: Any, stride: Any, dilation: Any) -> tuple[Window, Window]:
    pairs = [
        each if isinstance(each, tuple | list) else (each, each)
        for each in (kernel, stride, dilation)
    ]
    down, across = (
        Window((int(k) - 1) * int(d) + 1, int(s)) for k, s, d in zip(*pairs, strict=True)
    )
    return down, across


def _widest(seen: Iterable[Seen]) -> Seen:
    strides, fields = zip(*seen, strict=True)
    return Seen(max(strides), max(fields))
