"""Encoders within a session: loaded, fitted to its own responses, and climbed to make images.

What is made here is kept as the session's products. What is handed out is what the file says, also
the first time: a session that was interrupted goes on with the very same numbers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import (
    LoadedEncoder,
    Provenance,
    Split,
    encoder_digest,
    image_marks,
    load_encoder,
    read_checkpoint,
    save_encoder,
)
from encoders.encoder import TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureStore
from encoders.fitting import FitSettings, fit, published
from encoders.natural import natural_means, natural_moments
from encoders.parallel import n_cores
from encoders.recording import Recording
from protocols import plugins
from protocols.digests import array_digest, combined_digest, document_digest
from protocols.errors import DataError, SettingsError
from protocols.interfaces import Encoder, SyntheticImages
from protocols.settings import PluginChoice, validated
from protocols.vocabulary import Images, Rates, check_images
from synth_server.session.products import Products, save_arrays
from synth_server.synthesis.ascent import improve, synthesize
from synth_server.synthesis.constraints import NaturalDistance, starting_images
from synth_server.synthesis.image_space import GeneratorSpace
from synth_server.synthesis.recipes import recipe_of

logger = logging.getLogger(__name__)
FITS: Mapping[str, Callable[[], FitSettings]] = {
    "two_stage": FitSettings,
    "published": published,
}
"""Ways to fit → their settings, which options change."""


@dataclass(frozen=True)
class SessionEncoder:
    """An `Encoder` from a file; `digest` is the sha256 of the file."""

    model: LoadedEncoder
    digest: str
    products: Products
    store: FeatureStore | None = None
    """Features of images that are asked for again; None: they are computed each time."""

    @classmethod
    def of(cls, path: Path, products: Products, store: FeatureStore | None = None) -> Self:
        """The encoder in a file of `synth-server fit`, or `units:NETWORK/LAYER@SIZE`.

        Raises:
            DataError: If it is missing, damaged, or of other networks than those installed.
        """
        model = load_encoder(path).encoder
        return cls(model, encoder_digest(path), products, store)

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Names of the predicted sites."""
        return self.model.site_ids

    def predict(self, images: Images) -> Rates:
        """`(n, h, w, 3) uint8` → `(n, n_sites)` spikes/s."""
        key = combined_digest([self.digest, array_digest(images)])
        made = self.products.file(
            f"predictions-{key[:32]}.safetensors", lambda path: self._predict(images, path)
        )
        return load_file(made.path)["rates"]

    def _predict(self, images: Images, path: Path) -> None:
        members = self.model.members if isinstance(self.model, EnsembleEncoder) else (self.model,)
        store = self.store or FeatureStore(workers=n_cores())
        with one_thread(), self.products.telling("predicting responses") as tell:
            for member in members:
                if isinstance(member, TwoStageEncoder):
                    store.features(member.tap, images, progress=tell)
            rates = self.model.predict(images, store)
        save_arrays(path, rates=rates)


class SessionFit:
    """Fits encoders to what the session recorded (an `EncoderFit`).

    Args:
        choice: `two_stage` or `published`, with settings of `encoders.fitting.FitSettings`.
        products: Where encoders are kept.

    Raises:
        SettingsError: If there is no such way to fit, or a setting is wrong.
        InstallationError: If a network's weights cannot be had.
    """

    def __init__(self, choice: PluginChoice, products: Products) -> None:
        if choice.name not in FITS:
            raise SettingsError(
                "no such way to fit an encoder",
                where="fit",
                expected=", ".join(FITS),
                got=choice.name,
            )
        base = FITS[choice.name]().model_dump()
        self.settings = validated(FitSettings, base | choice.options, where=f"fit {choice.name}")
        self._products = products
        self._store = FeatureStore(workers=n_cores())

    @property
    def digest(self) -> str:
        """Sha256 of the settings, and of the networks with their weights."""
        networks = [self._store.extractor(tap).digest for tap in self.settings.taps]
        return combined_digest([document_digest(self.settings.model_dump(mode="json")), *networks])

    def __call__(
        self,
        images: Images,
        responses: NDArray[np.float64],
        site_ids: Sequence[str],
        emphasis: NDArray[np.float64] | None = None,
    ) -> Encoder:
        """See `protocols.interfaces.EncoderFit`."""
        recording = Recording.of(images, responses, site_ids)
        usable = _usable(recording)
        parts = [self.digest, usable.digest]
        if emphasis is not None:
            columns = [recording.site_ids.index(site) for site in usable.site_ids]
            emphasis = np.ascontiguousarray(emphasis[columns].T)
            parts.append(array_digest(emphasis))
        key = combined_digest(parts)
        made = self._products.file(
            f"encoder-{key[:32]}.safetensors", lambda path: self._fit(usable, emphasis, path)
        )
        _tell_scores(made.path)
        return SessionEncoder.of(made.path, self._products, self._store)

    def _fit(self, recording: Recording, emphasis: NDArray[np.float64] | None, path: Path) -> None:
        with one_thread(), self._products.telling("fitting") as tell:
            for tap in self.settings.taps:
                self._store.features(tap, recording.images, progress=tell)
            found = fit(
                recording,
                self.settings,
                self._store,
                tell,
                emphasis=emphasis,
                workers=n_cores(),
            )
        about = Provenance(
            data_digest=recording.digest,
            split=Split(train=tuple(range(recording.n_images))),
            settings=self.settings,
            candidates=found.candidates,
            natural=found.natural,
            trained_on=image_marks(recording.images),
            notes="fitted within a session",
        )
        save_encoder(path, found.encoder, about)


class SessionSynthesis:
    """Makes images by gradient ascent (a `Synthesis`).

    Args:
        choice: A recipe of `synth_server.synthesis.recipes`, with settings of its `AscentSettings`.
        natural: Where the recipe fixes mean and RMS contrast, they are the median of these images;
            where it limits the mean, the limits are those of nearly all of them.
        products: Where images are kept.

    Raises:
        SettingsError: If there is no such recipe, or a setting is wrong.
    """

    def __init__(self, choice: PluginChoice, natural: Images, products: Products) -> None:
        check_images(natural, where="natural images")
        self._recipe = recipe_of(
            choice.name,
            natural.shape[1],
            moments=natural_moments(natural),
            means=natural_means(natural),
            changes=choice.options,
            where=f"synthesis {choice.name}",
        )
        self._natural = natural
        self._products = products
        self._name = f"{choice.name}, {natural.shape[1]} px"

    @property
    def digest(self) -> str:
        """Sha256 of recipe, settings and generator, and of natural images that are climbed towards."""
        space, settings = self._recipe
        parts = [self._name, document_digest(settings.model_dump(mode="json"))]
        if settings.penalties.unnaturalness:
            parts.append(array_digest(self._natural))
        if isinstance(space, GeneratorSpace):
            parts.append(space.digest)
        return combined_digest(parts)

    def __call__(
        self, encoder: Encoder, objectives: Mapping[str, PluginChoice], seeds: Sequence[int]
    ) -> SyntheticImages:
        """See `protocols.interfaces.Synthesis`."""
        return self._made(encoder, objectives, seeds, None)

    def improved(
        self,
        encoder: Encoder,
        objectives: Mapping[str, PluginChoice],
        starts: Mapping[str, Images],
        seeds: Sequence[int],
    ) -> SyntheticImages:
        """See `protocols.interfaces.Synthesis`."""
        return self._made(encoder, objectives, seeds, starts)

    def _made(
        self,
        encoder: Encoder,
        objectives: Mapping[str, PluginChoice],
        seeds: Sequence[int],
        starts: Mapping[str, Images] | None,
    ) -> SyntheticImages:
        if not isinstance(encoder, SessionEncoder):
            raise DataError(
                "this encoder cannot be climbed",
                expected="one that the apparatus gave",
                got=type(encoder).__name__,
            )
        wanted = {name: choice.model_dump(mode="json") for name, choice in objectives.items()}
        asked = document_digest([list(wanted.items()), [int(seed) for seed in seeds]])
        parts = [self.digest, encoder.digest, asked]
        if starts is not None:
            parts += [array_digest(np.ascontiguousarray(starts[name])) for name in objectives]
        key = combined_digest(parts)
        made = self._products.file(
            f"images-{key[:32]}.safetensors",
            lambda path: self._ascend(encoder, objectives, seeds, starts, path),
        )
        return _read_images(made.path, list(objectives), seeds)

    def starting_images(self, seeds: Sequence[int]) -> Images:
        """See `protocols.interfaces.Synthesis`."""
        space, settings = self._recipe
        return starting_images(space, settings.constraints, [int(seed) for seed in seeds])

    def _ascend(
        self,
        encoder: SessionEncoder,
        objectives: Mapping[str, PluginChoice],
        seeds: Sequence[int],
        starts: Mapping[str, Images] | None,
        path: Path,
    ) -> None:
        space, settings = self._recipe
        needs_natural = bool(settings.penalties.unnaturalness)
        goals = {n: plugins.create("stimloop.objectives", c) for n, c in objectives.items()}
        names = [int(seed) for seed in seeds]
        n_images = len(objectives) * len(names)
        with one_thread(), self._products.telling(f"synthesising {n_images} images") as tell:
            how: dict[str, Any] = {
                "natural": NaturalDistance(self._natural) if needs_natural else None,
                "progress": lambda done, total: tell(done, total, ""),
                "workers": n_cores(),
            }
            if starts is None:
                made = synthesize(encoder.model, goals, space, settings, names, **how)
            else:
                made = improve(encoder.model, goals, settings, starts, names, **how)
        save_arrays(path, images=made.images, predicted=made.predicted)


def _usable(recording: Recording) -> Recording:
    """The sites that can be fitted; the others are named in the server's output."""
    reasons = recording.unusable_sites()
    for site, why in reasons.items():
        logger.warning("site %s is left out of the fit: %s", site, why)
    usable = [site for site in recording.site_ids if site not in reasons]
    if not usable:
        recording.check_usable()
    return recording.of_sites(usable) if reasons else recording


def _tell_scores(path: Path) -> None:
    about, _ = read_checkpoint(path)
    best: dict[str, float] = {}
    for each in about.provenance.candidates:
        if each.median_r is not None:
            best[each.tap.label] = max(each.median_r, best.get(each.tap.label, -1.0))
    for label, r in best.items():
        logger.info("%s: r %.3f at the median site, cross-validated", label, r)


def _read_images(path: Path, names: Sequence[str], seeds: Sequence[int]) -> SyntheticImages:
    arrays = load_file(path)
    return SyntheticImages(
        arrays["images"],
        tuple(name for name in names for _ in seeds),
        tuple(int(seed) for _ in names for seed in seeds),
        arrays["predicted"],
    )
