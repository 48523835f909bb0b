"""Codes within a session, improved by an encoder; kept as products, as all that takes long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from encoders.backbones.one_thread import one_thread
from encoders.parallel import n_cores
from protocols import plugins
from protocols.digests import array_digest, combined_digest, document_digest
from protocols.errors import DataError, SettingsError
from protocols.interfaces import Encoder, ImageGenerator
from protocols.settings import PluginChoice
from protocols.vocabulary import Codes
from synth_server.session.encoders import SessionEncoder
from synth_server.session.products import Products, save_arrays
from synth_server.synthesis.ascent import improve_codes
from synth_server.synthesis.ascent_settings import AscentSettings
from synth_server.synthesis.constraints import TransformSettings
from synth_server.synthesis.image_space import DifferentiableGenerator, GeneratorSpace

LEARNING_RATE = 0.15
"""Of plain steps in code space, where the prior's RMS is about 1."""


class SessionGuidance:
    """Improves codes of a generator (a `Guidance`).

    Args:
        generator: One that can be climbed.
        n_steps: Of each climb.
        products: Where codes are kept.

    Raises:
        SettingsError: If it cannot be climbed.
    """

    def __init__(self, generator: ImageGenerator, n_steps: int, products: Products) -> None:
        if not isinstance(generator, DifferentiableGenerator):
            raise SettingsError(
                "an encoder cannot guide this generator",
                where="guide",
                expected="a generator with a differentiable decode(codes)",
                got=type(generator).__name__,
                remedy="choose another generator, or leave `guide` out",
            )
        self._space, self._digest = GeneratorSpace(generator), generator.digest
        self._products = products
        self._settings = AscentSettings(
            n_steps=n_steps,
            optimizer="gradient",
            learning_rate=LEARNING_RATE,
            networks="in_turn",
            evaluate_every=n_steps,
            transforms=TransformSettings(jitter_px=generator.image_size_px / 28, scale=0.05),
        )

    @property
    def digest(self) -> str:
        """Sha256 of the settings and the generator."""
        settings = document_digest(self._settings.model_dump(mode="json"))
        return combined_digest([settings, self._digest])

    def __call__(
        self, encoder: Encoder, objective: PluginChoice, codes: Codes, seeds: Sequence[int]
    ) -> Codes:
        """See `protocols.interfaces.Guidance`."""
        if not isinstance(encoder, SessionEncoder):
            raise DataError(
                "this encoder cannot be climbed",
                expected="one that the apparatus gave",
                got=type(encoder).__name__,
            )
        asked = document_digest([objective.model_dump(mode="json"), [int(s) for s in seeds]])
        parts = [self.digest, encoder.digest, asked, array_digest(np.ascontiguousarray(codes))]
        made = self._products.file(
            f"guided-{combined_digest(parts)[:32]}.safetensors",
            lambda path: self._climb(encoder, objective, codes, seeds, path),
        )
        return load_file(made.path)["codes"]

    def _climb(
        self,
        encoder: SessionEncoder,
        objective: PluginChoice,
        codes: Codes,
        seeds: Sequence[int],
        path: Path,
    ) -> None:
        goal = {"": plugins.create("stimloop.objectives", objective)}
        with one_thread(), self._products.telling("guiding the evolution") as tell:
            climbed = improve_codes(
                encoder.model,
                goal,
                self._space,
                self._settings,
                torch.from_numpy(np.array(codes, np.float32)),
                [int(seed) for seed in seeds],
                progress=lambda done, total: tell(done, total, ""),
                workers=n_cores(),
            ).numpy()
        before, after = (np.linalg.norm(each, axis=1, keepdims=True) for each in (codes, climbed))
        save_arrays(path, codes=np.asarray(climbed * before / np.maximum(after, 1e-12), np.float32))
