"""Checkpoints as training code leaves them: what they wrap weights in, and what it writes before names.

- Wrapped: the state dict lies in the file as `state_dict` (most training scripts) or `model`
  (github.com/MadryLab/robustness, github.com/microsoft/robust-models-transfer).
- `module.` stands before every name after data-parallel training, `model.` where a wrapper put the
  input's normalisation before the network (RobustBench), `module.model.` after both.
- MadryLab's wrapper keeps the network a second time, within its `attacker`, and the normalisation as
  `normalizer`; RobustBench's as `normalize`, `mu` and `sigma`.

The copy is ignored. The normalisation is compared with the one that our network applies: with another one
every feature would be wrong, and would look right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from protocols.errors import SettingsError

WRAPPED_AS = ("state_dict", "model", "model_state_dict")
COPY = "attacker"
NORMALISERS = ("normalizer", "normalize")
MEANS, DEVIATIONS = ("new_mean", "mean", "mu"), ("new_std", "std", "sigma")
PREFIXES = ("module.", "model.")
TOLERANCE = 2e-3
"""By how much a file's normalisation may differ: some round theirs to three decimals."""

Convention = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation that a network's input is normalised by, a number a channel, in 0..1."""


def unwrapped(found: Any) -> Any:
    """The state dict that a training checkpoint holds; anything else as it is."""
    while isinstance(found, Mapping):
        inner = next((key for key in WRAPPED_AS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = found[inner]
    return found


def plain(
    state: Mapping[str, Tensor], *, where: str, convention: Convention | None = None
) -> dict[str, Tensor]:
    """The network's own weights under its own names.

    Args:
        state: A file's tensors by name.
        where: The file, for errors.
        convention: How our network normalises its input; None: not compared.

    Raises:
        SettingsError: If the file's network normalises its input in another way.
    """
    names = dict(state)
    while True:
        kept = {key: value for key, value in names.items() if key.partition(".")[0] != COPY}
        extra, rest = _normalisation(kept)
        shared = next((p for p in PREFIXES if rest and all(k.startswith(p) for k in rest)), None)
        if shared is None:
            # nothing is wrapped here, and a network may well have a part that is called 'normalize'
            return kept
        _check(extra, where, convention)
        names = {key.removeprefix(shared): value for key, value in rest.items()}
        if shared == "module.":
            names |= {key: value for key, value in extra.items() if not key.startswith(shared)}


def _normalisation(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the wrapper keeps of the normalisation, and the rest."""
    extra = {
        key: value
        for key, value in state.items()
        if key.partition(".")[0] in NORMALISERS or key in (*MEANS, *DEVIATIONS)
    }
    return extra, {key: value for key, value in state.items() if key not in extra}


def _check(extra: Mapping[str, Tensor], where: str, convention: Convention | None) -> None:
    if convention is None:
        return
    for names, wanted in zip((MEANS, DEVIATIONS), convention, strict=True):
        for key, value in extra.items():
            if key.rpartition(".")[2] not in names:
                continue
            found = value.detach().double().flatten()
            if found.numel() != len(wanted) or bool(
                ((found - torch.tensor(wanted, dtype=torch.float64)).abs() > TOLERANCE).any()
            ):
                raise SettingsError(
                    "the weights were trained with another normalisation of the input",
                    where=f"{where}: {key}",
                    expected=", ".join(f"{number:g}" for number in wanted),
                    got=", ".join(f"{number:g}" for number in found.tolist()[:6]),
                    remedy="their features would be wrong here: use weights that were trained with "
                    "the expected one, or write a backbone plug-in with the file's own",
                )
