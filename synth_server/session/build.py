"""From settings to plans: the apparatus that each thread's plan is given."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from protocols import plugins
from protocols.digests import array_digest, canonical_json
from protocols.documents import (
    LOG_VERSION,
    EventKind,
    SessionSettings,
    SessionStarted,
    ThreadSettings,
)
from protocols.errors import SettingsError
from protocols.fields import EstimateSettings, FieldPlace
from protocols.interfaces import (
    Apparatus,
    CodeSampler,
    Encoder,
    EncoderFit,
    FieldEstimation,
    Guidance,
    ImageGenerator,
    ImageParts,
    Inversion,
    Objective,
    Optimizer,
    Perturbation,
    PhotographSet,
    Plan,
    Synthesis,
)
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Images, Placement
from protocols.wire import WIRE_VERSION
from synth_server.session.conductor import Conductor
from synth_server.session.log import SessionLog, remove_log
from synth_server.session.products import Products, products_folder
from synth_server.session.session import Session
from synth_server.synthesis.photographs import load_photographs

logger = logging.getLogger(__name__)
VERSIONED = ("stimloop", "numpy", "torch", "torchvision", "scipy", "pydantic", "pyzmq")


class Equipment:
    """Generators, objectives, photographs and encoders, shared by a session's threads.

    Args:
        products: Where fits and syntheses are kept; None for nowhere.

    Attributes:
        digests: What was handed out → its digest; logged, since it decides what is proposed.
        objectives: Those handed out, to be checked against the recorded sites.
        products: Where fits and syntheses are kept.
    """

    def __init__(self, products: Products | None = None) -> None:
        self.digests: dict[str, str] = {}
        self.objectives: list[Objective] = []
        self.products = products or Products()
        self._generators: dict[bytes, ImageGenerator] = {}
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

    def guidance(self, generator: ImageGenerator, n_steps: int) -> Guidance:
        """How an encoder improves the generator's codes."""
        from synth_server.session.guidance import SessionGuidance

        found = SessionGuidance(generator, n_steps, self.products)
        self.digests[f"guidance {n_steps} steps {generator.digest}"] = found.digest
        return found

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

    def perturbation(self, n_steps: int) -> Perturbation:
        """Small changes, found by climbs of so many steps."""
        from synth_server.session.variants import SessionPerturbation

        return SessionPerturbation(n_steps, self.products)

    def image_parts(self) -> ImageParts:
        """Parts of images by attribution."""
        from synth_server.session.variants import SessionParts

        return SessionParts(self.products)


class ThreadApparatus:
    """What one thread's plan is given (an `Apparatus`); its randomness is its own."""

    def __init__(self, equipment: Equipment, seed: int, thread: str) -> None:
        self._equipment = equipment
        self._seed = seed
        self._thread = thread

    def generator(self, choice: PluginChoice) -> ImageGenerator:
        """See `Equipment.generator`."""
        return self._equipment.generator(choice)

    def inversion(self, generator: ImageGenerator) -> Inversion:
        """See `Equipment.inversion`."""
        return self._equipment.inversion(generator)

    def optimizer(
        self,
        choice: PluginChoice,
        generator: ImageGenerator,
        sample_codes: CodeSampler | None = None,
    ) -> Optimizer:
        """The chosen optimizer, starting from `sample_codes`, or else from the generator's prior."""
        optimizer: Optimizer = plugins.create(
            "stimloop.optimizers",
            choice,
            sample_codes or generator.sample_codes,
            self.random_stream(f"optimizer {choice.name}"),
        )
        return optimizer

    def objective(self, choice: PluginChoice) -> Objective:
        """The chosen objective."""
        objective: Objective = plugins.create("stimloop.objectives", choice)
        self._equipment.objectives.append(objective)
        return objective

    def photographs(self, source: str, n: int | None, size_px: int) -> PhotographSet:
        """See `Equipment.photographs`."""
        return self._equipment.photographs(source, n, size_px)

    def logged_blocks(self, session: str) -> Iterator[Block]:
        """See `Equipment.logged_blocks`."""
        return self._equipment.logged_blocks(session)

    def encoder(self, file: str) -> Encoder:
        """See `Equipment.encoder`."""
        return self._equipment.encoder(file)

    def encoder_fit(self, choice: PluginChoice) -> EncoderFit:
        """See `Equipment.encoder_fit`."""
        return self._equipment.encoder_fit(choice)

    def synthesis(self, choice: PluginChoice, natural: Images) -> Synthesis:
        """See `Equipment.synthesis`."""
        return self._equipment.synthesis(choice, natural)

    def guidance(self, generator: ImageGenerator, n_steps: int) -> Guidance:
        """See `Equipment.guidance`."""
        return self._equipment.guidance(generator, n_steps)

    def fields(
        self, settings: EstimateSettings, window_s: tuple[float, float], edge_deg: float
    ) -> FieldEstimation:
        """See `Equipment.fields`."""
        return self._equipment.fields(settings, window_s, edge_deg, self._thread)

    def perturbation(self, n_steps: int) -> Perturbation:
        """See `Equipment.perturbation`."""
        return self._equipment.perturbation(n_steps)

    def image_parts(self) -> ImageParts:
        """See `Equipment.image_parts`."""
        return self._equipment.image_parts()

    def random_stream(self, purpose: str) -> np.random.Generator:
        """The thread's stream for `purpose`, derived from the session's seed."""
        return random_stream(self._seed, "thread", self._thread, purpose)


def resolved(settings: SessionSettings) -> SessionSettings:
    """The same settings with every default written out, checked against each protocol's model.

    Raises:
        PluginError: If a thread's protocol is not installed.
        SettingsError: If its settings are wrong, or two threads have one name.
    """
    names = [thread.name for thread in settings.threads]
    if len(set(names)) < len(names):
        raise SettingsError("two threads have the same name", got=", ".join(names))
    threads = []
    for thread in settings.threads:
        experiment = plugins.load("stimloop.protocols", thread.protocol)
        choice = PluginChoice(name=thread.protocol, options=thread.settings)
        checked = plugins.settings_of("stimloop.protocols", choice, experiment)
        known = thread.model_copy(update={"settings": plugins.resolved(checked)})
        threads.append(_placed(known))
    return settings.model_copy(update={"threads": tuple(threads)})


def _placed(thread: ThreadSettings) -> ThreadSettings:
    """With the place that follows from mapped fields, if it is to; the log keeps both.

    Raises:
        SettingsError: If the fields cannot be read, or give no place.
    """
    if not isinstance(thread.place, FieldPlace):
        return thread
    where = f"thread {thread.name}: place by {thread.place.fields}"
    found, sites = thread.place.read(), thread.place.sites
    place = found.place(sites, where=where)
    for field in found.left_out(sites):
        logger.warning("%s: %s is left out: %s", where, field.site, field.why_not)
    logger.info("thread %s: images %s, by %s", thread.name, place, thread.place.fields)
    return thread.model_copy(update={"place": place, "placed_by": thread.place})


def build_plans(settings: SessionSettings, equipment: Equipment) -> dict[str, Plan]:
    """Thread name → fresh plan."""
    plans: dict[str, Plan] = {}
    for thread in settings.threads:
        experiment = plugins.load("stimloop.protocols", thread.protocol)
        choice = PluginChoice(name=thread.protocol, options=thread.settings)
        checked = plugins.settings_of("stimloop.protocols", choice, experiment)
        apparatus: Apparatus = ThreadApparatus(equipment, settings.seed, thread.name)
        plans[thread.name] = experiment(checked, apparatus)
    return plans


def new_session(settings: SessionSettings, path: Path) -> Session:
    """Build the plans, compute their first blocks, start the log.

    Raises:
        LogError: If there is a log at `path` already.
        SettingsError, PluginError: If the settings cannot be carried out.
    """
    settings = resolved(settings)
    equipment = Equipment(Products(products_folder(path)))
    conductor = Conductor(build_plans(settings, equipment), places_of(settings))
    start = SessionStarted(
        log_version=LOG_VERSION,
        wire_version=WIRE_VERSION,
        settings=settings,
        equipment=equipment.digests,
        versions=installed_versions(),
        device=device_name(),
    )
    log = SessionLog.create(path, start)
    try:
        session = Session(settings, log, conductor, equipment.objectives)
        equipment.products.interrupted = session.is_told_to_end
        session.advance()
    except BaseException:
        log.close()
        remove_log(path)
        raise
    return session


def installed_versions() -> dict[str, str]:
    """Versions of what decides a session's course."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def device_name() -> str:
    """The accelerator in use; `cpu` where there is none or torch was not needed."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())


def places_of(settings: SessionSettings) -> dict[str, Placement]:
    """Thread → where its images are shown that have no place of their own."""
    return {
        thread.name: thread.place
        for thread in settings.threads
        if isinstance(thread.place, Placement)
    }
