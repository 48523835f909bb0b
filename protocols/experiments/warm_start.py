"""Where an evolution starts: at the codes of natural images that drive the neurons already.

As published (Xiao & Kreiman 2020): natural images are shown, the best are inverted into codes, and
these are the optimizer's first population. Here they are shown in passes, each image once before any
is shown again, and scored by the evolution's own objective. The rest of the population lies among
the codes found: a child takes each number from one of two of them, and a part from the prior,

    code = √(1 − spread²) · child + spread · prior,

which leaves codes as long as the prior's where the prior is normal.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.experiments.comparison import best_natural, distinct
from protocols.experiments.normalisation import NormalisationSettings, Normaliser
from protocols.experiments.passes import Measured, StimulusSet, passes
from protocols.interfaces import Apparatus, CodeSampler, ImageGenerator, Objective, PhotographSet
from protocols.settings import Frozen
from protocols.vocabulary import Block, BlockResponses, Codes, Role, Timing

LABEL = "start"


class StartSettings(Frozen):
    """Natural images that an evolution starts from."""

    images: str = Field(default="embedded", description="natural: 'embedded', a folder or a zip")
    n_images: int = Field(default=200, ge=1, le=100_000, description="the first n")
    repetitions: int = Field(default=2, ge=1, le=1000, description="passes")
    images_per_block: int = Field(default=50, ge=1, le=1000)
    best: int = Field(default=10, ge=1, le=1000, description="how many are inverted")
    spread: float = Field(
        default=0.5, ge=0, le=1, description="part of the prior in codes drawn among those found"
    )


class Start(NamedTuple):
    """What was found."""

    natural: PhotographSet
    scores: NDArray[np.float64]
    """`(n_images,)`: the objective's, NaN where not measured."""
    sample_codes: CodeSampler
    """Draws the first population."""
    responses: NDArray[np.float64]
    """`(n_images, n_sites)`: counts on the evolution's scale."""

    def scored_again(self, objective: Objective, site_ids: Sequence[str]) -> Start:
        """By another objective."""
        return self._replace(scores=objective(self.responses, site_ids))


class Evolution(NamedTuple):
    """What of an evolution its start needs."""

    generator: ImageGenerator
    objective: Objective
    normalisation: NormalisationSettings
    timing: Timing


def warm_start(
    settings: StartSettings, evolution: Evolution, apparatus: Apparatus
) -> Generator[Block, BlockResponses, Start]:
    """Show natural images, invert the best.

    Where counts are normalised, these images are their own references. If none was measured, the
    evolution starts from the prior.
    """
    generator = evolution.generator
    invert = apparatus.inversion(generator)
    natural = distinct(
        apparatus.photographs(settings.images, settings.n_images, generator.image_size_px)
    )
    measured = yield from passes(
        StimulusSet.of(natural.images, Role.NATURAL, natural.names),
        settings.repetitions,
        settings.images_per_block,
        apparatus.random_stream("start order"),
        evolution.timing,
        label=LABEL,
        numbered=False,
        enough=lambda _: apparatus.steering.finishing,
    )
    responses = _on_scale(measured, evolution.normalisation)
    steering, objective = apparatus.steering, evolution.objective
    if steering.objective is not None:
        objective = apparatus.objective(steering.objective)
    scores = objective(responses, measured.site_ids)
    best = best_natural({"": scores}, settings.best)[""]
    if not best or steering.finishing:
        return Start(natural, scores, generator.sample_codes, responses)
    codes = invert(natural.images[list(best)])
    return Start(natural, scores, among(codes, generator.sample_codes, settings.spread), responses)


def _on_scale(measured: Measured, settings: NormalisationSettings) -> NDArray[np.float64]:
    """`(n_images, n_sites)`; gray is not shown here, and takes nothing away."""
    if settings.baseline == "blank":
        settings = settings.model_copy(update={"baseline": "none"})
    normalised = Normaliser(settings)
    not_shown = np.full(len(measured.site_ids), np.nan)
    normalised.learn(measured.site_ids, measured.means, not_shown)
    return normalised(measured.means)


def among(found: Codes, prior: CodeSampler, spread: float) -> CodeSampler:
    """Draws the codes `found` `(n_found, code_dim)` first, in their order, then others among them."""

    def sample(n: int, random: np.random.Generator) -> Codes:
        n_more = max(0, n - len(found))
        if n_more == 0:
            return found[:n].copy()
        shape = (n_more, found.shape[1])
        parents = random.integers(len(found), size=(2, n_more))
        from_first = random.random(shape, dtype=np.float32) < 0.5
        children = np.where(from_first, found[parents[0]], found[parents[1]])
        fresh = prior(n_more, random)
        drawn = np.float32(np.sqrt(1 - spread**2)) * children + np.float32(spread) * fresh
        return np.asarray(np.concatenate([found, drawn]), np.float32)

    return sample
