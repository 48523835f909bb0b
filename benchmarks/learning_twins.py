"""Digital twins as a rig: noisy counts for a plan, noise-free answers for the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.evolution_twins import SPIKES_AT_BEST
from benchmarks.twins import TwinPopulation, data_folder, seen_by_twin
from encoders.backbones import pixels_of
from encoders.backbones.device import device_named
from protocols.digests import array_digest
from protocols.seeds import random_stream
from protocols.vocabulary import Block, BlockResponses, Images, Outcome


class Noise(NamedTuple):
    """Of counts.

    Attributes:
        fano: Variance ÷ mean; 1: Poisson.
        shuffled: Within a round's block, counts go to images at random: a control that can learn
            nothing.
    """

    fano: float = 1.0
    shuffled: bool = False


class Twins:
    """Some twins as a rig.

    Args:
        units: Which twins; their numbers are the names of sites.
        natural: `(1200, 33)`: the twins' answers to the session's images.
        images: Those images.
        seed: Of the counts.
        noise: Of the counts.
        kept: Where answers are kept.

    Attributes:
        natural: `(1200, n_units)`: answers to the session's images.
        best: `(n_units,)`: the best of them.
    """

    def __init__(
        self,
        units: Sequence[int],
        natural: NDArray[np.float64],
        images: Images,
        seed: int,
        noise: Noise,
        kept: Path,
    ) -> None:
        self.units, self._seed, self._noise, self._kept = units, seed, noise, kept
        self.site_ids = tuple(str(unit) for unit in units)
        self.natural = natural[:, list(units)]
        self.best, self._worst = self.natural.max(axis=0), self.natural.min(axis=0)
        keys = [array_digest(image) for image in images]
        self._known = dict(zip(keys, self.natural, strict=True))
        population = TwinPopulation(data_folder() / "v4" / "compact_models")
        self._twins = [population.twin(unit) for unit in units]
        for path in sorted(kept.glob("answers-*.npz")):
            with np.load(path, allow_pickle=False) as file:
                self._known |= zip(file["keys"].tolist(), file["z"], strict=True)

    def answers(self, images: Images) -> NDArray[np.float64]:
        """`(n, h, w, 3) uint8` → `(n, n_units)` z-scores, without noise."""
        keys = [array_digest(image) for image in images]
        missing = {key: row for row, key in enumerate(keys) if key not in self._known}
        if missing:
            values = seen_by_twin(pixels_of(images[list(missing.values())], device_named("cpu")))
            new = np.concatenate([_answered(twin, values) for twin in self._twins], axis=1)
            self._known |= zip(missing, new, strict=True)
            name = array_digest(np.array(sorted(missing)).view(np.uint8))[:16]
            np.savez(self._kept / f"answers-{name}.npz", keys=list(missing), z=new)
        return np.stack([self._known[key] for key in keys])

    def responses(self, block: Block) -> BlockResponses:
        """What a rig would send: one count a site for every showing."""
        z = self.answers(block.images)
        if self._noise.shuffled and block.label.startswith("round"):
            z = z[random_stream(self._seed, "shuffled", block.index).permutation(len(z))]
        expected = SPIKES_AT_BEST * ((z - self._worst) / (self.best - self._worst)).clip(0)
        shown = []
        for cue in block.cues():
            random = random_stream(self._seed, "counts", *map(str, cue.seed_path))
            counts = self._noisy(expected[cue.stimulus_index], random)
            shown.append(
                cue.presentation(
                    onset_s=0.0, outcome=Outcome.COMPLETED, spike_counts=tuple(counts.tolist())
                )
            )
        return BlockResponses(
            block_index=block.index, site_ids=self.site_ids, presentations=tuple(shown)
        )

    def _noisy(
        self, expected: NDArray[np.float64], random: np.random.Generator
    ) -> NDArray[np.float64]:
        """Poisson; or, with a Fano factor above 1, Poisson of a rate that varies (gamma)."""
        if self._noise.fano > 1:
            excess = self._noise.fano - 1
            expected = random.gamma(np.maximum(expected / excess, 1e-9), excess)
        return random.poisson(expected).astype(np.float64)


def natural_answers(cache: Path, images: Images) -> NDArray[np.float64]:
    """`(1200, 33)`: the twins' answers to the session's images, as `transfer` keeps them."""
    path = cache / f"twins-{array_digest(images)[:16]}.npy"
    if not path.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, TwinPopulation(data_folder() / "v4" / "compact_models").rates(images))
    return np.asarray(np.load(path, allow_pickle=False))


def _answered(twin: nn.Module, values: Tensor) -> NDArray[np.float64]:
    with torch.inference_mode():
        parts = [twin(some) for some in torch.split(values, 16)]
    return np.asarray(torch.cat(parts).numpy(), np.float64)
