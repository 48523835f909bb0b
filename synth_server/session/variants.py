"""Variants of images within a session: small changes, and parts by attribution; kept as products."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from encoders.attribution import integrated_gradients
from encoders.backbones.one_thread import one_thread
from encoders.masks import estimated_fields
from encoders.parts import best_part, disc, kept, random_patch, removed
from protocols import plugins
from protocols.digests import array_digest, combined_digest, document_digest
from protocols.errors import DataError
from protocols.image_changes import Changed
from protocols.interfaces import Encoder, Objective
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.vocabulary import Images
from synth_server.session.encoders import SessionEncoder
from synth_server.session.products import Products, save_arrays
from synth_server.synthesis.ball import climbed_in_ball, directions, random_change

logger = logging.getLogger(__name__)
ONE_LEVEL = 1.0
PARTS = ("kept", "removed", "disc", "patch")


class SessionPerturbation:
    """Small changes of images (a `Perturbation`).

    Args:
        n_steps: Of each climb.
        products: Where images are kept.
    """

    def __init__(self, n_steps: int, products: Products) -> None:
        self._n_steps, self._products = n_steps, products

    def __call__(
        self, encoder: Encoder, bases: Images, sites: Sequence[str], radius_levels: float
    ) -> list[Changed]:
        """See `protocols.interfaces.Perturbation`."""
        own = _own(encoder)
        if radius_levels < ONE_LEVEL:
            logger.warning(
                "a radius of %g gray levels is less than one step of the display: most pixels stay as "
                "they are, and the display's own noise may be larger",
                radius_levels,
            )
        found: list[Changed] = []
        for number in range(len(bases)):
            found += self._of_base(own, bases, number, sites, radius_levels)
        return found

    def _of_base(
        self,
        encoder: SessionEncoder,
        bases: Images,
        number: int,
        sites: Sequence[str],
        radius_levels: float,
    ) -> list[Changed]:
        base = bases[number]
        asked = document_digest([list(sites), radius_levels, self._n_steps])
        key = combined_digest([encoder.digest, array_digest(base), asked])

        def make(path: Path) -> None:
            with one_thread(), self._products.telling("perturbing images") as tell:
                done = 0

                def step(n: int) -> None:
                    nonlocal done
                    done += n
                    tell(done, 2 * len(sites) * self._n_steps, "")

                goals = directions(sites, _objective)
                made = climbed_in_ball(
                    encoder.model, goals, base, radius_levels, self._n_steps, tell=step
                )
                save_arrays(path, images=made.images)

        images = load_file(self._products.file(f"ball-{key[:32]}.safetensors", make).path)["images"]
        rates = encoder.predict(images)
        random = random_stream(0, "perturbation", array_digest(base), str(radius_levels))
        changed = [Changed("random", number, "", random_change(base, radius_levels, random), None)]
        for row, (site, kind) in enumerate((s, k) for s in sites for k in ("drive", "suppress")):
            rate = float(rates[row, encoder.site_ids.index(site)])
            changed.append(Changed(kind, number, site, images[row], rate))
        return changed


class SessionParts:
    """Parts of images by attribution (an `ImageParts`).

    Args:
        products: Where attributions are kept.
    """

    def __init__(self, products: Products) -> None:
        self._products = products

    def __call__(self, encoder: Encoder, bases: Images, site: str, share: float) -> list[Changed]:
        """See `protocols.interfaces.ImageParts`."""
        own = _own(encoder)
        key = combined_digest([own.digest, array_digest(bases), site])

        def make(path: Path) -> None:
            with one_thread(), self._products.telling("attributing") as tell:
                maps = integrated_gradients(own.model, bases, [site] * len(bases), progress=tell)
                save_arrays(path, maps=maps)

        name = f"attribution-{key[:32]}.safetensors"
        maps = load_file(self._products.file(name, make).path)["maps"]
        shape = (bases.shape[1], bases.shape[2])
        field = estimated_fields(own.model, shape)[own.site_ids.index(site)]
        random = random_stream(0, "random patch", array_digest(bases), site, str(share))
        named = np.stack([best_part(each, share) for each in maps])
        discs = np.stack([disc((field.x_px, field.y_px), shape, share)] * len(bases))
        patches = np.stack([random_patch(shape, share, random) for _ in bases])
        versions = (kept(bases, named), removed(bases, named), kept(bases, discs),
                    kept(bases, patches))  # fmt: skip
        changed = []
        for kind, images in zip(PARTS, versions, strict=True):
            rates = own.predict(images)[:, own.site_ids.index(site)]
            changed += [
                Changed(kind, number, site, image, float(rate))
                for number, (image, rate) in enumerate(zip(images, rates, strict=True))
            ]
        return changed


def _objective(plugin: str, site: str) -> Objective:
    made: Objective = plugins.create(
        "stimloop.objectives", PluginChoice(name=plugin, options={"site": site})
    )
    return made


def _own(encoder: Encoder) -> SessionEncoder:
    if not isinstance(encoder, SessionEncoder):
        raise DataError(
            "this encoder cannot be climbed",
            expected="one that the apparatus gave",
            got=type(encoder).__name__,
        )
    return encoder
