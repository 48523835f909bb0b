"""What evolution reaches on units of a network that neither generator nor default subject uses.

Units of MobileNetV2 (`optimizer_units.REPORTED`: four layers, channels by a seeded stream, never
looked at while anything was chosen), noise-free, 75 generations of 40, the default generator and
optimizer. Reported is the response to the best image of the last generation, ÷ the response to the
best of the 1,000 ImageNet photographs and of the 42,000 of Tiny ImageNet. The network sees 64 px.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.optimizer_units import INPUT_PX, REPORTED, Layer, Unit, units_of
from benchmarks.results import table, write_section
from benchmarks.twins import data_folder
from protocols import plugins
from protocols.experiments.evolve import EvolveSettings
from protocols.interfaces import ImageGenerator, Optimizer
from protocols.seeds import random_stream
from protocols.settings import PluginChoice
from protocols.vocabulary import Images
from synth_server.synthesis.photographs import load_photographs

N_GENERATIONS, POPULATION = 75, 40
DEFAULTS = EvolveSettings()
SOURCES = {"imagenet_1000_256px.zip": 128, "tiny_imagenet_train40k.zip": INPUT_PX}


def main() -> None:
    """`python -m benchmarks.evolution_units --peers PEERS [--units 3]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=3, help="of each layer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peers", type=Path, help="where the weights of MobileNetV2 are")
    parser.add_argument("--draft", action="store_true", help="print only")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    generator: ImageGenerator = plugins.create(
        "stimloop.generators", PluginChoice(name="deep", options={"precision": "bfloat16"})
    )
    photographs = [
        load_photographs(data_folder() / "natural" / name, None, size).images
        for name, size in SOURCES.items()
    ]
    rows, ratios = [], []
    for name in REPORTED.layers:
        layer = Layer(REPORTED.network, name, chosen.peers)
        units = units_of(layer, generator, chosen.units, REPORTED.seed)
        reached = evolve(layer, units, generator, chosen.seed)
        best = natural(layer, units, photographs)
        ratios.append(reached / best)
        rows.append(
            (name, *(f"{r:.2f}" for r in np.median(ratios[-1], axis=1)), _share(ratios[-1]))
        )
        print(rows[-1], np.round(ratios[-1], 2).tolist(), flush=True)
    everything = np.concatenate(ratios, axis=1)
    rows.append(
        ("all", *(f"**{r:.2f}**" for r in np.median(everything, axis=1)), _share(everything))
    )
    head = (f"{chosen.units} units a layer", "÷ best of 1,000 ImageNet", "÷ best of 42,000 Tiny ImageNet",
            "above 1")  # fmt: skip
    text = f"{table(head, rows)}\n\nMedians over units, one evolution each."
    if chosen.draft:
        print(text)
    else:
        command = f"python -m benchmarks.evolution_units --units {chosen.units}"
        write_section("Evolution on units of a network", command, text)


def evolve(
    layer: Layer, units: list[Unit], generator: ImageGenerator, seed: int
) -> NDArray[np.float64]:
    """`(n_units,)`: the best response of each unit's last generation; all units side by side."""
    optimizers = [_optimizer(unit, generator, seed) for unit in units]
    last = np.zeros((len(units), POPULATION))
    for _ in range(N_GENERATIONS):
        for number, (unit, optimizer) in enumerate(zip(units, optimizers, strict=True)):
            codes = optimizer.ask()
            last[number] = layer.responses(generator(codes))[:, unit.channel]
            optimizer.tell(codes, last[number])
    return np.asarray(last.max(axis=1))


def natural(layer: Layer, units: list[Unit], sources: list[Images]) -> NDArray[np.float64]:
    """`(n_sources, n_units)`: the best response to any of each source's photographs."""
    channels = [unit.channel for unit in units]
    best = [
        np.max(
            [layer.responses(part)[:, channels].max(axis=0) for part in _parts(images)],
            axis=0,
        )
        for images in sources
    ]
    return np.array(best)


def _parts(images: Images) -> list[Images]:
    return np.array_split(images, max(1, len(images) // 400))


def _optimizer(unit: Unit, generator: ImageGenerator, seed: int) -> Optimizer:
    choice = DEFAULTS.optimizer
    options = {**choice.options, "population": POPULATION, "n_generations": N_GENERATIONS}
    optimizer: Optimizer = plugins.create(
        "stimloop.optimizers",
        PluginChoice(name=choice.name, options=options),
        generator.sample_codes,
        random_stream(seed, "optimizer", unit.name),
    )
    return optimizer


def _share(ratios: NDArray[np.float64]) -> str:
    """Above the best natural image of both sources."""
    return f"{int((ratios > 1).all(axis=0).sum())} of {ratios.shape[1]}"


if __name__ == "__main__":
    main()
