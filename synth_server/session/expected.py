"""How much a session will show, said before it begins: presentations, and minutes without a break."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from protocols.documents import ThreadSettings
from protocols.experiments.control import ControlSettings
from protocols.experiments.evolve import EvolveSettings
from protocols.experiments.map_fields import MapFieldsSettings
from protocols.experiments.map_responses import MapResponsesSettings
from protocols.experiments.mapped_encoder import VariantSettings
from protocols.experiments.perturb import PerturbSettings
from protocols.experiments.reduction import ReductionSettings
from protocols.experiments.site_choice import BestTargets
from protocols.settings import validated
from protocols.vocabulary import Timing

logger = logging.getLogger(__name__)
CONTROL = ("stretch", "one_hot_population")
KINDS_OF_PARTS = 4
"""Of a base and a share, at most: kept, removed, disc, patch."""
LONG_MINUTES = 60.0
"""A session of more is warned of."""


class Expected(NamedTuple):
    """What a thread will show at most, if every presentation is completed at once."""

    presentations: int
    minutes: float


def expected(thread: ThreadSettings, n_sites: int) -> Expected | None:
    """None where it cannot be said: a lab's own protocol, or images whose number is not known.

    Args:
        thread: With all defaults written out, or not.
        n_sites: Recorded ones.
    """
    values, where = thread.settings, thread.name
    n: int
    timing: Timing
    if thread.protocol == "map_fields":
        mapping = validated(MapFieldsSettings, values, where=where)
        n, timing = _of_fields(mapping), mapping.timing
    elif thread.protocol == "evolve":
        evolution = validated(EvolveSettings, values, where=where)
        population = evolution.optimizer.options.get("population")
        if population is None:
            return None
        n, timing = _of_evolution(evolution, int(population)), evolution.timing
    elif thread.protocol == "map_responses":
        responses = validated(MapResponsesSettings, values, where=where)
        if responses.n_images is None:
            return None
        n, timing = responses.n_images * responses.repetitions, responses.timing
    elif thread.protocol in CONTROL:
        known = {
            name: each for name, each in values.items() if name in ControlSettings.model_fields
        }
        control = validated(ControlSettings, known, where=where)
        n, timing = _of_control(control, n_sites), control.timing
    elif thread.protocol == "perturb":
        perturb = validated(PerturbSettings, values, where=where)
        a_base = 1 + len(perturb.radii) * (1 + 2 * _n_targets(perturb, n_sites))
        n, timing = _of_variants(perturb, perturb.n_bases * a_base), perturb.timing
    elif thread.protocol == "reduction":
        reduced = validated(ReductionSettings, values, where=where)
        a_base = 1 + KINDS_OF_PARTS * len(reduced.shares)
        n_images = _n_targets(reduced, n_sites) * reduced.n_bases * a_base
        n, timing = _of_variants(reduced, n_images), reduced.timing
    else:
        return None
    return Expected(n, n * _seconds(timing) / 60)


def _seconds(timing: Timing) -> float:
    """Of one presentation, its part of the pause between trials included; fixation comes on top."""
    pause_ms = sum(timing.inter_trial_ms) / 2 / timing.presentations_per_trial
    return (timing.on_ms + timing.off_ms + pause_ms) / 1000


def _of_fields(settings: MapFieldsSettings) -> int:
    """With `most_showings`: as many as it can become."""
    total = 0
    for grid in (settings.coarse, settings.fine):
        n = grid.n_across**2
        if grid.showings:
            total += grid.most_showings * (n + round(settings.blanks * n))
    return total


def _of_evolution(settings: EvolveSettings, population: int) -> int:
    n_references = settings.n_references
    a_block = (population + n_references) * settings.repetitions
    a_block += settings.normalisation.blanks_a_block
    start, n_start = settings.start, 0
    if start:
        n_start = start.n_images * start.repetitions
    kinds = 2 * settings.n_test_natural * (2 if start and n_references else 1)
    return (
        n_start
        + settings.n_generations * a_block
        + settings.test_repetitions * (settings.n_test_images + kinds)
    )


def _of_control(settings: ControlSettings, n_sites: int) -> int:
    comparison, learning = settings.comparison, settings.learning
    n_targets = len(settings.named_targets) or n_sites
    if isinstance(settings.targets, BestTargets):
        n_targets = min(settings.targets.best, n_sites)
    n_natural = comparison.best_natural * (2 if comparison.contrast_gain > 1 else 1)
    n_test = n_targets * (settings.n_seeds + n_natural) + settings.n_seeds * comparison.noise
    mapped = 0 if settings.candidates is not None else settings.mapping.repetitions
    taught = 0 if settings.has_encoder else learning.rounds
    check = settings.check
    n_checked = check.repetitions * min(check.n_images, settings.n_images) if check else 0
    return (
        n_checked
        + mapped * settings.n_images
        + taught * learning.repetitions * n_targets * learning.n_images
        + comparison.repetitions * n_test
    )


def _n_targets(settings: VariantSettings, n_sites: int) -> int:
    return len(settings.targets or ()) or n_sites


def _of_variants(settings: VariantSettings, n_variants: int) -> int:
    mapped = 0 if settings.encoder is not None else settings.mapping.repetitions
    return mapped * settings.n_images + settings.repetitions * n_variants


def said(threads: Sequence[ThreadSettings], n_sites: int) -> tuple[str, bool]:
    """In one line, and whether it is long; empty if nothing is known of any thread."""
    known = {thread.name: expected(thread, n_sites) for thread in threads}
    found = {name: each for name, each in known.items() if each is not None}
    if not found:
        return "", False
    n = sum(each.presentations for each in found.values())
    minutes = sum(each.minutes for each in found.values())
    text = f"at most {n:,} presentations, {minutes:.0f} minutes without a break"
    if len(found) > 1:
        text += " (" + "; ".join(f"{k}: {e.presentations:,}" for k, e in found.items()) + ")"
    unknown = [name for name, each in known.items() if each is None]
    if unknown:
        text += f"; besides {', '.join(unknown)}, which cannot be said beforehand"
    return text, minutes > LONG_MINUTES


def tell_length(session_id: str, threads: Iterable[ThreadSettings], n_sites: int) -> None:
    """Say in the server's output how much will be shown, before the first image is."""
    text, is_long = said(tuple(threads), n_sites)
    if is_long:
        logger.warning(
            "session %s: %s. Fewer targets (targets = { best = 12 }), seeds or repetitions make it shorter",
            session_id,
            text,
        )
    elif text:
        logger.info("session %s: %s", session_id, text)
