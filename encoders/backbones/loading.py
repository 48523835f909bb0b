"""One door to every backbone: built in, a lab's own, or torchvision's."""

from __future__ import annotations

from typing import Any

from encoders.backbones.backbone import Backbone
from encoders.backbones.settings import BackboneSettings
from protocols import plugins
from protocols.errors import PluginError, SettingsError
from protocols.settings import PluginChoice, validated

GROUP = "stimloop.backbones"
TORCHVISION = "torchvision:"


def load_backbone(name: str, layer: str, **options: Any) -> Backbone:
    """The network `name` up to `layer`.

    Args:
        name: A plug-in of `stimloop.backbones` (`efficientnet_lite0`), or a classification network
            of torchvision (`torchvision:alexnet`, or just `alexnet`).
        layer: A layer's name; a wrong one raises an error that lists them.
        **options: Further settings, for most networks those of `BackboneSettings`: `weights`,
            `seed`, `input_px`, `device`.

    Raises:
        SettingsError: If the name, the layer or an option is wrong.
        InstallationError: If the weights cannot be had.
    """
    values = {"layer": layer, **options}
    if name in plugins.names(GROUP):
        return _checked(plugins.create(GROUP, PluginChoice(name=name, options=values)), name)
    bare = name.removeprefix(TORCHVISION)
    if bare not in _torchvision_names():
        raise SettingsError(
            f"there is no backbone {name!r}", expected=", ".join(known_backbones()), got=name
        )
    from encoders.backbones.torchvision_networks import torchvision_backbone

    return torchvision_backbone(bare, validated(BackboneSettings, values, where=f"backbone {name}"))


def known_backbones() -> tuple[str, ...]:
    """Every name that `load_backbone` takes: plug-ins, then torchvision's."""
    return (*plugins.names(GROUP), *(TORCHVISION + name for name in _torchvision_names()))


def _torchvision_names() -> tuple[str, ...]:
    # Imported late: torchvision takes a second, and the plug-ins do without.
    from encoders.backbones.torchvision_networks import names

    return names()


def _checked(made: Any, name: str) -> Backbone:
    if not isinstance(made, Backbone):
        raise PluginError(
            f"the plug-in {name!r} of {GROUP} makes no backbone",
            expected="an encoders.backbones.Backbone",
            got=type(made).__name__,
        )
    return made
