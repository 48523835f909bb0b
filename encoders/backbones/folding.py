"""A frozen network made quicker: the same function of its input, but for the last bits.

A convolution and the frozen batch norm after it are one convolution: `a · (W ∗ x + w) + b` is
`(a W) ∗ x + (a w + b)`. They are folded where the network's graph shows that nothing else sees
what lies between them; where a graph cannot be had, or shows something else, they stay as they are.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import torch
from torch import fx, nn

from encoders.backbones.frozen import FrozenBatchNorm, freeze_batch_norms
from encoders.backbones.lite_architecture import SameConv
from encoders.backbones.truncated import Truncated

CONVOLUTIONS = (nn.Conv2d, SameConv)
"""Exactly these: another class may use its weights in another way."""


def quicken(network: nn.Module) -> None:
    """Freeze, fold and lay out `network`, in place; it is in evaluation mode, its weights frozen.

    On a CPU, weights are laid out channels last, and features follow them: that spares the
    convolutions their own reordering.
    """
    freeze_batch_norms(network)
    fold_batch_norms(network)
    for conv in (part for part in network.modules() if isinstance(part, nn.Conv2d)):
        if conv.weight.device.type == "cpu":
            conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)


def fold_batch_norms(network: nn.Module) -> int:
    """Fold each `FrozenBatchNorm` into its convolution where that is safe, in place.

    Returns:
        How many were folded.
    """
    if not any(isinstance(part, FrozenBatchNorm) for part in network.modules()):
        return 0
    graph = _graph_of(network)
    if graph is None:
        return 0
    pairs = list(graph.pairs())
    for conv, norm in pairs:
        _fold(graph.part(conv), graph.part(norm))
        graph.replace(norm, nn.Identity())
    return len(pairs) + sum(fold_batch_norms(part) for part in graph.closed_parts())


class _Graph(NamedTuple):
    """What calls what within `root`; `uses` counts the nodes that name a module or its weights."""

    root: nn.Module
    nodes: list[fx.Node]
    uses: Counter[str]

    def part(self, node: fx.Node) -> nn.Module:
        """The module that `node` calls."""
        return self.root.get_submodule(str(node.target))

    def pairs(self) -> list[tuple[fx.Node, fx.Node]]:
        """Convolutions, and the norms that alone see their output; each used once."""
        return [
            (node.all_input_nodes[0], node)
            for node in self.nodes
            if self._is_call_of(node, (FrozenBatchNorm,))
            and self._is_call_of(node.all_input_nodes[0], CONVOLUTIONS)
            and len(node.all_input_nodes[0].users) == 1
        ]

    def replace(self, node: fx.Node, part: nn.Module) -> None:
        """Put `part` where `node`'s module is."""
        parent, _, name = str(node.target).rpartition(".")
        setattr(self.root.get_submodule(parent), name, part)

    def closed_parts(self) -> list[nn.Module]:
        """Modules that the graph calls as a whole: they have graphs of their own."""
        called = {str(node.target) for node in self.nodes if node.op == "call_module"}
        return [
            self.root.get_submodule(name)
            for name in called
            if not any(other.startswith(f"{name}.") for other in self.uses)
        ]

    def _is_call_of(self, node: fx.Node, kinds: tuple[type[nn.Module], ...]) -> bool:
        return (
            node.op == "call_module"
            and self.uses[str(node.target)] == 1
            and type(self.part(node)) in kinds
            and len(node.all_input_nodes) == 1
        )


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """What is looked for is not looked into."""
        return isinstance(m, FrozenBatchNorm | SameConv) or super().is_leaf_module(
            m, module_qualified_name
        )


def _graph_of(network: nn.Module) -> _Graph | None:
    """None where the way through the network depends on what it is shown."""
    if isinstance(network, Truncated):
        root: nn.Module = network.graph
        nodes = list(network.graph.graph.nodes)
    else:
        root = network
        try:
            nodes = list(_Tracer().trace(network).nodes)
        except Exception:  # whatever a lab's own network raises: it is then left as it is
            return None
    uses: Counter[str] = Counter()
    for node in nodes:
        target = str(node.target)
        if node.op == "call_module":
            uses[target] += 1
        elif node.op == "get_attr":
            uses[target.rpartition(".")[0]] += 1
    return _Graph(root, nodes, uses)


@torch.no_grad()
def _fold(conv: nn.Module, norm: nn.Module) -> None:
    """Double precision: what is rounded is the result, not the steps to it."""
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, FrozenBatchNorm):
        raise TypeError(f"{type(conv).__name__} and {type(norm).__name__} cannot be folded")
    gain, offset = norm.gain.double().flatten(), norm.offset.double().flatten()
    weight = conv.weight.double() * gain[:, None, None, None]
    bias = offset if conv.bias is None else conv.bias.double() * gain + offset
    for name, value in (("weight", weight), ("bias", bias)):
        # a parameter of its own: CORnet's steps share their convolutions, not their norms
        setattr(conv, name, nn.Parameter(value.to(conv.weight.dtype), requires_grad=False))
