"""Inversion within a session: by the generator's own way, or by gradient; kept as a product.

What is handed out is what the file says, also the first time: a session that was interrupted goes on
with the very same codes, on any hardware.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from encoders.backbones.one_thread import one_thread
from protocols.digests import array_digest, combined_digest, document_digest
from protocols.errors import PluginError, SettingsError
from protocols.interfaces import ImageGenerator, InvertibleGenerator
from protocols.vocabulary import Codes, Images
from synth_server.session.products import Products, save_arrays
from synth_server.synthesis.image_space import DifferentiableGenerator
from synth_server.synthesis.inversion import InversionSettings, invert


class SessionInversion:
    """Finds codes for images (an `Inversion`).

    Args:
        generator: One with a way of its own, or one that can be climbed.
        products: Where codes are kept.

    Raises:
        SettingsError: If it is neither.
    """

    def __init__(self, generator: ImageGenerator, products: Products) -> None:
        if not isinstance(generator, InvertibleGenerator | DifferentiableGenerator):
            raise SettingsError(
                "this generator finds no codes for given images",
                where="start",
                expected="a generator with invert(images), or with a differentiable decode(codes)",
                got=type(generator).__name__,
                remedy="choose another generator, or leave `start` out",
            )
        self._generator = generator
        self._products = products
        self._settings = InversionSettings()

    @property
    def digest(self) -> str:
        """Sha256 of the way, and of the generator."""
        own = isinstance(self._generator, InvertibleGenerator)
        way = "own" if own else document_digest(self._settings.model_dump(mode="json"))
        return combined_digest([way, self._generator.digest])

    def __call__(self, images: Images) -> Codes:
        """`(n, size, size, 3) uint8` → `(n, code_dim) float32`.

        Raises:
            PluginError: If the generator's own way gives no such codes.
        """
        key = combined_digest([self.digest, array_digest(images)])
        made = self._products.file(
            f"codes-{key[:32]}.safetensors", lambda path: self._invert(images, path)
        )
        return load_file(made.path)["codes"]

    def _invert(self, images: Images, path: Path) -> None:
        with one_thread(), self._products.telling(f"inverting {len(images)} images") as tell:
            if isinstance(self._generator, InvertibleGenerator):
                codes = self._generator.invert(images)
            else:
                codes = invert(self._generator, images, self._settings, progress=tell)
        _check(codes, (len(images), self._generator.code_dim))
        save_arrays(path, codes=codes)


def _check(codes: Codes, shape: tuple[int, int]) -> None:
    if codes.shape != shape or codes.dtype != np.float32 or not np.isfinite(codes).all():
        raise PluginError(
            "the generator's invert(images) gave no usable codes",
            expected=f"{shape} float32, finite",
            got=f"{codes.shape} {codes.dtype}",
        )
