"""An evolution that goes on from the population of an earlier session."""

from __future__ import annotations

from pydantic import Field

from protocols.errors import SettingsError
from protocols.experiments.warm_start import among
from protocols.interfaces import Apparatus, CodeSampler, ImageGenerator
from protocols.settings import Frozen


class ContinuedSettings(Frozen):
    """Whose codes are the first: those of the last generation that was answered.

    If today's population is larger, the rest lies among them, as in a start from natural images.
    """

    session: str = Field(min_length=1, description="log of an earlier session")
    thread: str = Field(
        default="",
        max_length=64,
        description="its evolution; not given: the one of this name, or the only",
    )
    spread: float = Field(
        default=0.5, ge=0, le=1, description="part of the prior in codes drawn among those found"
    )


def continued(
    settings: ContinuedSettings, generator: ImageGenerator, apparatus: Apparatus
) -> CodeSampler:
    """Draws the first population.

    Raises:
        LogError: If the log cannot be read.
        SettingsError: If it has no such evolution, or another generator drew its images.
    """
    known = apparatus.logged_population(settings.session, settings.thread)
    if known.generator_digest != generator.digest or known.codes.shape[1] != generator.code_dim:
        raise SettingsError(
            "another generator drew the images of that session: its codes mean nothing to this one",
            where=f"continued: {settings.session}, thread {known.thread}",
            expected=f"a generator with digest {known.generator_digest[:16]}…",
            got=f"{generator.digest[:16]}…",
            remedy="choose the same generator, with the same options and weights",
        )
    return among(known.codes, generator.sample_codes, settings.spread)
