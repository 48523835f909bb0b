"""Recipes: an image space and how to climb in it, as ours or as published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from protocols.errors import SettingsError
from protocols.settings import merged, validated
from synth_server.synthesis.ascent_settings import AscentSettings, RefinementSettings
from synth_server.synthesis.constraints import (
    ConstraintSettings,
    PenaltySettings,
    TransformSettings,
)
from synth_server.synthesis.generators.deep import DeepGenerator, DeepSettings
from synth_server.synthesis.image_space import (
    NATURAL_MEAN,
    NATURAL_MEANS,
    NATURAL_RMS_CONTRAST,
    GeneratorSpace,
    GeneratorSpaceSettings,
    ImageSpace,
    PixelSpace,
    PixelSpaceSettings,
    free_fourier_space,
)


class Recipe(NamedTuple):
    """An image space, and how to climb in it."""

    space: ImageSpace
    settings: AscentSettings


def stimloop_recipe(size_px: int = 112, *, colour: bool = True) -> Recipe:
    """Ours: first the codes of the bundled generator, then details in Fourier space.

    The generator is a learned prior: an image that only the encoder likes is none that it draws
    easily. What an encoder predicts rises less than in Fourier space, and what neurons do rises more,
    at more of them (`benchmarks/RESULTS.md`, digital twins of V4 neurons). Short steps in Fourier
    space add what it cannot draw. Natural mean and contrast, jitter and scale throughout.
    """
    settings = AscentSettings(
        n_steps=100,
        optimizer="gradient",
        learning_rate=0.1,
        n_candidates=64,
        refinement=RefinementSettings(n_steps=75),
        constraints=ConstraintSettings(
            mean=NATURAL_MEAN, rms_contrast=NATURAL_RMS_CONTRAST, grayscale=not colour
        ),
        transforms=TransformSettings(jitter_px=size_px / 14, scale=0.1),
    )
    return Recipe(
        GeneratorSpace(learned_prior(), GeneratorSpaceSettings(size_px=size_px)), settings
    )


@cache
def learned_prior() -> DeepGenerator:
    """The bundled generator, not repeated; loaded once."""
    return DeepGenerator(DeepSettings(tiles=1, code_dim=1024))


def fourier_recipe(size_px: int = 112, *, colour: bool = True) -> Recipe:
    """Without a learned prior: decorrelated Fourier space, natural mean and contrast, jitter and scale.

    Steps are plain steps of the gradient, whose length alone is set: an optimizer that gives every
    frequency a step of its own (Adam) fills an image with what the encoder hardly cares about, and
    neurons care (`benchmarks/RESULTS.md`).
    """
    settings = AscentSettings(
        n_steps=150,
        optimizer="gradient",
        learning_rate=0.5,
        constraints=ConstraintSettings(
            mean=NATURAL_MEAN, rms_contrast=NATURAL_RMS_CONTRAST, grayscale=not colour
        ),
        transforms=TransformSettings(jitter_px=size_px / 14, scale=0.1),
    )
    return Recipe(free_fourier_space(size_px, colour=colour), settings)


def quick_recipe(size_px: int = 112, *, colour: bool = True) -> Recipe:
    """`fourier` in a third of the time: each step asks one network of an ensemble.

    For the rounds of a session, in which an animal waits: what is made will be shown, and corrects
    the encoder. The mean is free as far as natural images have it, since sites tell bright from dark.
    """
    space, settings = fourier_recipe(size_px, colour=colour)
    constraints = ConstraintSettings(
        mean_within=NATURAL_MEANS, rms_contrast=NATURAL_RMS_CONTRAST, grayscale=not colour
    )
    changes = {
        "n_steps": 150, "networks": "in_turn", "evaluate_every": 25, "constraints": constraints
    }  # fmt: skip
    return Recipe(space, settings.model_copy(update=changes))


def short_recipe(size_px: int = 112, *, colour: bool = True) -> Recipe:
    """`quick` with short steps: from images that are known to be good, not far from them."""
    space, settings = quick_recipe(size_px, colour=colour)
    changes = {"n_steps": 20, "learning_rate": 0.2, "evaluate_every": 10}
    return Recipe(space, settings.model_copy(update=changes))


def npc_recipe(size_px: int = 299) -> Recipe:
    """That of Bashivan, Kar & DiCarlo (2019), from their public code (`dicarlolab/npc`).

    Gray pixels from uniform noise of at most ±0.5 in -1..1; 200 steps of 0.01 × gradient ÷ its
    standard deviation; rolled by up to ±19 px; total variation weighs 500; clipped to -1..1.
    """
    settings = AscentSettings(
        optimizer="gradient",
        learning_rate=0.01,
        cosine_decay=False,
        transforms=TransformSettings(jitter_px=19),
        penalties=PenaltySettings(total_variation=500),
    )
    return Recipe(PixelSpace(PixelSpaceSettings(size_px=size_px)), settings)


RECIPES: Mapping[str, Callable[[int], Recipe]] = {
    "stimloop": stimloop_recipe,
    "fourier": fourier_recipe,
    "quick": quick_recipe,
    "short": short_recipe,
    "npc": npc_recipe,
}


def recipe_of(
    name: str,
    size_px: int,
    *,
    moments: tuple[float, float] | None = None,
    means: tuple[float, float] | None = None,
    changes: Mapping[str, Any] | None = None,
    where: str = "recipe",
) -> Recipe:
    """A recipe by name.

    Args:
        name: One of `RECIPES`.
        size_px: Side of the images.
        moments: Mean and RMS contrast in 0..1 of natural images; they replace those of a recipe that
            fixes them.
        means: Least and largest natural mean; they replace those of a recipe that has such limits.
        changes: Settings in place of the recipe's, nested as in `AscentSettings`; they come last.
        where: Named in errors.

    Raises:
        SettingsError: If there is no such recipe, or a setting is unknown or out of range.
    """
    if name not in RECIPES:
        raise SettingsError("no such recipe", where=where, expected=", ".join(RECIPES), got=name)
    space, settings = RECIPES[name](size_px)
    values = settings.model_dump()
    for key, value in zip(("mean", "rms_contrast"), moments or (), strict=False):
        if values["constraints"][key] is not None:
            values["constraints"][key] = round(value, 4)
    if means and values["constraints"]["mean_within"] is not None:
        values["constraints"]["mean_within"] = tuple(round(value, 4) for value in means)
    _make_room(values["constraints"], (changes or {}).get("constraints"))
    return Recipe(space, validated(AscentSettings, merged(values, changes or {}), where=where))


def _make_room(constraints: dict[str, Any], asked: Any) -> None:
    """A mean that is asked for takes the place of a recipe's range of means, and the other way round."""
    for wanted, other in (("mean", "mean_within"), ("mean_within", "mean")):
        if isinstance(asked, Mapping) and asked.get(wanted) is not None:
            constraints[other] = None
