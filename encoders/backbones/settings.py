"""What can be chosen about any backbone."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field

from encoders.backbones.device import device_named
from protocols.settings import Frozen


class BackboneSettings(Frozen):
    """Where to cut a network, which weights to fill it with, and where to run it."""

    layer: str = Field(
        min_length=1, description="the last layer computed; nothing above it is kept"
    )
    weights: str = Field(
        default="default",
        min_length=1,
        description="'default' (pretrained), 'random' (untrained, a control), a name that the "
        "network knows (torchvision's IMAGENET1K_V1; EfficientNet-lite's 'robust'), or a "
        "state-dict file",
    )
    seed: int = Field(default=0, ge=0, description="of weights = 'random'")
    input_px: int | None = Field(
        default=None, ge=16, le=2048, description="resize images to this size; None keeps theirs"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: CUDA where there is one"
    )

    @property
    def torch_device(self) -> torch.device:
        """The device that `device` names on this computer."""
        return device_named(self.device)
