"""Any network, cut at a node of its graph."""

from __future__ import annotations

from torch import Tensor, nn

from protocols.errors import SettingsError


class Truncated(nn.Module):
    """The part of `network` that one graph node depends on.

    Args:
        network: Images `(n, 3, h, w)` to anything; in evaluation mode.
        name: Of the network, for errors.
        layer: A node (`features.12`), or a module (`layer3`), which means the last node within it.

    Raises:
        SettingsError: If there is no such layer; the error lists those that there are.
    """

    def __init__(self, network: nn.Module, name: str, layer: str) -> None:
        # as long in coming as torch itself, and most networks do without
        from torchvision.models import feature_extraction as torchvision

        super().__init__()
        _, nodes = torchvision.get_graph_node_names(network, suppress_diff_warning=True)
        known = [node for node in nodes if node != nodes[0]]
        if not any(f"{node}.".startswith(f"{layer}.") for node in known):
            raise SettingsError(
                f"{name} has no layer {layer!r}", expected=", ".join(known), got=layer
            )
        self.graph = torchvision.create_feature_extractor(
            network, {layer: "features"}, suppress_diff_warning=True
        )

    def forward(self, x: Tensor) -> Tensor:
        """`(n, 3, h, w)` preprocessed → the node's output."""
        features: Tensor = self.graph(x)["features"]
        return features
