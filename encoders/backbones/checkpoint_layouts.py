"""Checkpoints as training code leaves them: what they wrap weights in, and what it writes before names.

- Wrapped: the state dict lies in the file as `state_dict` (most training scripts), `model`
  (github.com/MadryLab/robustness, github.com/microsoft/robust-models-transfer), `net` or under any other
  name, if it alone holds tensors.
- `module.` stands before every name after data-parallel training, `model.` where a wrapper put the
  input's normalisation before the network (RobustBench), `module.model.` after both, `1.module.` where
  that wrapper was a `Sequential` (github.com/locuslab/smoothing), `_orig_mod.` after `torch.compile`.
  Of AlexNet and VGG, the usual script made the features alone parallel: `features.module.0.weight`.
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

WRAPPED_AS = ("state_dict", "model", "model_state_dict", "net")
COPY = "attacker"
COUNTER = "n_averaged"
"""Of torch's own averaged models (`swa_utils`), beside the weights."""
NORMALISERS = ("normalizer", "normalize")
MEANS, DEVIATIONS = ("new_mean", "mean", "mu"), ("new_std", "std", "sigma")
PREFIXES = ("module.", "model.", "net.", "network.", "basic_net.", "_orig_mod.", "1.")
PARALLEL = "module"
MAX_CHANNELS = 4
"""Of an input: what has more numbers is no normalisation's mean."""
TOLERANCE = 2e-3
"""By how much a file's normalisation may differ: some round theirs to three decimals."""

Convention = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation that a network's input is normalised by, a number a channel, in 0..1."""


def unwrapped(found: Any) -> Any:
    """The state dict that a training checkpoint holds; anything else as it is."""
    while isinstance(found, Mapping):
        within = [key for key in WRAPPED_AS if isinstance(found.get(key), Mapping)]
        within = within or [key for key, value in found.items() if _holds_tensors(value)]
        if not within or (within[0] not in WRAPPED_AS and len(within) > 1):
            break
        found = found[within[0]]
    return found


def _holds_tensors(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(each, Tensor) for each in value.values())
    )


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
        kept = {k: v for k, v in names.items() if k.partition(".")[0] not in (COPY, COUNTER)}
        extra, rest = _normalisation(kept)
        shared = next((p for p in PREFIXES if rest and all(k.startswith(p) for k in rest)), None)
        if shared is None:
            # nothing is wrapped here, and a network may well have a part that is called 'normalize'
            return _without_parallel_parts(kept)
        _check(extra, where, convention)
        names = {key.removeprefix(shared): value for key, value in rest.items()}
        if shared == f"{PARALLEL}.":
            names |= {key: value for key, value in extra.items() if not key.startswith(shared)}


def _without_parallel_parts(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`features.module.0.weight` → `features.0.weight`, if all of `features` is named so."""
    parts: dict[str, list[bool]] = {}
    for key in state:
        part, _, rest = key.partition(".")
        parts.setdefault(part, []).append(rest.startswith(f"{PARALLEL}."))
    return {
        key.replace(f".{PARALLEL}.", ".", 1) if all(parts[key.partition(".")[0]]) else key: value
        for key, value in state.items()
    }


def _normalisation(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What the wrapper keeps of the normalisation, and the rest."""
    extra = {
        key: value
        for key, value in state.items()
        if key.partition(".")[0] in NORMALISERS
        or (key.rpartition(".")[2] in (*MEANS, *DEVIATIONS) and value.numel() <= MAX_CHANNELS)
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
