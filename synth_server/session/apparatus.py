"""What one thread's plan is given: the session's equipment, its own randomness, what it was told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from protocols import plugins
from protocols.fields import EstimateSettings
from protocols.image_changes import ImageParts, Perturbation
from protocols.interfaces import (
    CodeSampler,
    Encoder,
    EncoderFit,
    FieldEstimation,
    Guidance,
    ImageGenerator,
    Inversion,
    LoggedPopulation,
    Objective,
    Optimizer,
    PhotographSet,
    Synthesis,
)
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.steering import Steering
from protocols.vocabulary import Block, Images
from synth_server.session.equipment import Equipment


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

    def guidance(self, generator: ImageGenerator, n_steps: int) -> Guidance:
        """See `Equipment.guidance`."""
        return self._equipment.guidance(generator, n_steps)

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
        self,
        choice: PluginChoice,
        sessions: Sequence[str],
        window_s: tuple[float, float] | None,
    ) -> Encoder:
        """See `Equipment.encoder_of_sessions`."""
        return self._given(self._equipment.encoder_of_sessions(choice, sessions, window_s))

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
