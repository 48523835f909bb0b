"""Any image generator in a file: a laboratory's GAN, decoder or diffusion model, to evolve in.

The file is TorchScript (`torch.jit.save`) or an exported program (`torch.export.save`, ending in
`.pt2`). The network must take a float32 tensor `(1, *code_shape)`, one code, and return its image,
`(1, 3, side, side)`: channels R, G, B, row 0 at the top, values from `output_min` (black) to
`output_max` (white). It draws one code at a time, so it may be exported for a batch of one, and no
image depends on another.

A network can do what its file says: load only files from people you trust.
"""

from __future__ import annotations

import hashlib
from math import prod
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from encoders.backbones import resized
from encoders.backbones.device import device_named
from encoders.backbones.network_file import Asked, load_network
from encoders.backbones.one_thread import one_thread
from protocols.digests import array_digest, document_digest
from protocols.errors import SettingsError
from protocols.seeds import random_stream
from protocols.settings import Frozen
from protocols.vocabulary import Codes, Images
from synth_server.synthesis.generators.pixels import check_codes

REMEDY = (
    "see code_shape, output_min and output_max of the generator torch in the reference of settings; "
    "wrap the network if it takes or returns something else"
)


class TorchFileSettings(Frozen):
    """A file, the codes that its network takes, and what its output means."""

    path: Path = Field(description="TorchScript, or an exported program named .pt2")
    code_shape: tuple[int, ...] = Field(
        min_length=1, max_length=4, description="of one code, as the network takes it: [128]"
    )
    prior_mean: float = Field(default=0.0, description="of every number of a first code")
    prior_sd: float = Field(default=1.0, gt=0, description="and its standard deviation (normal)")
    example_codes: Path | None = Field(
        default=None,
        description="a .npy file (n, numbers in a code) of codes that draw well: first codes are "
        "drawn from these, and prior_mean and prior_sd are not used",
    )
    output_min: float = Field(default=-1.0, description="what the network returns for black")
    output_max: float = Field(default=1.0, description="and for white")
    size_px: int | None = Field(
        default=None, ge=8, le=2048, description="images are resized to it; not given: as drawn"
    )
    device: str = Field(
        default="auto", description="auto (CUDA where there is one), or as torch names it"
    )

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> Self:
        if self.output_max <= self.output_min:
            raise ValueError("output_max must be above output_min")
        if min(self.code_shape) < 1:
            raise ValueError("every length of code_shape must be at least 1")
        return self


class TorchFileGenerator:
    """Draws what the network of a file draws.

    Raises:
        SettingsError: If a file is missing, or is none of torch's, or codes do not fit.
        DataError: If the network does not draw an image.
    """

    Settings = TorchFileSettings

    def __init__(self, settings: TorchFileSettings) -> None:
        self._settings = settings
        exported = settings.path.suffix == ".pt2"
        self._device = torch.device("cpu") if exported else device_named(settings.device)
        network = load_network(settings.path, self._device)
        self._asked = Asked(network, settings.path, "code", REMEDY)
        self._examples = _examples(settings, self.code_dim)
        first = torch.from_numpy(self.sample_codes(1, random_stream(0, "first look")))
        with one_thread(), torch.no_grad():
            self._size_px = int(self._drawn(first[0]).shape[-1])

    @property
    def code_dim(self) -> int:
        """Numbers in a code."""
        return prod(self._settings.code_shape)

    @property
    def image_size_px(self) -> int:
        """Side of the square image."""
        return self._size_px

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return self._device

    @property
    def digest(self) -> str:
        """Sha256 of the file's bytes, of example codes, and of the settings; not of where they lie."""
        settings = self._settings.model_dump(
            mode="json", exclude={"path", "example_codes", "device"}
        )
        network = hashlib.sha256(self._settings.path.read_bytes()).hexdigest()
        examples = "" if self._examples is None else array_digest(self._examples)
        return document_digest(
            {"generator": "torch", "network": network, "examples": examples, **settings}
        )

    def sample_codes(self, n: int, random: np.random.Generator) -> Codes:
        """`(n, code_dim)`: of the example codes, or from N(`prior_mean`, `prior_sd`²)."""
        if self._examples is not None:
            return self._examples[random.integers(len(self._examples), size=n)]
        drawn = random.standard_normal((n, self.code_dim), dtype=np.float32)
        return drawn * np.float32(self._settings.prior_sd) + np.float32(self._settings.prior_mean)

    def decode(self, codes: Tensor) -> Tensor:
        """`(n, code_dim)` on any device → `(n, 3, size, size)` RGB in 0..1, on the same."""
        return torch.cat([self._drawn(code) for code in codes]).to(codes.device)

    def __call__(self, codes: Codes) -> Images:
        """`(n, code_dim) float32` → `(n, size, size, 3) uint8`."""
        check_codes(codes, self.code_dim)
        size = self._size_px
        images = np.empty((len(codes), size, size, 3), np.uint8)
        with one_thread(), torch.inference_mode():
            for image, code in zip(images, codes, strict=True):
                levels = (self._drawn(torch.from_numpy(code.copy()))[0] * 255).round()
                image[:] = levels.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return images

    def _drawn(self, code: Tensor) -> Tensor:
        """`(code_dim,)` → `(1, 3, size, size)` in 0..1."""
        settings = self._settings
        drawn = self._asked.answer(code.to(self._device).reshape(1, *settings.code_shape))
        is_image = isinstance(drawn, Tensor) and drawn.ndim == 4 and drawn.shape[:2] == (1, 3)
        if not isinstance(drawn, Tensor) or not is_image or drawn.shape[2] != drawn.shape[3]:
            got = tuple(drawn.shape) if isinstance(drawn, Tensor) else type(drawn).__name__
            raise self._asked.wrong("draws no square colour image", "(1, 3, side, side)", got)
        if not bool(drawn.isfinite().all()):
            raise self._asked.wrong(
                "draws NaN or infinity", "finite values", f"for code {code[:4]} …"
            )
        values = (drawn.float() - settings.output_min) / (settings.output_max - settings.output_min)
        values = values.clamp(0, 1)
        if settings.size_px is None or values.shape[-1] == settings.size_px:
            return values
        return resized(values, settings.size_px)


def _examples(settings: TorchFileSettings, code_dim: int) -> NDArray[np.float32] | None:
    path = settings.example_codes
    if path is None:
        return None
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise SettingsError(
            "example codes cannot be read",
            where=str(path),
            expected="a .npy file",
            got=str(error)[:200],
        ) from None
    codes = np.asarray(found).reshape(len(found), -1) if np.ndim(found) >= 2 else found
    fits = np.ndim(codes) == 2 and len(codes) > 0 and codes.shape[1] == code_dim
    if not fits or codes.dtype.kind not in "fiu" or not np.isfinite(codes).all():
        raise SettingsError(
            "example codes do not fit the network",
            where=str(path),
            expected=f"(n, {code_dim}) finite numbers, as code_shape says",
            got=f"{np.shape(found)} {np.asarray(found).dtype}",
        )
    return np.ascontiguousarray(codes, np.float32)
