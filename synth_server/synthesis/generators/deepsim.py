"""The DeePSiM generators: images from the features of CaffeNet (Dosovitskiy & Brox 2016).

4096 numbers (fc6) → three linear layers → (256, 4, 4) → nine transposed convolutions → RGB, 256 px.
The weights come from a file that the user supplies; `weights = "random"` serves benchmarks and tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from encoders.backbones.device import device_named
from protocols.digests import document_digest
from protocols.settings import Frozen
from protocols.vocabulary import Codes, Images
from synth_server.synthesis.generators.deepsim_weights import random_state, read_state, state_digest
from synth_server.synthesis.generators.pixels import check_codes

CODE_DIMS = {"fc6": 4096, "fc7": 4096, "fc8": 1000}
LINEAR_LAYERS = ("fc7", "fc6", "fc5")
"""As the public files name them: the generator runs CaffeNet backwards."""
CONVOLUTIONS = (
    ("tconv5_0", 256, 256, 4),
    ("tconv5_1", 256, 512, 3),
    ("tconv4_0", 512, 256, 4),
    ("tconv4_1", 256, 256, 3),
    ("tconv3_0", 256, 128, 4),
    ("tconv3_1", 128, 128, 3),
    ("tconv2", 128, 64, 4),
    ("tconv1", 64, 32, 4),
    ("tconv0", 32, 3, 4),
)
"""Name, channels in, channels out, kernel: 4 doubles the side (stride 2), 3 keeps it (stride 1)."""
LEAK = 0.3
MEAN_BGR = (104.0, 117.0, 123.0)
IMAGE_SIZE_PX = 256


class DeePSiMSettings(Frozen):
    """Settings of the DeePSiM generator."""

    weights: Path | Literal["random"] = Field(
        description="a .pt, .pth or .safetensors state dict, or 'random' for benchmarks"
    )
    variant: Literal["fc6", "fc7", "fc8"] = "fc6"
    random_weights_seed: int = Field(default=0, ge=0, description="used by weights = 'random' only")
    device: str = Field(
        default="auto", description="auto (CUDA where there is one), or as torch names it"
    )
    batch_size: int = Field(default=16, ge=1, le=1024, description="codes drawn at once")
    code_scale: float = Field(default=1.0, gt=0, description="std of sampled codes")


class DeePSiMNetwork(nn.Module):
    """The network itself: `(n, code_dim)` → `(n, 3, 256, 256)`, BGR less its mean, about ±128."""

    def __init__(self, code_dim: int) -> None:
        super().__init__()
        widths = (code_dim, 4096, 4096)
        for name, width in zip(LINEAR_LAYERS, widths, strict=True):
            self.add_module(name, nn.Linear(width, 4096))
        for name, n_in, n_out, kernel in CONVOLUTIONS:
            stride = 2 if kernel == 4 else 1
            self.add_module(name, nn.ConvTranspose2d(n_in, n_out, kernel, stride, padding=1))

    def forward(self, codes: Tensor) -> Tensor:
        """Leaky rectification (0.3) follows every layer but the last."""
        x = codes
        for name in LINEAR_LAYERS:
            x = nn.functional.leaky_relu(self.get_submodule(name)(x), LEAK)
        x = x.reshape(-1, 256, 4, 4)
        for name, *_ in CONVOLUTIONS[:-1]:
            x = nn.functional.leaky_relu(self.get_submodule(name)(x), LEAK)
        last: Tensor = self.get_submodule(CONVOLUTIONS[-1][0])(x)
        return last


class DeePSiMGenerator:
    """Draws RGB images of 256 px from codes of CaffeNet features.

    Raises:
        SettingsError: If the weights file is missing.
        DataError: If it does not hold this network's weights.
    """

    Settings = DeePSiMSettings

    def __init__(self, settings: DeePSiMSettings) -> None:
        self._settings = settings
        self._device = device_named(settings.device)
        with torch.device("meta"):
            network = DeePSiMNetwork(self.code_dim)
        shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        if settings.weights == "random":
            state = random_state(shapes, settings.random_weights_seed)
        else:
            state = read_state(Path(settings.weights), shapes)
        network.load_state_dict(state, assign=True)
        self._network = network.requires_grad_(False).eval().to(self._device)
        self._weights_digest = state_digest(state)

    @property
    def code_dim(self) -> int:
        """4096 (fc6, fc7) or 1000 (fc8)."""
        return CODE_DIMS[self._settings.variant]

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return self._device

    @property
    def image_size_px(self) -> int:
        """Always 256."""
        return IMAGE_SIZE_PX

    @property
    def digest(self) -> str:
        """Sha256 over variant, code scale and weights; where they came from does not matter."""
        parts = {"variant": self._settings.variant, "code_scale": self._settings.code_scale}
        return document_digest({"generator": "deepsim", "weights": self._weights_digest, **parts})

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)` from N(0, `code_scale`²)."""
        codes = random.standard_normal((n, self.code_dim), dtype=np.float32)
        return codes * np.float32(self._settings.code_scale)

    def decode(self, codes: Tensor) -> Tensor:
        """`(n, code_dim)` on any device → `(n, 3, 256, 256)` RGB in 0..1, on the same; differentiable."""
        mean = torch.tensor(MEAN_BGR, device=self._device).view(1, 3, 1, 1)
        raw: Tensor = self._network(codes.to(self._device))
        return ((raw + mean) / 255).clamp(0, 1).flip(1).to(codes.device)

    def __call__(self, codes: Codes) -> Images:
        """`(n, code_dim) float32` → `(n, 256, 256, 3) uint8`, `batch_size` at a time."""
        check_codes(codes, self.code_dim)
        images = np.empty((len(codes), IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3), np.uint8)
        for start in range(0, len(codes), self._settings.batch_size):
            some = slice(start, start + self._settings.batch_size)
            images[some] = self._draw(codes[some])
        return images

    @torch.inference_mode()
    def _draw(self, codes: Codes) -> NDArray[np.uint8]:
        on_device = torch.from_numpy(np.array(codes)).to(self._device)
        levels = (self.decode(on_device) * 255).round().to(torch.uint8)
        return np.asarray(levels.permute(0, 2, 3, 1).cpu().numpy(), np.uint8)
