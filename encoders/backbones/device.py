"""Where networks run."""

from __future__ import annotations

import torch


def device_named(name: str) -> torch.device:
    """`auto`: CUDA where there is one, else the CPU; or a device as torch names it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)
