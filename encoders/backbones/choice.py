"""A network and its weights as people type them: `NAME`, or `NAME:WEIGHTS`."""

from __future__ import annotations

from typing import NamedTuple

from encoders.backbones.loading import TORCHVISION, known_backbones
from protocols.errors import SettingsError


class NetworkChoice(NamedTuple):
    """A network, and which weights it is filled with."""

    name: str
    weights: str = "default"

    @property
    def label(self) -> str:
        """For people, and for figures: `efficientnet_lite0 (robust)`."""
        weights = "pretrained" if self.weights == "default" else self.weights.rpartition("/")[2]
        return f"{self.name.removeprefix(TORCHVISION)} ({weights})"


def network_choice(text: str, *, where: str = "--network") -> NetworkChoice:
    """`NAME` or `NAME:WEIGHTS`; a name may hold a colon itself, as `torchvision:alexnet` does.

    Raises:
        SettingsError: If there is no such network.
    """
    known = known_backbones()
    bare = (name.removeprefix(TORCHVISION) for name in known if name.startswith(TORCHVISION))
    names = sorted({*known, *bare}, key=len, reverse=True)
    for name in names:
        if text == name:
            return NetworkChoice(name)
        if text.startswith(f"{name}:") and len(text) > len(name) + 1:
            return NetworkChoice(name, text[len(name) + 1 :])
    raise SettingsError(
        "there is no such network",
        where=where,
        expected=f"NAME or NAME:WEIGHTS, with NAME one of {', '.join(known[:8])} … "
        "(synth-server backbones lists all)",
        got=text,
    )
