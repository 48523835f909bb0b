"""Networks whose authors publish weights as files: CORnet-S and the VOneNets.

No package carries these files and nothing is downloaded: they are read from a given path, or from where
the authors' own packages keep them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from encoders.backbones.backbone import Backbone
from encoders.backbones.cornet_architecture import cornet_s_network, public_name
from encoders.backbones.preprocessing import Channels, Preprocessing
from encoders.backbones.settings import BackboneSettings
from encoders.backbones.truncated import Truncated
from encoders.backbones.vonenet_architecture import (
    VOneBlock,
    alexnet_back_end,
    cornet_s_back_end,
    resnet50_back_end,
    vonenet,
)
from encoders.backbones.weights import fill_by_name, read_state_dict, untrained, weights_digest
from protocols.errors import InstallationError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
VONENET_MEAN = VONENET_STD = (0.5, 0.5, 0.5)

CORNET_NOTE = (
    "an area is its last time step: V4 is V4.t3; the steps of an area share their convolutions, "
    "which are counted with the first one, t0"
)
VONENET_NOTE = "trained on images of 224 px, taken as 8 degrees; V1's noise is left out"


class PublishedFile(NamedTuple):
    """A weights file: its name, where the authors' package keeps it, and whom to ask for it."""

    name: str
    folder: Callable[[], Path]
    source: str

    def path(self) -> Path:
        """Where the file is expected.

        Raises:
            InstallationError: If it is not there.
        """
        path = self.folder() / self.name
        if not path.is_file():
            raise InstallationError(
                "the pretrained weights are not on this computer",
                where=str(path),
                expected=f"{self.name}, as published at {self.source}",
                got="no such file; nothing is downloaded",
                remedy="put the file there; or name one: weights = '/path/to/weights.pth'; "
                "or weights = 'random' for an untrained control",
            )
        return path


class PublishedNetwork:
    """Makes backbones of one network; called with `Settings`.

    Args:
        name: As `load_backbone` knows it.
        build: Makes the whole network with initial weights.
        mean: Of its input convention, and std.
        file: Its weights.
        note: What its table of layers needs to be understood.
    """

    Settings: ClassVar[type[BackboneSettings]] = BackboneSettings

    def __init__(
        self,
        name: str,
        build: Callable[[], nn.Module],
        *,
        mean: Channels,
        std: Channels,
        file: PublishedFile,
        note: str,
    ) -> None:
        self.name, self.file, self.note = name, file, note
        self._build, self._mean, self._std = build, mean, std

    def __call__(self, settings: BackboneSettings) -> Backbone:
        """The network up to `settings.layer`.

        Raises:
            InstallationError: If its weights are not where they are expected.
            SettingsError: If the layer is unknown or the weights do not fit.
        """
        network = self._filled(settings).eval()
        return Backbone(
            name=self.name,
            layer=settings.layer,
            network=Truncated(network, self.name, settings.layer),
            preprocessing=Preprocessing(mean=self._mean, std=self._std, input_px=settings.input_px),
            weights_digest=weights_digest(network),
            device=settings.torch_device,
        )

    def architecture(self) -> nn.Module:
        """The whole network on the meta device, without weights."""
        with torch.device("meta"):
            return self._build()

    def _filled(self, settings: BackboneSettings) -> nn.Module:
        if settings.weights == "random":
            network = untrained(self._build, settings.seed, self.name)
            for block in network.modules():
                if isinstance(block, VOneBlock):
                    block.draw_filters(settings.seed)
            return network
        is_default = settings.weights == "default"
        path = self.file.path() if is_default else Path(settings.weights)
        state = read_state_dict(path, convention=(self._mean, self._std))
        network = untrained(self._build, 0, self.name)
        fill_by_name(published_weights(network), state, where=str(path), ignored=_UNUSED)
        return network


_UNUSED = ("vone_block.div_u.weight", "vone_block.div_t.weight")
"""In the file of the adversarially trained VOneResNet50; its authors drop them too."""


def published_weights(network: nn.Module) -> dict[str, Tensor]:
    """The network's own weights under their published names; to be filled in place."""
    return {public_name(name): tensor for name, tensor in network.state_dict().items()}


def _torch_cache() -> Path:
    return Path(torch.hub.get_dir()) / "checkpoints"


def _vonenet_cache() -> Path:
    return Path.home() / ".vonenet"


def _vonenet(name: str, back_end: Callable[[], nn.Module], file: str) -> PublishedNetwork:
    return PublishedNetwork(
        name,
        lambda: vonenet(back_end()),
        mean=VONENET_MEAN,
        std=VONENET_STD,
        file=PublishedFile(file, _vonenet_cache, "github.com/dicarlolab/vonenet"),
        note=VONENET_NOTE,
    )


cornet_s = PublishedNetwork(
    "cornet_s",
    cornet_s_network,
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    file=PublishedFile("cornet_s-1d3f7974.pth", _torch_cache, "github.com/dicarlolab/CORnet"),
    note=CORNET_NOTE,
)
vonenet_resnet50 = _vonenet("vonenet:resnet50", resnet50_back_end, "voneresnet50_e70.pth.tar")
vonenet_alexnet = _vonenet("vonenet:alexnet", alexnet_back_end, "vonealexnet_e70.pth.tar")
vonenet_cornet_s = _vonenet("vonenet:cornet_s", cornet_s_back_end, "vonecornets_e70.pth.tar")
