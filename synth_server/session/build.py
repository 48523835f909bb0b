"""From settings to plans: the apparatus that each thread's plan is given."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
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
from protocols.fields import EstimateSettings
from protocols.interfaces import (
    Apparatus,
    CodeSampler,
    Encoder,
    EncoderFit,
    FieldEstimation,
    ImageGenerator,
    ImageParts,
    Inversion,
    LoggedPopulation,
    Objective,
    Optimizer,
    Perturbation,
    PhotographSet,
    Plan,
    Synthesis,
)
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.steering import Steering
from protocols.vocabulary import Block, Images
from protocols.wire import WIRE_VERSION
from synth_server.session.conductor import Conductor
from synth_server.session.log import SessionLog, remove_log
from synth_server.session.placing import placed_thread, places_of
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
        self, choice: PluginChoice, sessions: Sequence[str], mixed: bool
    ) -> Encoder:
        """An encoder fitted to the logs of earlier days; the last hash of each stands for it."""
        from synth_server.recordings.days import joined_days

        fit = self.encoder_fit(choice)
        for path in sessions:
            log = SessionLog(Path(path))
            self.digests[f"session {path}"] = log.last_hash
            log.close()
        days = joined_days([Path(path) for path in sessions], mixed=mixed)
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


class ThreadApparatus:
    """What one thread's plan is given (an `Apparatus`); its randomness is its own."""

    def __init__(self, equipment: Equipment, seed: int, thread: str) -> None:
        self._equipment = equipment
        self._seed = seed
        self._thread = thread
        self.steering = Steering()

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

    def logged_population(self, session: str, thread: str) -> LoggedPopulation:
        """See `Equipment.logged_population`."""
        return self._equipment.logged_population(session, thread, self._thread)

    def encoder(self, file: str) -> Encoder:
        """See `Equipment.encoder`."""
        return self._given(self._equipment.encoder(file))

    def _given(self, encoder: Encoder) -> Encoder:
        self._equipment.predicted[self._thread] = encoder.site_ids
        return encoder

    def encoder_fit(self, choice: PluginChoice) -> EncoderFit:
        """See `Equipment.encoder_fit`."""
        return self._equipment.encoder_fit(choice)

    def encoder_of_sessions(
        self, choice: PluginChoice, sessions: Sequence[str], mixed: bool
    ) -> Encoder:
        """See `Equipment.encoder_of_sessions`."""
        return self._given(self._equipment.encoder_of_sessions(choice, sessions, mixed))

    def publish(self, name: str, text: str) -> None:
        """See `Equipment.publish`."""
        self._equipment.publish(name, text, self._thread)

    def synthesis(self, choice: PluginChoice, natural: Images) -> Synthesis:
        """See `Equipment.synthesis`."""
        return self._equipment.synthesis(choice, natural)

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
    threads = tuple(resolved_thread(thread) for thread in settings.threads)
    return settings.model_copy(update={"threads": threads})


def resolved_thread(thread: ThreadSettings) -> ThreadSettings:
    """One thread's settings with every default written out.

    Raises:
        PluginError: If its protocol is not installed.
        SettingsError: If its settings are wrong.
    """
    experiment = plugins.load("stimloop.protocols", thread.protocol)
    choice = PluginChoice(name=thread.protocol, options=thread.settings)
    checked = plugins.settings_of("stimloop.protocols", choice, experiment)
    return placed_thread(thread.model_copy(update={"settings": plugins.resolved(checked)}))


def build_plans(settings: SessionSettings, equipment: Equipment) -> dict[str, Plan]:
    """Thread name → fresh plan."""
    workshop = Workshop(settings.seed, equipment)
    return {thread.name: workshop.plan(thread) for thread in settings.threads}


class Workshop:
    """Makes a session's plans, also of threads that are added while it runs.

    Args:
        seed: The session's.
        equipment: What its threads share.
    """

    def __init__(self, seed: int, equipment: Equipment) -> None:
        self._seed, self._equipment = seed, equipment

    @property
    def digests(self) -> dict[str, str]:
        """See `Equipment.digests`."""
        return self._equipment.digests

    @property
    def predicted(self) -> dict[str, tuple[str, ...]]:
        """See `Equipment.predicted`."""
        return self._equipment.predicted

    def resolved(self, thread: ThreadSettings) -> ThreadSettings:
        """See `resolved_thread`."""
        return resolved_thread(thread)

    def forget(self, n_objectives: int, digests: Mapping[str, str]) -> None:
        """Undo what a plan that is not used has asked for."""
        del self._equipment.objectives[n_objectives:]
        self._equipment.digests.clear()
        self._equipment.digests.update(digests)

    def plan(self, thread: ThreadSettings) -> Plan:
        """A fresh plan; nothing of it has run."""
        experiment = plugins.load("stimloop.protocols", thread.protocol)
        choice = PluginChoice(name=thread.protocol, options=thread.settings)
        checked = plugins.settings_of("stimloop.protocols", choice, experiment)
        apparatus: Apparatus = ThreadApparatus(self._equipment, self._seed, thread.name)
        plan: Plan = experiment(checked, apparatus)
        return plan


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
        workshop = Workshop(settings.seed, equipment)
        session = Session(settings, log, conductor, equipment.objectives, workshop)
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
