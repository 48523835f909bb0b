"""What a network's layers are: shape, stride, receptive field, memory, parameters.

Nothing is computed and no weights are needed: the network runs on torch's "meta" device, which
knows shapes only. Receptive fields follow from the graph: a window of k (dilated) pixels widens the
field by (k − 1) times the stride so far; where paths meet, the widest counts (Araujo, Norris & Sim
2019, Distill, "Computing receptive fields of convolutional neural networks").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torchvision
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import NodePathTracer
from torchvision.models.resnet import Bottleneck

from encoders.backbones.lite_architecture import LiteNetwork, SameConv
from encoders.backbones.loading import GROUP, TORCHVISION, known_backbones
from encoders.backbones.torchvision_networks import names as torchvision_names
from encoders.backbones.vonenet_architecture import ComplexCells, GaborConv
from encoders.backbones.walk import ReceptiveFields, Seen
from protocols import plugins
from protocols.errors import PluginError, SettingsError

BYTES = 4
"""Of a float32."""
FEW_ROWS = 8
"""A table with fewer rows is shown one level deeper: `features` says little about VGG."""


class LayerRow(NamedTuple):
    """One layer, for one image.

    Attributes:
        name: As `load_backbone` takes it.
        shape: Of its output, without the batch: `(c, h, w)`, or `(c,)`.
        channels: c.
        stride: Pixels of the input between neighbouring outputs; None where space is gone.
        receptive_field_px: Side of the window that an output sees; None: the whole image, or no window
            that could be followed (attention).
        memory_mb: Of its output in float32, 10⁶ bytes.
        parameters: Weights within it.
        published_field_px: The receptive field in the publication's network, where that differs.
    """

    name: str
    shape: tuple[int, ...]
    channels: int
    stride: int | None
    receptive_field_px: int | None
    memory_mb: float
    parameters: int
    published_field_px: int | None = None


class Catalogue(NamedTuple):
    """A network's layers, in the order of computation, and all its parameters."""

    name: str
    input_px: int
    parameters: int
    layers: tuple[LayerRow, ...]
    note: str = ""

    def layer(self, name: str) -> LayerRow:
        """The row of this name.

        Raises:
            SettingsError: If there is none.
        """
        rows = {row.name: row for row in self.layers}
        if name not in rows:
            raise SettingsError(
                f"the table of {self.name} has no layer {name!r}", expected=", ".join(rows)
            )
        return rows[name]


RESNET_NOTE = (
    "torchvision strides in the 3 × 3 convolution of a bottleneck; the network of He et al. (2016) "
    "strides in the 1 × 1 before it, and sees more: its receptive fields are given as published"
)


def catalogue(name: str, *, input_px: int = 224, depth: int | None = None) -> Catalogue:
    """The layers of backbone `name` for square images of `input_px`.

    Args:
        name: As `load_backbone` takes it.
        input_px: Side of the images.
        depth: Parts of a layer's name that make a row: 1 gives `layer1`, 2 gives `layer1.0`; None
            chooses one that gives a table of some rows.

    Raises:
        SettingsError: If the name is unknown, or the images are too small for the network.
        PluginError: If a lab's own backbone does not tell its architecture.
    """
    network = architecture(name)
    layers = _rows(network, name, input_px, depth)
    parameters = sum(weight.numel() for weight in network.parameters())
    if name in plugins.names(GROUP):
        note = getattr(plugins.load(GROUP, name), "note", "")
        return Catalogue(name, input_px, parameters, layers, note)
    if not _moves_strides(network):
        return Catalogue(name, input_px, parameters, layers)
    published = _rows(network, name, input_px, depth)
    merged = tuple(
        row._replace(
            published_field_px=original.receptive_field_px
            if original.receptive_field_px != row.receptive_field_px
            else None
        )
        for row, original in zip(layers, published, strict=True)
    )
    return Catalogue(name, input_px, parameters, merged, RESNET_NOTE)


def architecture(name: str) -> nn.Module:
    """The whole network `name` without weights, on the meta device.

    Raises:
        SettingsError: If the name is unknown.
        PluginError: If a lab's own backbone has no `architecture()`.
    """
    if name in plugins.names(GROUP):
        factory = plugins.load(GROUP, name)
        if not hasattr(factory, "architecture"):
            raise PluginError(
                f"the backbone {name!r} does not tell its architecture",
                where=GROUP,
                expected="a method architecture() that returns the whole network",
            )
        network: nn.Module = factory.architecture()
        return network.to("meta").eval()
    bare = name.removeprefix(TORCHVISION)
    if bare not in torchvision_names():
        raise SettingsError(
            f"there is no backbone {name!r}", expected=", ".join(known_backbones()), got=name
        )
    options = {"init_weights": False} if bare in {"inception_v3", "googlenet"} else {}
    with torch.device("meta"):
        made: nn.Module = torchvision.models.get_model(bare, weights=None, **options)
    return made.eval()


def _rows(network: nn.Module, name: str, input_px: int, depth: int | None) -> tuple[LayerRow, ...]:
    traced = list(_traced(network, name, input_px))
    if depth is not None:
        return _grouped(network, traced, depth)
    shallow = _grouped(network, traced, 1)
    return shallow if len(shallow) >= FEW_ROWS else _grouped(network, traced, 2)


class _Node(NamedTuple):
    name: str
    value: Tensor
    seen: Seen


def _traced(network: nn.Module, name: str, input_px: int) -> Iterator[_Node]:
    """Every tensor that the network computes, in order, and what it sees of the image."""
    tracer = NodePathTracer(leaf_modules=[SameConv, GaborConv, ComplexCells])
    try:
        graph = tracer.trace(network)
        walk = ReceptiveFields(fx.GraphModule(tracer.root, graph))
        walk.run(torch.empty(1, 3, input_px, input_px, device="meta"))
    except Exception as error:
        raise SettingsError(
            f"{name} cannot be walked through with images of {input_px} px",
            got=f"{type(error).__name__}: {error}"[:300],
            remedy="give the image size that the network was made for",
        ) from None
    names = _public_names(network)
    for node, value, seen in walk.nodes:
        if node in tracer.node_to_qualname and node.op.startswith("call_"):
            yield _Node(names(tracer.node_to_qualname[node]), value, seen)


def _public_names(network: nn.Module) -> Any:
    """From names in the graph to those that `load_backbone` takes."""
    if not isinstance(network, LiteNetwork):
        return lambda name: name
    units = network.unit_names
    return lambda name: ".".join((units[int(name.split(".")[1])], *name.split(".")[2:]))


def _grouped(network: nn.Module, nodes: list[_Node], depth: int) -> tuple[LayerRow, ...]:
    """One row for each prefix of `depth` parts: the last thing computed under it."""
    units = network.unit_names if isinstance(network, LiteNetwork) else ()
    groups = {
        next(
            (unit for unit in units if f"{node.name}.".startswith(f"{unit}.")),
            ".".join(node.name.split(".")[:depth]),
        ): node
        for node in nodes
    }
    weights = _parameters(network)
    return tuple(_row(name, node, weights) for name, node in groups.items())


def _parameters(network: nn.Module) -> dict[str, int]:
    names = _public_names(network)
    return {names(name): weight.numel() for name, weight in network.named_parameters()}


def _row(name: str, node: _Node, weights: dict[str, int]) -> LayerRow:
    shape = tuple(node.value.shape[1:])
    has_space = len(shape) == 3 and math.isfinite(node.seen.stride)
    return LayerRow(
        name=name,
        shape=shape,
        channels=shape[0] if len(shape) in (1, 3) else shape[-1],
        stride=int(node.seen.stride) if has_space else None,
        receptive_field_px=int(node.seen.field) if math.isfinite(node.seen.field) else None,
        memory_mb=node.value.numel() * BYTES / 1e6,
        parameters=sum(n for key, n in weights.items() if f"{key}.".startswith(f"{name}.")),
    )


def _moves_strides(network: nn.Module) -> bool:
    """Strides of bottlenecks from the 3 × 3 to the 1 × 1 convolution, as published; whether any."""
    moved = False
    for block in network.modules():
        if isinstance(block, Bottleneck) and block.conv2.stride != (1, 1):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)
            moved = True
    return moved
