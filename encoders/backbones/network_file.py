"""Any torch network in a file: TorchScript, or an exported program."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor

from protocols.errors import DataError, SettingsError

Network: TypeAlias = Callable[[Tensor], object]


def load_network(path: Path, device: torch.device | None = None) -> Network:
    """The network in `path`, in evaluation mode, its weights frozen.

    A network can do what its file says: load only files from people you trust.

    Args:
        path: `torch.jit.save`, or `torch.export.save` with a name that ends in `.pt2`.
        device: Where it runs; None for the CPU. An exported program runs where it was exported.

    Raises:
        SettingsError: If there is no such file, or no network in it.
    """
    if not path.is_file():
        raise SettingsError(
            "there is no such network file", where=str(path), expected="a .pt or .pt2 file"
        )
    try:
        if path.suffix == ".pt2":
            exported = torch.export.load(path).module()
            exported.requires_grad_(False)
            return cast(Network, exported)
        script: Callable[..., Any] = torch.jit.load
        with warnings.catch_warnings():
            # torch deprecates the format that published networks come in; nobody here can help it.
            warnings.simplefilter("ignore", FutureWarning)
            network = script(str(path), map_location=device or "cpu").eval()
        for weights in network.parameters():
            weights.requires_grad_(False)
        return cast(Network, network)
    except Exception as error:
        raise SettingsError(
            "the file holds no network that torch can load",
            where=str(path),
            expected="TorchScript (torch.jit.save), or torch.export.save in a file named .pt2",
            got=f"{type(error).__name__}: {error}"[:300],
            remedy="a state dict or a pickled module is not enough: script or export the network",
        ) from None


@dataclass(frozen=True)
class Asked:
    """A network of a file that is asked one thing at a time, and whose faults are told to its owner.

    Attributes:
        network: As `load_network` gave it.
        path: The file.
        asks: What it is given, for errors: "input", "code".
        remedy: Where its owner reads what it must take and return.
    """

    network: Network
    path: Path
    asks: str
    remedy: str

    def answer(self, given: Tensor) -> object:
        """What the network returns.

        Raises:
            DataError: If it does not take it.
        """
        try:
            return self.network(given)
        except (RuntimeError, AssertionError, ValueError, TypeError) as error:
            raise self.wrong(
                f"does not take its {self.asks}",
                f"a network of one float32 tensor {tuple(given.shape)}",
                str(error).strip().splitlines()[-1],
            ) from None

    def wrong(self, what: str, expected: str, got: object) -> DataError:
        """An error about it, to be raised."""
        return DataError(
            f"the network {what}",
            where=str(self.path),
            expected=expected,
            got=got,
            remedy=self.remedy,
        )
