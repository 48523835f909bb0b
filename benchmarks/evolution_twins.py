"""What evolution reaches on digital twins of V4 neurons, beside the best of 43,200 natural images.

The twins of session 190923 are the subjects: no generator was trained on them, and optimizer and
generator were settled on `DEVELOPED` neurons (the same parting as in `transfer`). 3,000
presentations: 75 generations of 40. An answer is a z-score. Reported, over an evolution's last
generation: the true answer of the image that was measured best, and the mean of all, ÷ the twin's
answer to the best of the session's 1,200 images, or of the 42,000 photographs of Tiny ImageNet.

With noise, a count is Poisson of `20 · (z − z_min) / (z_best − z_min)`: z_best is the best of the
session's images, which gives 20 spikes, and z_min the worst, which gives none.

While it evolves, a twin runs in bfloat16 (its answers are off by about 0.01); the answers that are
reported are not.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.encoder_data import recording_or_leave
from benchmarks.keeping import Kept
from benchmarks.results import table, write_section
from benchmarks.transfer import DEVELOPED, REPORTED
from benchmarks.twins import IMAGE_PX, SESSION, Twin, TwinPopulation, data_folder, seen_by_twin
from encoders.backbones import pixels_of, resized
from protocols import plugins
from protocols.experiments.evolve import EvolveSettings
from protocols.interfaces import ImageGenerator, Optimizer
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.vocabulary import Images
from synth_server.synthesis.constraints import Constraints, ConstraintSettings
from synth_server.synthesis.image_space import NATURAL_MEAN, NATURAL_RMS_CONTRAST
from synth_server.synthesis.photographs import load_photographs

N_GENERATIONS = 75
POPULATION = 40
SPIKES_AT_BEST = 20
N_SCREENED = 40
"""Photographs that a bfloat16 pass finds best, looked at again exactly."""
DEFAULTS = EvolveSettings()
NATURAL = ConstraintSettings(mean=NATURAL_MEAN, rms_contrast=NATURAL_RMS_CONTRAST)
FAST = {"deep": {"precision": "bfloat16"}}


class Condition(NamedTuple):
    """What one row evolves with."""

    generator: PluginChoice
    optimizer: PluginChoice
    poisson: bool = False


class Subject(NamedTuple):
    """A twin twice, and what natural images bring it to."""

    exact: Twin
    quick: nn.Module
    worst: float
    best: float

    def answers(self, images: Images, *, exact: bool) -> NDArray[np.float64]:
        """`(n, h, h, 3) uint8` → `(n,)` z-scores."""
        return _answers(self.exact if exact else self.quick, images, exact=exact)


def conditions() -> Mapping[str, Condition]:
    """Ours, noise-free and with counts; then one thing changed, noise-free."""
    generator, optimizer = DEFAULTS.generator, DEFAULTS.optimizer

    def drawn(name: str, **options: Any) -> Condition:
        return Condition(PluginChoice(name=name, options=options), optimizer)

    return {
        "default": Condition(generator, optimizer),
        "default, Poisson counts": Condition(generator, optimizer, poisson=True),
        "untrained decoder": drawn("deep", weights="untrained"),
        "pixel space": drawn("pixels"),
        "Fourier space": drawn("fourier"),
    }


def main() -> None:
    """`python -m benchmarks.evolution_twins [--neurons developed] [--only default]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", choices=("reported", "developed"), default="reported")
    parser.add_argument("--only", nargs="+", help="conditions by name; nothing is written")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()) / "stimloop-twins")
    parser.add_argument("--kept", type=Path, help="a file of results, so that a run can go on")
    parser.add_argument("--as-is", action="store_true", help="write only what --kept has in full")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    units = REPORTED if chosen.neurons == "reported" else DEVELOPED
    subjects = _subjects(chosen.cache, units)
    kept = Kept(chosen.kept)
    rows = {}
    for name, condition in conditions().items():
        names = [f"{name}|{unit}|{chosen.seed}" for unit in subjects]
        if (chosen.only and name not in chosen.only) or (chosen.as_is and not kept.has(names)):
            continue
        rows[name] = np.array(
            [
                kept.or_made(
                    f"{name}|{unit}|{chosen.seed}",
                    partial(evolve, condition, subject, unit, chosen.seed),
                )
                for unit, subject in subjects.items()
            ]
        )
        print(name, *_cells(rows[name], subjects, None), sep=" | ", flush=True)
    if not chosen.only:
        rows[f"best of {N_GENERATIONS * POPULATION:,} random codes"] = _searched(
            subjects, chosen.seed
        )
    if not chosen.only and chosen.neurons == "reported":
        _write(rows, subjects, _best_of_tiny(chosen.cache, subjects))


def evolve(condition: Condition, subject: Subject, unit: int, seed: int) -> tuple[float, ...]:
    """One evolution: true answers of the chosen image and of the last generation, and matched."""
    generator, optimizer = _made(condition, unit, seed)
    counts = random_stream(seed, "counts", unit)
    images: Images = np.empty((0, 0, 0, 3), np.uint8)
    measured = np.empty(0)
    for _ in range(N_GENERATIONS):
        codes = optimizer.ask()
        images = generator(codes)
        measured = subject.answers(images, exact=False)
        if condition.poisson:
            drive = (measured - subject.worst) / (subject.best - subject.worst)
            measured = counts.poisson(SPIKES_AT_BEST * drive.clip(0)).astype(np.float64)
        optimizer.tell(codes, measured)
    true = subject.answers(images, exact=True)
    winner = int(measured.argmax())
    matched = subject.answers(_matched(images[winner : winner + 1]), exact=True)
    return float(true[winner]), float(true.mean()), float(matched[0])


def _searched(subjects: Mapping[int, Subject], seed: int) -> NDArray[np.float64]:
    """As `evolve` returns it: random codes of the default generator, the same for all twins."""
    generator = _generator(DEFAULTS.generator)
    codes = generator.sample_codes(N_GENERATIONS * POPULATION, random_stream(seed, "random codes"))
    images = generator(codes)
    rows = []
    for subject in subjects.values():
        answers = _all_answers(subject.quick, images, exact=False)
        winner = images[[int(answers.argmax())]]
        true = subject.answers(winner, exact=True)[0]
        matched = subject.answers(_matched(winner), exact=True)[0]
        rows.append((true, answers.mean(), matched))
    return np.array(rows)


def _generator(choice: PluginChoice) -> ImageGenerator:
    options = {**FAST.get(choice.name, {}), **choice.options}
    generator: ImageGenerator = plugins.create(
        "stimloop.generators", PluginChoice(name=choice.name, options=options)
    )
    return generator


def _made(condition: Condition, unit: int, seed: int) -> tuple[ImageGenerator, Optimizer]:
    generator = _generator(condition.generator)
    chosen = condition.optimizer
    options = {**chosen.options, "population": POPULATION}
    optimizer: Optimizer = plugins.create(
        "stimloop.optimizers",
        PluginChoice(name=chosen.name, options=options),
        generator.sample_codes,
        random_stream(seed, "optimizer", unit),
    )
    return generator, optimizer


def _subjects(cache: Path, units: tuple[int, ...]) -> dict[int, Subject]:
    images = recording_or_leave(SESSION, repeats=False).images
    population = TwinPopulation(data_folder() / "v4" / "compact_models")
    found = {}
    for unit in units:
        exact = population.twin(unit)
        answers = _cached(cache / f"session-{unit}.npy", partial(_all_answers, exact, images))
        quick = _folded(copy.deepcopy(exact))
        found[unit] = Subject(exact, quick, float(answers.min()), float(answers.max()))
    return found


def _best_of_tiny(cache: Path, subjects: Mapping[int, Subject]) -> NDArray[np.float64]:
    """Each twin's answer to the photograph of Tiny ImageNet that it likes best; a minute a twin."""
    paths = {unit: cache / f"tiny-{unit}.npy" for unit in subjects}
    missing = [unit for unit, path in paths.items() if not path.is_file()]
    if missing:
        source = data_folder() / "natural" / "tiny_imagenet_train40k.zip"
        photographs = load_photographs(source, None, 64).images
        for unit, likely in _screened(photographs, [subjects[unit] for unit in missing], missing):
            np.save(paths[unit], _all_answers(subjects[unit].exact, likely).max(keepdims=True))
    return np.concatenate([np.load(path, allow_pickle=False) for path in paths.values()])


def _screened(
    photographs: Images, subjects: Sequence[Subject], units: Sequence[int]
) -> Iterator[tuple[int, Images]]:
    """Each unit with the photographs that its quick twin likes best; all twins see them in one pass."""
    twins = [copy.deepcopy(subject.quick).bfloat16() for subject in subjects]
    found = np.empty((len(twins), len(photographs)), np.float32)
    with torch.inference_mode():
        for at in range(0, len(photographs), 16):
            pixels = pixels_of(photographs[at : at + 16], torch.device("cpu"))
            values = seen_by_twin(resized(pixels, IMAGE_PX)).bfloat16()
            values = values.contiguous(memory_format=torch.channels_last)
            for row, twin in zip(found, twins, strict=True):
                row[at : at + 16] = twin(values)[:, 0].float().numpy()
            if at % 4000 == 0:
                print(f"{at} of {len(photographs)} photographs", flush=True)
    for unit, row in zip(units, found, strict=True):
        yield unit, photographs[np.sort(row.argsort()[-N_SCREENED:])]


def _cached(path: Path, compute: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, compute())
    return np.asarray(np.load(path, allow_pickle=False))


def _all_answers(twin: nn.Module, images: Images, *, exact: bool = True) -> NDArray[np.float64]:
    parts = [_answers(twin, images[at : at + 16], exact=exact) for at in range(0, len(images), 16)]
    return np.concatenate(parts)


@torch.no_grad()
def _answers(twin: nn.Module, images: Images, *, exact: bool) -> NDArray[np.float64]:
    values = seen_by_twin(resized(pixels_of(images, torch.device("cpu")), IMAGE_PX))
    if not exact:
        values = values.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=not exact):
        return np.asarray(twin(values)[:, 0].float().numpy(), np.float64)


def _folded(twin: Twin) -> nn.Module:
    """The same twin, each batch norm folded into the convolution before it."""
    parts: list[nn.Module] = []
    for part in twin.steps:
        if isinstance(part, nn.BatchNorm2d):
            _fold(parts[-1], part)
        else:
            parts.append(part)
    twin.steps = nn.Sequential(*parts).to(memory_format=torch.channels_last)
    return twin.eval()


def _fold(conv: nn.Module, norm: nn.BatchNorm2d) -> None:
    if not isinstance(conv, nn.Conv2d) or norm.running_mean is None or norm.running_var is None:
        raise TypeError(f"a batch norm after {type(conv).__name__} cannot be folded")
    gain = norm.weight / (norm.running_var + norm.eps).sqrt()
    bias = -norm.running_mean if conv.bias is None else conv.bias - norm.running_mean
    conv.weight = nn.Parameter(conv.weight * gain[:, None, None, None], requires_grad=False)
    conv.bias = nn.Parameter(bias * gain + norm.bias, requires_grad=False)


def _matched(images: Images) -> Images:
    """At the mean and RMS contrast of natural images."""
    pixels = pixels_of(images, torch.device("cpu"))
    levels = Constraints(NATURAL, images.shape[1]).levels(pixels)
    return np.asarray(levels.numpy())


def _cells(
    row: NDArray[np.float64],
    subjects: Mapping[int, Subject],
    of_tiny: NDArray[np.float64] | None,
) -> list[str]:
    best = np.array([subject.best for subject in subjects.values()])
    ratios = [row[:, 0] / best, row[:, 1] / best, row[:, 2] / best]
    if of_tiny is not None:
        ratios.insert(1, row[:, 0] / of_tiny)
    cells = [f"{np.median(each):.2f} ({_share(each)})" for each in ratios]
    return [cells[0] + f" {_interval(ratios[0])}", *cells[1:]]


def _share(ratios: NDArray[np.float64]) -> str:
    return f"{np.sum(ratios > 1)} of {len(ratios)}"


def _interval(ratios: NDArray[np.float64]) -> str:
    random = np.random.default_rng(0)
    drawn = np.median(ratios[random.integers(0, len(ratios), (10_000, len(ratios)))], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"[{low:.2f}–{high:.2f}]"


def _paired(default: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Median over neurons of the ratio; "–" for the default itself."""
    if np.array_equal(default, other):
        return "–"
    return f"{np.median(default / other):.2f} {_interval(default / other)}"


def _write(
    rows: Mapping[str, NDArray[np.float64]],
    subjects: Mapping[int, Subject],
    of_tiny: NDArray[np.float64],
) -> None:
    head = (
        f"{len(subjects)} neurons",
        "image measured best ÷ best of 1,200 session images (above 1) [95 % CI of the median]",
        "÷ best of 42,000 of Tiny ImageNet",
        "mean of the last generation ÷ best of 1,200",
        "image measured best, at natural mean and contrast",
        "default ÷ this, paired [95 % CI]",
    )
    default = rows["default"][:, 0]
    text = table(
        head,
        [
            (name, *_cells(row, subjects, of_tiny), _paired(default, row[:, 0]))
            for name, row in rows.items()
        ],
    )
    write_section(
        "Evolution on digital twins",
        "python -m benchmarks.evolution_twins",
        f"{text}\n\nMedian over neurons; {N_GENERATIONS} generations of {POPULATION}. The best "
        "natural images are taken as they are. Generator and optimizer were settled on the other "
        "11 neurons; one evolution a neuron. The deep generator drew in bfloat16.",
    )


if __name__ == "__main__":
    main()
