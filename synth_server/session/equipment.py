"""What a session's threads share: generators, objectives, photographs, encoders; each by its digest."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from protocols import plugins
from protocols.digests import array_digest, canonical_json
from protocols.documents import EventKind
from protocols.fields import EstimateSettings
from protocols.image_changes import ImageParts, Perturbation
from protocols.interfaces import (
    Encoder,
    EncoderFit,
    FieldEstimation,
    Guidance,
    ImageGenerator,
    Inversion,
    LoggedPopulation,
    Objective,
    PhotographSet,
    Synthesis,
)
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Images
from synth_server.session.log import SessionLog
from synth_server.session.products import Products
from synth_server.synthesis.photographs import load_photographs

logger = logging.getLogger(__name__)


class Equipment:
    """Generators, objectives, photographs and encoders, shared by a session's threads.

    Args:
        products: Where fits and syntheses are kept; None for nowhere.

    Attributes:
        digests: What was handed out → its digest; logged, since it decides what is proposed.
        objectives: Those handed out, to be checked against the recorded sites.
        products: Where fits and syntheses are kept.
        predicted: Thread → sites that the encoder predicts which it was given.
    """

    def __init__(self, products: Products | None = None) -> None:
        self.predicted: dict[str, tuple[str, ...]] = {}
        self.digests: dict[str, str] = {}
        self.objectives: list[Objective] = []
        self.products = products or Products()
        self._generators: dict[bytes, ImageGenerator] = {}
        self._published: dict[str, str] = {}
        self._maps_fields = False

    def generator(self, choice: PluginChoice) -> ImageGenerator:
        """The chosen generator; loaded once."""
        key = canonical_json(choice.model_dump(mode="json"))
        if key not in self._generators:
            generator: ImageGenerator = plugins.create("stimloop.generators", choice)
            self._generators[key] = generator
            self.digests[f"generator {key.decode()}"] = generator.digest
        return self._generators[key]

    def photographs(self, source: str, n: int | None, size_px: int) -> PhotographSet:
        """Natural images; none at all for `n` = 0."""
        if n == 0:
            return PhotographSet(np.empty((0, size_px, size_px, 3), dtype=np.uint8), ())
        found = load_photographs(source, n, size_px)
        name = f"photographs {source}, {len(found.images)} of {size_px} px"
        self.digests[name] = array_digest(found.images)
        return found

    def logged_blocks(self, session: str) -> Iterator[Block]:
        """The blocks of another session's log; the log's last hash stands for all of it."""
        log = SessionLog(Path(session))
        self.digests[f"session {session}"] = log.last_hash
        try:
            for event in log.events(EventKind.BLOCK_PROPOSED):
                yield log.block(event)
        finally:
            log.close()

    def logged_population(self, session: str, thread: str, namesake: str) -> LoggedPopulation:
        """The last answered generation of an earlier session; the log's last hash stands for it."""
        from synth_server.session.populations import last_population

        log = SessionLog(Path(session))
        self.digests[f"session {session}"] = log.last_hash
        try:
            return last_population(log, thread, namesake)
        finally:
            log.close()

    # Torch is imported only where an encoder is asked for.

    def encoder(self, file: str) -> Encoder:
        """The encoder in `file`."""
        from synth_server.session.encoders import SessionEncoder

        encoder = SessionEncoder.of(Path(file), self.products)
        self.digests[f"encoder {file}"] = encoder.digest
        return encoder

    def encoder_fit(self, choice: PluginChoice) -> EncoderFit:
        """The chosen way to fit encoders; its networks are loaded now, and must be there."""
        from synth_server.session.encoders import SessionFit

        fit = SessionFit(choice, self.products)
        self.digests[f"fit {canonical_json(choice.model_dump(mode='json')).decode()}"] = fit.digest
        return fit

    def guidance(self, generator: ImageGenerator, n_steps: int) -> Guidance:
        """How an encoder improves the generator's codes."""
        from synth_server.session.guidance import SessionGuidance

        found = SessionGuidance(generator, n_steps, self.products)
        self.digests[f"guidance {n_steps} steps {generator.digest}"] = found.digest
        return found

    def inversion(self, generator: ImageGenerator) -> Inversion:
        """How codes of `generator` are found for given images."""
        from synth_server.session.inversions import SessionInversion

        found = SessionInversion(generator, self.products)
        self.digests[f"inversion {generator.digest}"] = found.digest
        return found

    def synthesis(self, choice: PluginChoice, natural: Images) -> Synthesis:
        """The chosen recipe, at the mean and contrast of `natural`."""
        from synth_server.session.encoders import SessionSynthesis

        made = SessionSynthesis(choice, natural, self.products)
        name = canonical_json(choice.model_dump(mode="json")).decode()
        self.digests[f"synthesis {name}, {natural.shape[1]} px"] = made.digest
        return made

    def fields(
        self,
        settings: EstimateSettings,
        window_s: tuple[float, float],
        edge_deg: float,
        thread: str,
    ) -> FieldEstimation:
        """Estimates of receptive fields; the first thread's go to `fields.json`."""
        from synth_server.session.fields import SessionFields

        name = f"fields-{thread}" if self._maps_fields else "fields"
        self._maps_fields = True
        return SessionFields(settings, window_s, edge_deg, self.products, name)

    def encoder_of_sessions(
        self,
        choice: PluginChoice,
        sessions: Sequence[str],
        window_s: tuple[float, float] | None,
    ) -> Encoder:
        """An encoder fitted to the logs of earlier days; the last hash of each stands for it."""
        from synth_server.recordings.days import joined_days

        fit = self.encoder_fit(choice)
        for path in sessions:
            log = SessionLog(Path(path))
            self.digests[f"session {path}"] = log.last_hash
            log.close()
        days = joined_days(
            [Path(path) for path in sessions], mixed=window_s is None, today_s=window_s
        )
        for line in days.lines:
            logger.info("%s", line)
        return fit(days.images, days.responses, days.site_ids)

    def publish(self, name: str, text: str, thread: str) -> None:
        """A text for people; the first thread's has the plain name."""
        stem, _, ending = name.rpartition(".")
        if self._published.setdefault(name, thread) != thread:
            name = f"{stem}-{thread}.{ending}"
        self.products.publish(name, text)

    def perturbation(self, n_steps: int) -> Perturbation:
        """Small changes, found by climbs of so many steps."""
        from synth_server.session.variants import SessionPerturbation

        return SessionPerturbation(n_steps, self.products)

    def image_parts(self) -> ImageParts:
        """Parts of images by attribution."""
        from synth_server.session.variants import SessionParts

        return SessionParts(self.products)
