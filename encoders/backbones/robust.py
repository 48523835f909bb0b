"""Networks trained to keep their features where an image is disturbed: weights that come with stimloop.

Trained on photographs by `synth_server.training.robust_networks`; see the model card beside them. They
predict V4 as well as the weights they began from, or better, and what an ascent finds in them is less
often something that only a network sees (`benchmarks/RESULTS.md`). They end at a middle layer.
"""

from __future__ import annotations

from importlib.resources import as_file, files
from typing import NamedTuple

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from encoders.backbones.folding import quicken
from encoders.backbones.lite_architecture import LiteNetwork
from encoders.backbones.weights import fill_by_name, weights_digest
from protocols.errors import InstallationError, SettingsError

ROBUST = "robust"
"""What `weights` is called where these are meant."""


class Trunk(NamedTuple):
    """A network up to a layer, and the sha256 of all its weights, above the layer too."""

    network: nn.Sequential
    weights_digest: str


def robust_trunk(name: str, network: LiteNetwork, layer: str) -> Trunk:
    """`network`, which is the backbone `name`, with its robust weights, folded, up to `layer`.

    Raises:
        InstallationError: If stimloop was installed without its weights.
        SettingsError: If the weights end before `layer`.
    """
    state = _bundled(name)
    n_units = 1 + max(int(key.partition(".")[0]) for key in state)
    wanted = len(network.up_to(layer))
    if wanted > n_units:
        raise SettingsError(
            f"the robust weights of {name} end before {layer}",
            expected=f"a layer up to {network.unit_names[n_units - 1]}",
            got=layer,
            remedy="choose such a layer, or weights = 'default'",
        )
    whole = network.units[:n_units].eval()
    quicken(whole)
    fill_by_name(whole.state_dict(), state, where=f"{name}.safetensors")
    return Trunk(whole[:wanted], weights_digest(whole))


def _bundled(name: str) -> dict[str, Tensor]:
    with as_file(files(__package__) / "robust_weights" / f"{name}.safetensors") as path:
        try:
            return {key: value.float() for key, value in load_file(path).items()}
        except (OSError, SafetensorError) as error:
            raise InstallationError(
                f"the robust weights of {name} are missing or damaged",
                where=str(path),
                expected="a file that comes with stimloop",
                got=error,
                remedy="install stimloop anew; or weights = 'default'",
            ) from None
