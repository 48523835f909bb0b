"""A guided evolution: an encoder proposes part of each generation, and the counts decide.

While an evolution climbs by counts alone, it learns about one direction of its many in a generation;
an encoder that was fitted to the same counts, image by image, knows a gradient. A guided generation
is the optimizer's own, but part of its codes are moved along that gradient,

    code ← code + (climbed − centre),

where `centre` is the mean of the generation's codes and `climbed` what a few steps up the encoder
make of it (several climbs, averaged). Both halves are shown among each other, and the optimizer is
told all codes with what they scored: guided codes that do better draw it along, those that do worse
push it away (injection; Hansen 2011, arXiv 1110.4181; surrogate gradients: Maheswaranathan et al.
2019, ICML). An encoder that is wrong costs part of a generation. Where the guided codes of the last
generations scored less than the others, only `probe` codes are guided until they score more again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.digests import image_id
from protocols.errors import DataError, SettingsError
from protocols.experiments.normalisation import Floats
from protocols.experiments.rounds import SEED_RANGE
from protocols.interfaces import (
    AdoptingOptimizer,
    Apparatus,
    Encoder,
    EncoderFit,
    Guidance,
    ImageGenerator,
    Objective,
    Optimizer,
)
from protocols.settings import Frozen, ObjectiveChoice, PluginChoice
from protocols.vocabulary import Codes, Images

QUICK_TAPS = [
    {"backbone": name, "layer": layer, "input_px": 80, "weights": "robust"}
    for name in ("efficientnet_lite0", "efficientnet_lite2")
    for layer in ("blocks.2", "blocks.3")
]
QUICK_FIT = PluginChoice(
    name="two_stage",
    options={
        "taps": QUICK_TAPS,
        "penalties": [{"spatial": 0.3, "mixing": 0.3, "smoothness": 1.0}],
    },
)
"""Two networks, and no search for penalties: it is fitted again and again."""


class GuideSettings(Frozen):
    """An encoder that proposes part of each generation."""

    encoder: str | None = Field(
        default=None, description="a file; fitted to the evolution's own counts if not given"
    )
    share: float = Field(default=0.5, gt=0, lt=1, description="part of a generation that is guided")
    probe: int = Field(
        default=2, ge=0, le=1000, description="codes that are guided while it does not pay"
    )
    window: int = Field(
        default=5, ge=1, le=1000, description="generations by which it is told whether it pays"
    )
    least_images: int = Field(
        default=200, ge=2, le=1_000_000, description="shown before the first fit"
    )
    every: int = Field(default=5, ge=1, le=1000, description="generations from one fit to the next")
    n_climbs: int = Field(default=2, ge=1, le=100, description="climbs whose mean guides")
    n_steps: int = Field(default=6, ge=1, le=1000, description="of each climb")
    fit: PluginChoice | None = Field(
        default=None, description="how; not given: two networks, one penalty, soon over"
    )


class Answers:
    """All images so far, each once, and the mean of what it drew, on the evolution's scale."""

    def __init__(self) -> None:
        self._images: dict[str, NDArray[np.uint8]] = {}
        self._sums: dict[str, Floats] = {}
        self._n: dict[str, NDArray[np.int64]] = {}

    def __len__(self) -> int:
        """How many different images."""
        return len(self._images)

    def add(self, images: Images, responses: Floats) -> None:
        """`(n, h, w, 3) uint8` and `(n, n_sites)`, NaN where not measured."""
        for image, row in zip(images, responses, strict=True):
            key, known = image_id(image), np.isfinite(row)
            self._images.setdefault(key, image)
            self._sums[key] = self._sums.get(key, np.zeros(len(row))) + np.where(known, row, 0.0)
            self._n[key] = self._n.get(key, np.zeros(len(row), np.int64)) + known

    @property
    def images(self) -> Images:
        """`(n, h, w, 3) uint8`."""
        return np.stack(list(self._images.values()))

    @property
    def means(self) -> Floats:
        """`(n, n_sites)`, NaN where never measured."""
        n = np.stack(list(self._n.values()))
        sums = np.stack(list(self._sums.values()))
        return np.asarray(np.where(n > 0, sums / np.maximum(n, 1), np.nan))


class Guide:
    """Proposes codes by an encoder, and sees whether it pays.

    Args:
        settings: How.
        fit: Makes encoders of counts; None where one is given.
        encoder: The one that is given.
        guidance: Improves codes.
        aim: What is maximised, as an encoder is asked and as counts are scored.
        seeds: Of climbs.
    """

    def __init__(
        self,
        settings: GuideSettings,
        fit: EncoderFit | None,
        encoder: Encoder | None,
        guidance: Guidance,
        aim: tuple[ObjectiveChoice, Objective],
        seeds: np.random.Generator,
    ) -> None:
        self._settings, self._fit, self._encoder = settings, fit, encoder
        self._guidance, self._aim, self._seeds = guidance, aim, seeds
        self._answers = Answers()
        self._since_fit = settings.every
        self._advantages: deque[float] = deque(maxlen=settings.window)

    @classmethod
    def of(
        cls,
        settings: GuideSettings,
        apparatus: Apparatus,
        generator: ImageGenerator,
        objective: ObjectiveChoice,
    ) -> Self:
        """From an apparatus.

        Raises:
            SettingsError, DataError: If the generator cannot be climbed, or there is no such encoder.
        """
        given = apparatus.encoder(settings.encoder) if settings.encoder is not None else None
        score = apparatus.objective(objective)
        if given is not None:
            score.sites(given.site_ids)
        fit = apparatus.encoder_fit(settings.fit or QUICK_FIT) if given is None else None
        guidance = apparatus.guidance(generator, settings.n_steps)
        aim = (objective, score)
        return cls(settings, fit, given, guidance, aim, apparatus.random_stream("guide"))

    def aim(self, choice: ObjectiveChoice, score: Objective) -> None:
        """Guide to something else from now on; what it brought for the old aim is forgotten."""
        self._aim = (choice, score)
        self._advantages.clear()

    @property
    def n_guided(self) -> float:
        """Part of the next generation that is guided, or a number of codes if it does not pay."""
        pays = not self._advantages or float(np.mean(self._advantages)) >= 0
        return self._settings.share if pays else float(self._settings.probe)

    def proposed(self, optimizer: Optimizer, asked: Codes) -> tuple[Codes, tuple[bool, ...]]:
        """The generation to show, and which of its codes are guided: the last ones.

        The optimizer adopts them.
        """
        n = self._number(len(asked))
        encoder = self._encoder
        if encoder is None or not n or not _is_able(encoder, self._aim[1]):
            return asked, (False,) * len(asked)
        climbs, centre = self._settings.n_climbs, asked.mean(axis=0)
        seeds = self._seeds.choice(SEED_RANGE, size=climbs, replace=False).tolist()
        length = np.linalg.norm(asked, axis=1).mean() / max(float(np.linalg.norm(centre)), 1e-12)
        start = np.asarray(centre * length, np.float32)
        climbed = self._guidance(
            encoder, self._aim[0], np.repeat(start[None], climbs, axis=0), seeds
        )
        moved = asked[-n:] + (climbed - start).mean(axis=0)
        scale = np.linalg.norm(asked[-n:], axis=1, keepdims=True) / np.maximum(
            np.linalg.norm(moved, axis=1, keepdims=True), 1e-12
        )
        codes = np.concatenate([asked[:-n], np.asarray(moved * scale, np.float32)])
        adopting(optimizer).adopt(codes)
        return codes, (False,) * (len(asked) - n) + (True,) * n

    def learn(
        self,
        shown: Sequence[tuple[Images, Floats]],
        site_ids: Sequence[str],
        fitness: Floats,
        guided: Sequence[bool],
    ) -> None:
        """Take in a generation.

        Args:
            shown: Images `(n, h, w, 3)` and what they drew, `(n, n_sites)`, NaN where not measured.
            site_ids: The columns of that.
            fitness: `(population,)`: what the codes scored, NaN where not measured.
            guided: `(population,)`: which of them were guided.
        """
        is_guided = np.array(guided, bool)
        measured = np.isfinite(fitness)
        own, other = fitness[measured & is_guided], fitness[measured & ~is_guided]
        if len(own) and len(other):
            self._advantages.append(float(own.mean() - other.mean()))
        if self._fit is not None:
            self._learn_from(self._fit, shown, site_ids)

    def _learn_from(
        self, fit: EncoderFit, shown: Sequence[tuple[Images, Floats]], site_ids: Sequence[str]
    ) -> None:
        for images, responses in shown:
            self._answers.add(images, responses)
        self._since_fit += 1
        is_enough = len(self._answers) >= self._settings.least_images
        if is_enough and self._since_fit >= self._settings.every:
            self._since_fit = 0
            self._encoder = _fitted(fit, self._answers, site_ids)

    def _number(self, population: int) -> int:
        """Codes of the next generation that are guided; at least one is the optimizer's own."""
        part = self.n_guided
        n = round(part * population) if part < 1 else int(part)
        return max(0, min(n, population - 1))


def _fitted(fit: EncoderFit, answers: Answers, site_ids: Sequence[str]) -> Encoder | None:
    """To all images so far; None where no site can be fitted yet."""
    try:
        return fit(answers.images, answers.means.T[:, :, None], site_ids)
    except DataError:
        return None


def _is_able(encoder: Encoder, score: Objective) -> bool:
    """Whether it predicts the sites of an objective."""
    try:
        score.sites(encoder.site_ids)
    except SettingsError:
        return False
    return True


def adopting(optimizer: Optimizer) -> AdoptingOptimizer:
    """The optimizer, which learns from codes of others.

    Raises:
        SettingsError: If it does not.
    """
    if isinstance(optimizer, AdoptingOptimizer):
        return optimizer
    raise SettingsError(
        "this optimizer cannot be guided",
        where="guide",
        expected="an optimizer with adopt(codes)",
        got=type(optimizer).__name__,
        remedy="choose another optimizer, or leave `guide` out",
    )
