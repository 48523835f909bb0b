"""The bundled deep generator: images from whitened features of EfficientNet-lite0.

Trained on photographs by `synth_server.training.deep_generator`; see the model card beside its
weights. A code is `(code_dim,)` principal components of N(0, 1), the coarsest first, so that fewer
numbers search a smaller space of broader strokes. Images are 128 px.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from encoders.backbones import load_backbone, pixels_of, resized
from encoders.backbones.device import device_named
from encoders.backbones.one_thread import one_thread
from protocols.digests import document_digest
from protocols.settings import Frozen
from protocols.vocabulary import Codes, Images, check_images
from synth_server.synthesis.generators.decoder import (
    BACKBONE,
    IMAGE_SIZE_PX,
    LAYER,
)
from synth_server.synthesis.generators.deep_weights import BUNDLED_CODE_DIM, read_weights
from synth_server.synthesis.generators.pixels import check_codes

FLAT = 1e-3
"""RMS contrast below which an image is not raised further."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class DeepSettings(Frozen):
    """Settings of the deep generator."""

    weights: Path | Literal["bundled", "untrained"] = Field(
        default="bundled",
        description="a .safetensors file of the training; 'untrained': the bundled basis under a "
        "decoder of random weights, as a control",
    )
    code_dim: int = Field(
        default=BUNDLED_CODE_DIM, ge=1, description="components searched, the coarsest first"
    )
    code_scale: float = Field(default=1.0, gt=0, description="std of sampled codes")
    tiles: int = Field(default=2, ge=1, le=8, description="how often the image repeats, each way")
    contrast: float | None = Field(
        default=0.3,
        gt=0,
        le=2,
        description="RMS over pixels and channels, before squashing, 0..1; not given: free",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32", description="bfloat16 is faster where the processor has it"
    )
    untrained_seed: int = Field(default=0, ge=0, description="used by weights = 'untrained' only")
    device: str = Field(
        default="auto", description="auto (CUDA where there is one), or as torch names it"
    )
    batch_size: int = Field(default=8, ge=1, le=1024, description="codes drawn at once")


class DeepGenerator:
    """Draws RGB images of 128 px from whitened features, and encodes images into codes.

    On a CPU it works on one thread and in batches of one size, so that a code's image is the same
    whatever it is drawn with.

    Raises:
        SettingsError: If the weights file is missing, or has fewer components than `code_dim`.
        DataError: If it does not hold this network's weights.
    """

    Settings = DeepSettings

    def __init__(self, settings: DeepSettings) -> None:
        self._settings = settings
        self._device = device_named(settings.device)
        weights = read_weights(settings.weights, settings.code_dim, settings.untrained_seed)
        self._digest = weights.digest
        self._basis = weights.basis.to(self._device)
        decoder = weights.decoder.to(self._device, DTYPES[settings.precision])
        self._decoder = decoder.to(memory_format=torch.channels_last)
        if settings.tiles > 1:
            self._decoder.join_edges()

    @property
    def code_dim(self) -> int:
        """Components searched."""
        return self._settings.code_dim

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return self._device

    @property
    def image_size_px(self) -> int:
        """Always 128."""
        return IMAGE_SIZE_PX

    @property
    def digest(self) -> str:
        """Sha256 of the weights and of what decides an image; not of where the weights came from."""
        names = ("code_dim", "code_scale", "tiles", "contrast", "precision")
        parts = {name: getattr(self._settings, name) for name in names}
        return document_digest({"generator": "deep", "weights": self._digest, **parts})

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)` from N(0, `code_scale`²)."""
        codes = random.standard_normal((n, self.code_dim), dtype=np.float32)
        return codes * np.float32(self._settings.code_scale)

    def decode(self, codes: Tensor) -> Tensor:
        """`(n, code_dim)` on any device → `(n, 3, 128, 128)` RGB in 0..1, on the same; differentiable."""
        features = self._basis.features(codes.to(self._device))
        features = features.to(DTYPES[self._settings.precision])
        images: Tensor = self._decoder(features.contiguous(memory_format=torch.channels_last))
        return self._at_contrast(self._tiled(images.float())).to(codes.device)

    def __call__(self, codes: Codes) -> Images:
        """`(n, code_dim) float32` → `(n, 128, 128, 3) uint8`, `batch_size` at a time."""
        check_codes(codes, self.code_dim)
        images = np.empty((len(codes), IMAGE_SIZE_PX, IMAGE_SIZE_PX, 3), np.uint8)
        with one_thread(), torch.inference_mode():
            for start in range(0, len(codes), self._settings.batch_size):
                some = codes[start : start + self._settings.batch_size]
                images[start : start + len(some)] = self._draw(some)
        return images

    def invert(self, images: Images) -> Codes:
        """`(n, h, h, 3) uint8` → `(n, code_dim)`: what the features of `images` are in the basis.

        Of an image that repeats, its middle tile; of a photograph, the part that lies there. One
        pass through the pretrained network; `synthesis.inversion` can refine it by gradient.
        """
        check_images(images, where="invert(images)")
        backbone = load_backbone(BACKBONE, LAYER, device=self._device.type)
        first, side = self._middle_tile()
        within = slice(first, first + side)
        with one_thread(), torch.no_grad():
            codes = [
                self._basis.codes(
                    backbone(
                        resized(_whole(image, backbone.device)[:, :, within, within], IMAGE_SIZE_PX)
                    )
                )
                for image in np.split(images, len(images))
            ]
        return np.asarray(torch.cat(codes).cpu().numpy(), np.float32)

    def codes_of(self, features: Tensor) -> Codes:
        """What `invert` finds, of features that are there already.

        Args:
            features: `(n, 80, 8, 8)`: of whole images at 128 px, by the decoder's backbone and layer.
        """
        with one_thread(), torch.no_grad():
            codes = self._basis.codes(features.to(self._basis.mean.device))
        return np.asarray(codes.cpu().numpy(), np.float32)

    def _tiled(self, images: Tensor) -> Tensor:
        """Each shrunk and laid side by side, one whole tile in the middle, at the size that it had."""
        n_tiles = self._settings.tiles
        if n_tiles == 1:
            return images
        first, side = self._middle_tile()
        rows = resized(images, side).repeat(1, 1, n_tiles + 2, n_tiles + 2)
        start = -first % side
        within = slice(start, start + IMAGE_SIZE_PX)
        return rows[:, :, within, within]

    def _middle_tile(self) -> tuple[int, int]:
        """Its first row (and column), and its side, px."""
        side = IMAGE_SIZE_PX // self._settings.tiles
        return (IMAGE_SIZE_PX - side) // 2, side

    def _at_contrast(self, images: Tensor) -> Tensor:
        """Every image at one RMS contrast around its own mean, squashed into 0..1 where it must."""
        if self._settings.contrast is None:
            return images
        mean = images.mean((1, 2, 3), keepdim=True)
        deviation = images - mean
        rms = deviation.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(FLAT)
        return torch.sigmoid(4 * (deviation * (self._settings.contrast / rms) + mean - 0.5))

    def _draw(self, codes: Codes) -> Images:
        """A batch of always the same size: its rest is zeros."""
        padded = np.zeros((self._settings.batch_size, self.code_dim), np.float32)
        padded[: len(codes)] = codes
        levels = (self.decode(torch.from_numpy(padded).to(self._device)) * 255).round()
        drawn = levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return np.asarray(drawn[: len(codes)])


def _whole(image: Images, device: torch.device) -> Tensor:
    """`(1, h, h, 3) uint8` → `(1, 3, 128, 128)` RGB in 0..1."""
    return resized(pixels_of(image, device), IMAGE_SIZE_PX)
