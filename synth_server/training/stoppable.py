"""Trainings that can be stopped and taken up again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from protocols.seeds import random_stream

Loss = TypeVar("Loss")


class StoppableTraining(ABC, Generic[Loss]):
    """Steps, each with a random stream of its own.

    Args:
        seed: Of all streams.
        n_steps: In all.
    """

    def __init__(self, seed: int, n_steps: int) -> None:
        self._seed, self._n_steps = seed, n_steps
        self.n_done = 0

    def run(self, told: Callable[[int, Loss], None]) -> None:
        """Train to the end; `told` of each step's number and loss."""
        while self.n_done < self._n_steps:
            loss = self._step(random_stream(self._seed, "step", self.n_done))
            self.n_done += 1
            told(self.n_done, loss)

    def save(self, path: Path) -> None:
        """All that `load` needs; written aside, then put in place."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        aside = path.with_suffix(".part")
        torch.save({"n_done": self.n_done, **state}, aside)
        aside.replace(path)

    def load(self, path: Path) -> None:
        """Go on where `save` was called; on one thread, to the same weights as without a stop."""
        state = torch.load(path, weights_only=True)
        self.n_done = state.pop("n_done")
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    @abstractmethod
    def _parts(self) -> Mapping[str, Any]:
        """By name, what has a `state_dict` that changes."""

    @abstractmethod
    def _step(self, random: np.random.Generator) -> Loss:
        """One step, and its loss."""
