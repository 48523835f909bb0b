"""Weights of the DeePSiM generators, from either public layout of the state dict.

Layout A names the layers `fc7, fc6, fc5, tconv5_0 … tconv0`; layout B names them `defc7, defc6,
defc5, deconv5, conv5_1, deconv4, conv4_1, deconv3, conv3_1, deconv2 … deconv0` and stores some with
".1." in the key. Either may lack the biases of its convolutions, which are then zero.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from protocols.errors import DataError, InstallationError, SettingsError

State: TypeAlias = dict[str, Tensor]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

LAYOUT_B: Mapping[str, str] = MappingProxyType(
    {
        "defc7": "fc7", "defc6": "fc6", "defc5": "fc5",
        "deconv5": "tconv5_0", "conv5_1": "tconv5_1",
        "deconv4": "tconv4_0", "conv4_1": "tconv4_1",
        "deconv3": "tconv3_0", "conv3_1": "tconv3_1",
        "deconv2": "tconv2", "deconv1": "tconv1", "deconv0": "tconv0",
    }
)  # fmt: skip
"""Layer names of layout B, and what layout A calls them."""

MAX_LISTED = 6
RANDOM_GAIN = 1.35
"""Keeps the size of activations under leaky rectification with slope 0.3."""
RANDOM_LAST_GAIN = 40.0
"""Gray levels: brings the last layer's output to the contrast of a photograph."""


def read_state(path: Path, shapes: Shapes) -> State:
    """Read a state dict from `path` and fit it to `shapes` (key → shape, in layout A).

    Raises:
        SettingsError: If the file is missing or of unknown kind.
        DataError: If it is damaged, or its keys or shapes are not the network's.
    """
    if not path.is_file():
        raise SettingsError(
            "the DeePSiM weights are not there",
            where=str(path),
            expected="a .pt, .pth or .safetensors file",
            remedy="public copies of the generator's state dict exist (Dosovitskiy & Brox 2016, "
            "converted to torch): get one and name it as the generator's option 'weights'",
        )
    state = _in_layout_a(_tensors(path))
    for name, shape in shapes.items():
        if name.endswith(".bias") and "conv" in name:
            state.setdefault(name, torch.zeros(shape))
    _check_fits(state, shapes, str(path))
    return {name: state[name].float().contiguous() for name in shapes}


def random_state(shapes: Shapes, seed: int) -> State:
    """Random weights of `shapes` that keep activations alive: for benchmarks and tests."""
    draw = torch.Generator().manual_seed(seed)
    return {name: _random_tensor(name, shape, draw) for name, shape in shapes.items()}


def state_digest(state: State) -> str:
    """Sha256 over the names, shapes and values, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name} {values.shape} {values.dtype.str}\n".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _random_tensor(name: str, shape: tuple[int, ...], draw: torch.Generator) -> Tensor:
    if len(shape) == 1:
        return torch.zeros(shape)
    # A stride-2 output pixel sees a quarter of the 4×4 kernel, a stride-1 pixel all of the 3×3.
    reach = {2: shape[-1], 4: shape[0] * (4 if shape[-1] == 4 else 9)}[len(shape)]
    gain = RANDOM_GAIN * (RANDOM_LAST_GAIN if name.startswith("tconv0") else 1.0)
    return torch.randn(shape, generator=draw).mul_(gain / float(reach) ** 0.5)


def _tensors(path: Path) -> State:
    if path.suffix == ".safetensors":
        return _safetensors(path)
    if path.suffix not in {".pt", ".pth"}:
        raise SettingsError(
            "weights of unknown kind", where=str(path), expected=".pt, .pth or .safetensors"
        )
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(
            "the weights file cannot be read safely",
            where=str(path),
            expected="a state dict of tensors (torch.load with weights_only=True)",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy="a whole pickled model is not accepted: save its state_dict() and name that",
        ) from None
    return _only_tensors(loaded, path)


def _only_tensors(loaded: object, path: Path) -> State:
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise DataError(
            "the weights file holds no state dict",
            where=str(path),
            expected="a mapping from names to tensors",
            got=type(loaded).__name__,
        )
    return {str(name): value for name, value in loaded.items()}


def _safetensors(path: Path) -> State:
    try:
        reader = importlib.import_module("safetensors.torch")
    except ImportError:
        raise InstallationError(
            "safetensors is not installed",
            where=str(path),
            remedy="pip install 'stimloop[server]'",
        ) from None
    try:
        return dict(reader.load_file(path))
    except Exception as error:  # its exception type is not public
        raise DataError("the safetensors file cannot be read", where=str(path), got=error) from None


def _in_layout_a(state: State) -> State:
    renamed: State = {}
    for key, value in state.items():
        layer, _, kind = key.replace(".1.", ".").removeprefix("module.").partition(".")
        renamed[f"{LAYOUT_B.get(layer, layer)}.{kind}"] = value
    return renamed


def _check_fits(state: State, shapes: Shapes, where: str) -> None:
    missing = sorted(set(shapes) - set(state))
    unexpected = sorted(set(state) - set(shapes))
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {shape}"
        for name, shape in shapes.items()
        if name in state and tuple(state[name].shape) != shape
    ]
    if missing or unexpected or misshapen:
        raise DataError(
            "the weights are not those of this DeePSiM variant",
            where=where,
            expected=f"{len(shapes)} tensors, named by either public layout",
            got=f"missing: {_listed(missing)}; unexpected: {_listed(unexpected)}; "
            f"wrong shape: {_listed(misshapen)}",
            remedy="check that the file and the option 'variant' belong together",
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return (", ".join(names[:MAX_LISTED]) or "none") + more
