"""The Methods paragraphs of a session, written from the settings in its log.

Numbers and names only, as they stand in the log. What was measured is told as it was (`shown_methods`),
with the plan beside it where that differs. Threads that differ in nothing but what they drive
share a paragraph. What plug-ins are called stands in `choices`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protocols.digests import canonical_json
from protocols.documents import SessionStarted, ThreadSettings
from protocols.vocabulary import Timing
from synth_server.readers.evolution.gains import FINAL_GENERATIONS
from synth_server.readers.log.rig_record import RigRecord
from synth_server.readers.log.shown_times import Shown
from synth_server.readers.statistics.bootstrap import N_RESAMPLES
from synth_server.readers.statistics.significance import N_PERMUTATIONS
from synth_server.report import choices
from synth_server.report.rig_and_timing import (
    frame_ms_of,
    rig_paragraphs,
    timing_paragraph,
)
from synth_server.report.words import n_of, times

Settings = Mapping[str, Any]
MAX_NAMED = 6


def methods_of(
    start: SessionStarted, rig: RigRecord | None = None, shown: Mapping[str, Shown] | None = None
) -> tuple[str, ...]:
    """A paragraph for each kind of thread, some on the rig and on timing, one on statistics.

    Args:
        start: How the session began: its settings.
        rig: What the rig said of itself.
        shown: By thread, what was seen of its presentations; without, the plan alone is told.
    """
    groups = _alike(start.settings.threads)
    said = [_paragraph(threads) for threads in groups]
    said += rig_paragraphs(rig or RigRecord())
    timed = [threads for threads in groups if _timed(threads[0])]
    said += _timings(timed, shown or {}, frame_ms_of(rig or RigRecord()))
    versions = ", ".join(f"{name} {number}" for name, number in start.versions.items())
    said.append(
        f"All randomness derives from the seed {start.settings.seed}. Software: {versions}. Networks "
        f"ran on {start.device}."
    )
    return (*said, _statistics({thread.protocol for thread in start.settings.threads}))


def _alike(threads: Iterable[ThreadSettings]) -> list[list[ThreadSettings]]:
    """Threads by protocol and settings, whatever their objectives."""
    groups: dict[bytes, list[ThreadSettings]] = {}
    for thread in threads:
        rest = {name: value for name, value in thread.settings.items() if name != "objective"}
        groups.setdefault(canonical_json([thread.protocol, rest]), []).append(thread)
    return list(groups.values())


def _paragraph(threads: list[ThreadSettings]) -> str:
    write = PARAGRAPHS.get(threads[0].protocol, _any)
    return f"{_names(threads)}: {write(threads)}"


def _names(threads: list[ThreadSettings]) -> str:
    names = [thread.name for thread in threads]
    if len(names) > MAX_NAMED:
        return f"{names[0]} … {names[-1]} ({len(names)} threads)"
    return ", ".join(names)


def _evolve(threads: list[ThreadSettings]) -> str:
    one = threads[0].settings
    said = [
        f"images were evolved over {n_of(one['n_generations'], 'generation')} by "
        f"{choices.optimizer(one['optimizer'])}.",
        f"They were drawn by {choices.generator(one['generator'])}.",
        f"Fitness was {_and([choices.objective(t.settings['objective']) for t in threads])}.",
        f"{n_of(one['n_references'], 'natural reference image')} ({one['references']}) stood in every "
        f"block, and every image of a block was shown {times(one['repetitions'])}, in random order.",
    ]
    if one.get("continued"):
        said.append("It went on from the last population of an earlier session.")
    if one.get("start"):
        said.append(_start(one["start"]))
    if one.get("guide"):
        said.append(_guide(one["guide"]))
    said.append(_normalisation(one["normalisation"]))
    if one["test_repetitions"]:
        said.append(
            f"At the end the best {n_of(one['n_test_images'], 'evolved image')}, the best "
            f"{n_of(one['n_test_natural'], 'natural image')} and as many natural ones drawn at random "
            f"were shown together, {times(one['test_repetitions'])} each, in random order."
        )
    return " ".join(part for part in said if part)


def _start(start: Settings) -> str:
    return (
        f"It began from natural images: {start['n_images']} ({start['images']}) were shown "
        f"{times(start['repetitions'])}, and codes of the best {start['best']} were the first, "
        f"with {start['spread']:g} of the prior in codes drawn among them."
    )


def _guide(guide: Settings) -> str:
    source = (
        f"given ({guide['encoder']})"
        if guide["encoder"]
        else f"fitted to the evolution's own counts every {n_of(guide['every'], 'generation')}, from "
        f"{guide['least_images']} images on"
    )
    return (
        f"An encoder, {source}, guided {guide['share']:.0%} of a generation: codes were moved along "
        f"the mean of {n_of(guide['n_climbs'], 'climb')} of {n_of(guide['n_steps'], 'step')} from the "
        f"generation's centre; only {guide['probe']}, where guided codes had scored less than the "
        f"others over {n_of(guide['window'], 'generation')}."
    )


def _normalisation(how: Settings) -> str:
    said = []
    if how["baseline"] != "none":
        said.append(f"the baseline ({how['baseline']}) was subtracted from counts")
    if how["scale"] != "none":
        said.append(f"they were divided by the references' {how['scale']}")
    if not said:
        return "Counts were used as they are."
    return f"Over {n_of(how['window_blocks'], 'block')}, {' and '.join(said)}."


def _control(threads: list[ThreadSettings]) -> str:
    one = threads[0].settings
    mapping, shown = one["mapping"], one["comparison"]
    if one["candidates"] is None:
        said = [
            f"responses to {n_of(one['n_images'], 'natural image')} ({one['images']}) at "
            f"{one['image_size_px']} px were mapped, each shown {times(mapping['repetitions'])} in "
            f"random order, {mapping['images_per_block']} to a block."
        ]
    else:
        said = ["no responses were mapped: the best natural images were given."]
    if one["encoder"]:
        said.append(f"The encoder was {one['encoder']}.")
    else:
        said.append(f"To them, an encoder was fitted: {choices.fit(one['fit'])}.")
    targets = _said_of_targets(one["targets"])
    aim = threads[0].protocol.replace("_", "-")
    if _learns(one):
        said += _learning(one, targets, aim)
    else:
        said.append(
            f"For {targets}, {n_of(one['n_seeds'], f'{aim} image')} were synthesised by "
            f"{choices.synthesis(one['synthesis'])}."
        )
    controls = [f"the {n_of(shown['best_natural'], 'best natural image')} of each target"]
    if shown["contrast_gain"] != 1:
        controls.append(f"these at {shown['contrast_gain']:g} times their RMS contrast")
    if shown["noise"]:
        noise = "random images of the recipe " + one["synthesis"]["name"]
        controls.append(noise if _learns(one) else "the noise that each synthesis began from")
    said.append(
        f"They were shown among {', '.join(controls)}, {times(shown['repetitions'])} each, in random "
        "order."
    )
    if "temperature" in one:
        said.append(f"The softmax over z-scored responses had temperature {one['temperature']:g}.")
    return " ".join(said)


def _learns(one: Settings) -> bool:
    """Whether there were rounds; logs from before there were any say nothing of them."""
    return bool(one.get("learning", {}).get("rounds")) and not one["encoder"]


def _said_of_targets(targets: Any) -> str:
    if targets is None:
        return "every site"
    if isinstance(targets, dict):
        return (
            f"the sites (at most {targets['best']}) whose answers to natural images repeated best "
            f"(split-half reliability of at least {targets['least_reliability']:g})"
        )
    return n_of(len(targets), "site")


def _learning(one: Settings, targets: str, aim: str) -> list[str]:
    how = one["learning"]
    n_scratch = round(how["explore"] * how["n_images"])
    return [
        f"In {n_of(how['rounds'], 'round')}, {n_of(how['n_images'], 'image')} were made for "
        f"{targets}: {n_scratch} from scratch, by {choices.synthesis(how['from_scratch'])}, and "
        f"{how['n_images'] - n_scratch} from the {n_of(how['n_best'], 'best image')} so far (mean "
        f"counts shrunk to predictions), by {choices.synthesis(how['from_best'])}; each was shown "
        f"{times(how['repetitions'])}, and the encoder fitted again to all counts.",
        f"For the test, {_tested(one, targets, aim)}; their counts are fresh.",
    ]


def _tested(one: Settings, targets: str, aim: str) -> str:
    """Logs from before there was a choice say nothing of it: their images were new."""
    how, n = one["learning"], n_of(one["n_seeds"], f"{aim} image")
    n_made = how["rounds"] * how["n_images"]
    if how.get("test", "new") == "new" or n_made < one["n_seeds"]:
        return f"{n} for {targets} climbed from the best in the same way"
    return (
        f"the {n} for {targets} that did best in the rounds (by the same counts) were shown again"
    )


def _mapping(threads: list[ThreadSettings]) -> str:
    one = threads[0].settings
    n = "all" if one["n_images"] is None else str(one["n_images"])
    return (
        f"{n} natural images ({one['images']}) at {one['image_size_px']} px were shown "
        f"{times(one['repetitions'])} each, every image once before any again, in random order, "
        f"{one['images_per_block']} to a block."
    )


def _fields(threads: list[ThreadSettings]) -> str:
    one = threads[0].settings
    coarse, fine, how = one["coarse"], one["fine"], one["estimate"]
    said = (
        f"receptive fields were mapped with round patches of {n_of(one['n_textures'], 'texture')}, in "
        f"turn at each place, and plain gray among them ({one['blanks']:.0%} of the patches): "
        f"{_grid(coarse)} around ({one['centre_deg'][0]:g}°, {one['centre_deg'][1]:g}°)"
    )
    if fine["showings"]:
        said += f", then {_grid(fine)} around the median centre"
    return (
        f"{said}. Where fewer than {one['enough']:.0%} of the sites had a field, a grid was shown up to "
        f"{times(coarse['most_showings'])} (the fine one {times(fine['most_showings'])}). A field is a "
        "2-D Gaussian, covered in part by a patch; its centre, σ and amplitude, the textures' gains and "
        "a baseline were fitted to the counts by maximum likelihood (Poisson). A site has a field if "
        f"p < {how['alpha']:g} in a permutation test ({how['n_permutations']} permutations of places "
        f"within textures); intervals are 95 % of {how['n_bootstrap']} bootstrap resamples."
    )


def _grid(grid: Settings) -> str:
    return (
        f"{grid['n_across']} × {grid['n_across']} places {grid['step_deg']:g}° apart, patches of "
        f"{grid['patch_deg']:g}°, {times(grid['showings'])} each"
    )


def _any(threads: list[ThreadSettings]) -> str:
    one = threads[0]
    return (
        f"the laboratory's protocol {one.protocol}, whose settings stand in the session's "
        "configuration."
    )


PARAGRAPHS: Mapping[str, Callable[[list[ThreadSettings]], str]] = {
    "evolve": _evolve,
    "stretch": _control,
    "one_hot_population": _control,
    "map_responses": _mapping,
    "map_fields": _fields,
}


def _timed(thread: ThreadSettings) -> bool:
    return "timing" in thread.settings


def _timings(
    groups: list[list[ThreadSettings]], shown: Mapping[str, Shown], frame_ms: float
) -> list[str]:
    """One sentence if all share a timing, else one for each group."""
    timings = [threads[0].settings["timing"] for threads in groups]
    if len({canonical_json(timing) for timing in timings}) == 1:
        groups, timings = [[thread for threads in groups for thread in threads]], timings[:1]
    whose = [f" ({_names(threads)})" if len(groups) > 1 else "" for threads in groups]
    return [
        timing_paragraph(
            Timing.model_validate(timing),
            names,
            Shown().joined(shown[one.name] for one in threads if one.name in shown),
            frame_ms,
        )
        for timing, names, threads in zip(timings, whose, groups, strict=True)
    ]


def _statistics(protocols: set[str]) -> str:
    said = [
        "Statistics: confidence intervals are percentiles (2.5, 97.5) of "
        f"{N_RESAMPLES} bootstrap resamples of the repetitions of every image and, where several "
        "images are averaged, of the images. Intervals of medians resample sites or threads."
    ]
    if "evolve" in protocols:
        said.append(
            f"p-values are from two-sided permutation tests with {N_PERMUTATIONS} permutations. The "
            "best natural image was chosen among all natural images shown, on other counts than it "
            "was scored on. The gain is the mean response to the evolved images divided by the "
            "response to that image. Without a test at "
            f"the end, the last {FINAL_GENERATIONS} generations stand for the evolved images."
        )
    return " ".join(said)


def _and(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    different = list(dict.fromkeys(words))
    if len(different) < 2:
        return "".join(different)
    return f"{', '.join(different[:-1])} and {different[-1]}"
