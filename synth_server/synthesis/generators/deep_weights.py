"""The deep generator's weights: one safetensors file, half precision, shipped in the wheel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from encoders.backbones.weights import write_half_precision
from protocols.errors import DataError, SettingsError
from synth_server.synthesis.generators.decoder import Decoder, WhitenedBasis
from synth_server.synthesis.generators.deepsim_weights import state_digest

FILE = "deep.safetensors"
BUNDLED_CODE_DIM = 512
"""Components searched unless asked otherwise; the file holds more."""
MAX_LISTED = 4
UNTRAINED_LAST_GAIN = 0.07
"""Brings an untrained decoder's output to about the contrast of a photograph."""


class DeepWeights(NamedTuple):
    """The generator's two parts, frozen, and the sha256 of what is in them."""

    basis: WhitenedBasis
    decoder: Decoder
    digest: str


def read_weights(
    source: Path | Literal["bundled", "untrained"], code_dim: int, untrained_seed: int
) -> DeepWeights:
    """Basis and decoder of `source`, the basis cut to `code_dim` components.

    Raises:
        SettingsError: If the file is missing, or holds fewer components.
        DataError: If it is damaged, or holds something else.
    """
    state = _bundled() if source in ("bundled", "untrained") else _read(Path(source))
    _check(state, str(source))
    n_components = len(state["basis.deviations"])
    if code_dim > n_components:
        raise SettingsError(
            "the deep generator has fewer components",
            where="generator option code_dim",
            expected=f"at most {n_components}",
            got=code_dim,
        )
    for name in ("basis.deviations", "basis.directions"):
        state[name] = state[name][:code_dim].contiguous()
    basis, decoder = WhitenedBasis(code_dim), Decoder()
    if source == "untrained":
        _fill_at_random(decoder, untrained_seed)
    else:
        decoder.load_state_dict(_part(state, "decoder."))
    basis.load_state_dict(_part(state, "basis."))
    both = nn.ModuleDict({"basis": basis, "decoder": decoder}).requires_grad_(False).eval()
    return DeepWeights(basis, decoder, state_digest(both.state_dict()))


def bundled_file() -> AbstractContextManager[Path]:
    """Where the weights that come with stimloop are."""
    return as_file(files(__package__) / "weights" / FILE)


def write_weights(path: Path, basis: WhitenedBasis, decoder: Decoder) -> None:
    """Both parts in half precision."""
    write_half_precision(path, nn.ModuleDict({"basis": basis, "decoder": decoder}))


def _bundled() -> dict[str, Tensor]:
    with bundled_file() as path:
        return _read(path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise SettingsError(
            "the deep generator's weights are not there",
            where=str(path),
            expected="a .safetensors file of synth_server.training.deep_generator",
            remedy="leave weights = 'bundled', or name a file that exists",
        )
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (SafetensorError, OSError) as error:
        raise DataError("the weights file cannot be read", where=str(path), got=error) from None


def _check(state: dict[str, Tensor], where: str) -> None:
    n_components = len(state.get("basis.deviations", ()))
    expected = nn.ModuleDict({"basis": WhitenedBasis(n_components), "decoder": Decoder()})
    shapes = {name: tuple(value.shape) for name, value in expected.state_dict().items()}
    wrong = sorted(
        name
        for name in shapes.keys() | state.keys()
        if name not in state or shapes.get(name) != tuple(state[name].shape)
    )
    if wrong or not n_components:
        raise DataError(
            "the weights are not those of the deep generator",
            where=where,
            expected=f"{len(shapes)} tensors named basis.* and decoder.*",
            got=f"missing, unknown or misshapen: {', '.join(wrong[:MAX_LISTED])}"
            + (f" and {len(wrong) - MAX_LISTED} more" if len(wrong) > MAX_LISTED else ""),
        )


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)
    }


def _fill_at_random(decoder: Decoder, seed: int) -> None:
    """Weights that keep activations alive (He et al. 2015), biases zero."""
    draw = torch.Generator().manual_seed(seed)
    for name, weight in decoder.state_dict().items():
        if weight.ndim == 1:
            weight.zero_()
            continue
        gain = UNTRAINED_LAST_GAIN if name.startswith("last") else 1.0
        reach = weight[0].numel()
        weight.copy_(torch.randn(weight.shape, generator=draw) * gain * (2 / reach) ** 0.5)
