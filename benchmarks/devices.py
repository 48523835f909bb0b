"""Every path that may run on a GPU, there and on the CPU: does it give the same, and how much sooner?

What is compared, and how far it may differ (floating point sums have another order there):

- *features* of photographs: largest difference ÷ their standard deviation ≤ 0.01
- *fit*: correlation of the predictions of the two encoders over photographs, of every site ≥ 0.999
- *synthesis*: the median image's rate, as the CPU predicts it, ÷ that of the image made on the CPU:
  0.9 to 1.1 (images that climb through rounding errors are not the same images)
- *generator*: largest difference of pixels ≤ 2 levels
- *evolution*: the last generation's mean score ÷ that on the CPU: 0.9 to 1.1
- *service*: predictions of a process that hosts an encoder, largest difference ≤ 1 % of the rate

Each is timed once warm. With `--device cpu` both sides are the CPU: that shows that the script runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.results import table, write_section
from encoders.checkpoint import Provenance, load_encoder, save_encoder
from encoders.encoder import TwoStageEncoder
from encoders.features import FeatureExtractor, FeatureStore, Tap
from encoders.fitting import FitSettings, fit
from encoders.recording import Recording
from encoders.two_stage import Penalties
from protocols import plugins
from protocols.settings import PluginChoice
from protocols.vocabulary import Images
from protocols.wire.encoder_client import EncoderClient
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.objectives import SiteObjective, SiteSettings
from synth_server.synthesis.photographs import load_photographs
from synth_server.synthesis.recipes import recipe_of

SIZE_PX, N_IMAGES, N_SITES = 112, 200, 12
TAP = Tap(layer="blocks.3", input_px=SIZE_PX, weights="robust")
POPULATION, N_GENERATIONS = 40, 10
CLIMB = {"n_steps": 20, "n_candidates": 8, "refinement": {"n_steps": 10}}
Floats = NDArray[np.float64]


class Outcome(NamedTuple):
    """What a path gave on one device."""

    value: Any
    seconds: float


class Way(NamedTuple):
    """A path, and how two outcomes of it are compared."""

    run: Callable[[str], Any]
    compare: Callable[[Any, Any], tuple[str, bool]]


class Problem:
    """Photographs, sites that answer to random channels of the network, and an encoder of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images = load_photographs("embedded", N_IMAGES, SIZE_PX).images
        features = FeatureExtractor(TAP, device="cpu").backbone.features(self.images)
        random = np.random.default_rng(0)
        channels = random.choice(features.shape[1], N_SITES, replace=False)
        driven = features[:, channels].mean(dim=(2, 3)).numpy().astype(float)
        rates = 20 + 10 * (driven - driven.mean(0)) / driven.std(0)
        sites = tuple(f"site-{number:02d}" for number in range(N_SITES))
        self.recording = Recording.of(self.images, rates.T, sites)
        self.encoder = self.fitted("cpu")
        save_encoder(folder / "v4.safetensors", self.encoder, Provenance())

    def features(self, device: str) -> Floats:
        """Of the photographs."""
        return _floats(FeatureExtractor(TAP, device=device).backbone.features(self.images))

    def fitted(self, device: str) -> TwoStageEncoder:
        """An encoder of one layer, fitted there."""
        settings = FitSettings(taps=(TAP,), penalties=(Penalties(),))
        made = fit(self.recording, settings, FeatureStore(device=device)).encoder
        if not isinstance(made, TwoStageEncoder):
            raise TypeError("one tap makes one encoder")
        return made

    def synthesised(self, device: str) -> Images:
        """An image for each of four sites."""
        encoder = load_encoder(self.folder / "v4.safetensors", device=device).encoder
        recipe = recipe_of("fourier", SIZE_PX, changes=CLIMB)
        goals = {site: SiteObjective(SiteSettings(site=site)) for site in self.encoder.site_ids[:4]}
        return synthesize(encoder, goals, recipe.space, recipe.settings, [0]).images

    def drawn(self, device: str) -> Images:
        """By the bundled generator."""
        generator = _generator(device)
        codes = generator.sample_codes(POPULATION, np.random.default_rng(1))
        images: Images = generator(codes)
        return images

    def evolved(self, device: str) -> Floats:
        """Mean score of the last generation; the scores come from the encoder on the CPU."""
        generator = _generator(device)
        genetic = PluginChoice(name="genetic", options={"population": POPULATION})
        optimizer = plugins.create(
            "stimloop.optimizers", genetic, generator.sample_codes, np.random.default_rng(2)
        )
        for _ in range(N_GENERATIONS):
            codes = optimizer.ask()
            rates = self.encoder.predict(generator(codes))[:, 0]
            optimizer.tell(codes, rates)
        return np.array([rates.mean()])

    def served(self, device: str) -> Floats:
        """Predictions of a process that hosts the encoder; without CUDA it does not see one."""
        environment = {**os.environ, **({"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})}
        command = ["-m", "synth_server.cli", "host-encoders", "v4=v4.safetensors", "--port", "0"]
        process = subprocess.Popen(
            [sys.executable, *command, "--end-with-stdin"],
            cwd=self.folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        announced = process.stdout.readline() if process.stdout else ""
        with process, EncoderClient(json.loads(announced)["encoders"]) as client:
            rates = client.predict("v4", self.images)
            process.communicate("")
        return np.asarray(rates, float)

    # --- comparisons ---------------------------------------------------------------------------

    def same_features(self, there: Floats, here: Floats) -> tuple[str, bool]:
        """Largest difference in standard deviations."""
        apart = float(np.abs(there - here).max() / here.std())
        return f"{apart:.2g} SD", apart <= 0.01

    def same_fit(self, there: TwoStageEncoder, here: TwoStageEncoder) -> tuple[str, bool]:
        """Least correlation of predictions."""
        one, other = (np.asarray(each.predict(self.images)).T for each in (there, here))
        least = min(float(np.corrcoef(a, b)[0, 1]) for a, b in zip(one, other, strict=True))
        return f"r ≥ {least:.5f}", least >= 0.999

    def same_drive(self, there: Images, here: Images) -> tuple[str, bool]:
        """Ratio of the CPU's predictions."""
        rates = [np.diag(self.encoder.predict(each)[:, :4]) for each in (there, here)]
        ratio = float(np.median(rates[0] / rates[1]))
        return f"× {ratio:.3f}", 0.9 <= ratio <= 1.1

    def same_pixels(self, there: Images, here: Images) -> tuple[str, bool]:
        """Largest difference in levels."""
        apart = int(np.abs(there.astype(int) - here.astype(int)).max())
        return f"{apart} levels", apart <= 2

    def same_mean(self, there: Floats, here: Floats) -> tuple[str, bool]:
        """Ratio."""
        ratio = float(there.mean() / here.mean())
        return f"× {ratio:.3f}", 0.9 <= ratio <= 1.1

    def same_rates(self, there: Floats, here: Floats) -> tuple[str, bool]:
        """Largest relative difference."""
        apart = float((np.abs(there - here) / np.abs(here)).max())
        return f"{100 * apart:.2g} %", apart <= 0.01

    def paths(self) -> dict[str, Way]:
        """All that may run on a GPU."""
        return {
            "features": Way(self.features, self.same_features),
            "fit": Way(self.fitted, self.same_fit),
            "synthesis": Way(self.synthesised, self.same_drive),
            "generator": Way(self.drawn, self.same_pixels),
            "evolution": Way(self.evolved, self.same_mean),
            "service": Way(self.served, self.same_rates),
        }


def _generator(device: str) -> Any:
    return plugins.create(
        "stimloop.generators", PluginChoice(name="deep", options={"device": device})
    )


def _floats(tensor: torch.Tensor) -> Floats:
    return tensor.cpu().numpy().astype(float)


def timed(run: Callable[[str], Any], device: str) -> Outcome:
    """Once to warm up, once against the clock."""
    run(device)
    began_s = time.perf_counter()
    value = run(device)
    if device == "cuda":
        torch.cuda.synchronize()
    return Outcome(value, time.perf_counter() - began_s)


def compared(problem: Problem, device: str) -> tuple[list[list[str]], bool]:
    """A row a path, and whether all gave the same."""
    rows, all_same = [], True
    for name, way in problem.paths().items():
        there, here = timed(way.run, device), timed(way.run, "cpu")
        apart, is_same = way.compare(there.value, here.value)
        all_same &= is_same
        speed = f"**{here.seconds / there.seconds:.1f}**"
        verdict = "same" if is_same else "**DIFFERENT**"
        row = [name, apart, verdict, f"{there.seconds:.2f}", f"{here.seconds:.2f}", speed]
        print(" | ".join(row), flush=True)
        rows.append(row)
    return rows, all_same


def main() -> None:
    """`python -m benchmarks.devices [--device cuda]`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--draft", action="store_true", help="print only")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        sys.exit(
            "torch sees no CUDA device here: nothing was compared (--device cpu tries the script)"
        )
    with tempfile.TemporaryDirectory() as folder:
        rows, all_same = compared(Problem(Path(folder)), chosen.device)
    name = torch.cuda.get_device_name() if chosen.device == "cuda" else "the CPU again"
    head = ["path", "apart", "", f"s on {name}", "s on the CPU", "CPU ÷ device"]
    text = f"{table(head, rows)}\n\nWhat may differ, and by how much: `benchmarks/devices.py`."
    if chosen.draft or chosen.device == "cpu":
        print(text)
    else:
        write_section("On a GPU", "scripts/gpu_check.sh", text)
    sys.exit(not all_same)


if __name__ == "__main__":
    main()
