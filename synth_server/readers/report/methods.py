"""The Methods paragraphs of a session, written from the settings in its log.

Numbers and names only, as they stand in the log; threads that differ in nothing but what they drive
share a paragraph. A protocol of a lab's own is described by its settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from protocols.digests import canonical_json
from protocols.documents import SessionStarted, ThreadSettings
from protocols.vocabulary import Timing
from synth_server.readers.bootstrap import N_RESAMPLES
from synth_server.readers.evolution_gains import FINAL_GENERATIONS
from synth_server.readers.significance import N_PERMUTATIONS

Settings = Mapping[str, Any]
MAX_NAMED = 6


def methods_of(start: SessionStarted) -> tuple[str, ...]:
    """A paragraph for each kind of thread, one on timing, one on statistics."""
    groups = _alike(start.settings.threads)
    said = [_paragraph(threads) for threads in groups]
    said += _timings([threads for threads in groups if _timed(threads[0])])
    versions = ", ".join(f"{name} {number}" for name, number in start.versions.items())
    said.append(
        f"All randomness derives from the seed {start.settings.seed}. Software: {versions}; "
        f"networks ran on {start.device}."
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
        f"images were evolved over {_n(one['n_generations'], 'generation')} by the optimizer "
        f"{_choice(one['optimizer'])}, in the codes of the generator {_choice(one['generator'])}.",
        f"Fitness was the objective {'; '.join(_choice(t.settings['objective']) for t in threads)}.",
        f"{_n(one['n_references'], 'natural reference image')} ({one['references']}) stood in every "
        f"block; every image of a block was shown {_times(one['repetitions'])}, in random order.",
    ]
    if one.get("start"):
        said.append(_start(one["start"]))
    said.append(_normalisation(one["normalisation"]))
    if one["test_repetitions"]:
        said.append(
            f"At the end the best {_n(one['n_test_images'], 'evolved image')}, the best "
            f"{_n(one['n_test_natural'], 'natural image')} and as many natural ones drawn at random "
            f"were shown together, {_times(one['test_repetitions'])} each, in random order."
        )
    return " ".join(part for part in said if part)


def _start(start: Settings) -> str:
    return (
        f"It began from natural images: {start['n_images']} ({start['images']}) were shown "
        f"{_times(start['repetitions'])}, and codes of the best {start['best']} were the first, "
        f"with {start['spread']:g} of the prior in codes drawn among them."
    )


def _normalisation(how: Settings) -> str:
    said = []
    if how["baseline"] != "none":
        said.append(f"the baseline ({how['baseline']}) was subtracted from counts")
    if how["scale"] != "none":
        said.append(f"they were divided by the references' {how['scale']}")
    if not said:
        return "Counts were used as they are."
    return f"Over {_n(how['window_blocks'], 'block')}, {' and '.join(said)}."


def _control(threads: list[ThreadSettings]) -> str:
    one = threads[0].settings
    mapping, shown = one["mapping"], one["comparison"]
    if one["candidates"] is None:
        said = [
            f"responses to {_n(one['n_images'], 'natural image')} ({one['images']}) at "
            f"{one['image_size_px']} px were mapped, each shown {_times(mapping['repetitions'])} in "
            f"random order, {mapping['images_per_block']} to a block."
        ]
    else:
        said = ["no responses were mapped; the best natural images were given."]
    if one["encoder"]:
        said.append(f"The encoder was {one['encoder']}.")
    else:
        said.append(f"The encoder {_choice(one['fit'])} was fitted to them.")
    targets = "every site" if one["targets"] is None else _n(len(one["targets"]), "site")
    aim = threads[0].protocol.replace("_", "-")
    said.append(
        f"For {targets}, {_n(one['n_seeds'], f'{aim} image')} were synthesised by the recipe "
        f"{_choice(one['synthesis'])}."
    )
    controls = [f"the {_n(shown['best_natural'], 'best natural image')} of each target"]
    if shown["contrast_gain"] != 1:
        controls.append(f"these at {shown['contrast_gain']:g} times their RMS contrast")
    if shown["noise"]:
        controls.append("the noise that each synthesis began from")
    said.append(
        f"They were shown among {', '.join(controls)}, {_times(shown['repetitions'])} each, in random "
        "order."
    )
    if "temperature" in one:
        said.append(f"The softmax over z-scored responses had temperature {one['temperature']:g}.")
    return " ".join(said)


def _mapping(threads: list[ThreadSettings]) -> str:
    one = threads[0].settings
    n = "all" if one["n_images"] is None else str(one["n_images"])
    return (
        f"{n} natural images ({one['images']}) at {one['image_size_px']} px were shown "
        f"{_times(one['repetitions'])} each, every image once before any again, in random order, "
        f"{one['images_per_block']} to a block."
    )


def _any(threads: list[ThreadSettings]) -> str:
    one = threads[0]
    rest = {name: value for name, value in one.settings.items() if name != "timing"}
    return f"protocol {one.protocol} with {_listed(rest)}."


PARAGRAPHS: Mapping[str, Callable[[list[ThreadSettings]], str]] = {
    "evolve": _evolve,
    "stretch": _control,
    "one_hot_population": _control,
    "map_responses": _mapping,
}


def _timed(thread: ThreadSettings) -> bool:
    return "timing" in thread.settings


def _timings(groups: list[list[ThreadSettings]]) -> list[str]:
    """One sentence if all share a timing, else one for each group."""
    timings = [threads[0].settings["timing"] for threads in groups]
    if len({canonical_json(timing) for timing in timings}) == 1:
        groups, timings = groups[:1], timings[:1]
    whose = [f" ({_names(threads)})" if len(groups) > 1 else "" for threads in groups]
    pairs = zip(timings, whose, strict=True)
    return [_timing(Timing.model_validate(timing), names) for timing, names in pairs]


def _timing(timing: Timing, whose: str) -> str:
    low, high = timing.inter_trial_ms
    pause = f"{low:g} ms" if low == high else f"{low:g} to {high:g} ms"
    between = f", {pause} between trials" if high else ""
    return (
        f"Timing{whose}: an image was on for {timing.on_ms:g} ms, followed by {timing.off_ms:g} ms of "
        f"gray, {_n(timing.presentations_per_trial, 'image')} to a trial{between}. Spikes were "
        f"counted from {timing.count_start_ms:g} ms (included) to {timing.count_stop_ms:g} ms "
        "(excluded) after onset. A presentation that failed (fixation broken, a frame dropped, a gap "
        f"in the recording) was shown again, {_times(timing.max_attempts)} at most."
    )


def _statistics(protocols: set[str]) -> str:
    said = [
        "Statistics: confidence intervals are percentiles (2.5, 97.5) of "
        f"{N_RESAMPLES} bootstrap resamples of the repetitions of every image and, where several "
        "images are averaged, of the images; intervals of medians resample sites or threads."
    ]
    if "evolve" in protocols:
        said.append(
            f"p-values are from two-sided permutation tests with {N_PERMUTATIONS} permutations. The "
            "best natural image was chosen on other counts than it was scored on. Without a test at "
            f"the end, the last {FINAL_GENERATIONS} generations stand for the evolved images."
        )
    return " ".join(said)


def _n(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")


def _choice(choice: Settings) -> str:
    """`deep (code_dim 512, tiles 2)`."""
    options = _listed(choice.get("options", {}))
    return f"{choice['name']} ({options})" if options else str(choice["name"])


def _listed(options: Settings) -> str:
    return ", ".join(
        f"{name} {_value(value)}" for name, value in options.items() if value is not None
    )


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_listed(value)})"
    if isinstance(value, list):
        return "; ".join(_value(each) for each in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
