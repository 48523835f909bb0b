"""Threads of an evolution whose counts are told, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from protocols import plugins
from protocols.settings import PluginChoice
from protocols.vocabulary import BlockResponses, Outcome, Presentation, Role
from synth_server.readers.log.evolved_thread import EvolvedThread

Shown = Mapping[str, Sequence[float]]
"""Image's name → its counts, showing by showing."""


def image_id(name: str) -> str:
    return name.encode().hex().ljust(64, "0")


class Story:
    """Tells a thread what was shown and counted at one site."""

    def __init__(self, objective: str = "site") -> None:
        choice = PluginChoice(name=objective, options={"site": "s"})
        made = plugins.create("stimloop.objectives", choice)
        self.thread = EvolvedThread("thread", "evolve", made)
        self._n_blocks = 0

    def generation(self, number: int, evolved: Shown, references: Shown) -> None:
        shown = [(Role.EVOLVED, evolved), (Role.REFERENCE, references)]
        self._block(shown, number, f"generation {number}")

    def start(self, natural: Shown) -> None:
        self._block([(Role.NATURAL, natural)], None, "start")

    def test(self, evolved: Shown, best: Shown, others: Shown) -> None:
        shown = [(Role.EVOLVED, evolved), (Role.BEST_NATURAL, best), (Role.REFERENCE, others)]
        self._block(shown, None, "test")

    def _block(
        self, shown: Sequence[tuple[Role, Shown]], generation: int | None, label: str
    ) -> None:
        stimuli, presentations = [], []
        for role, images in shown:
            for name, counts in images.items():
                stimuli.append({"id": image_id(name), "role": role.value, "label": name})
                presentations += [
                    Presentation(
                        stimulus_id=image_id(name),
                        repetition=repetition,
                        attempt=0,
                        trial=0,
                        onset_s=0,
                        outcome=Outcome.COMPLETED,
                        spike_counts=(float(count),),
                    )
                    for repetition, count in enumerate(counts)
                ]
        block = {
            "stimuli": stimuli,
            "generation": generation,
            "label": label,
            "timing": {"count_start_ms": 70, "count_stop_ms": 170},
        }
        responses = BlockResponses(
            block_index=self._n_blocks, site_ids=("s",), presentations=tuple(presentations)
        )
        self._n_blocks += 1
        self.thread.add(block, responses)


def noisy(
    random: np.random.Generator, rates: Mapping[str, float], n_showings: int
) -> dict[str, list[float]]:
    """Poisson counts of each image."""
    return {name: random.poisson(rate, n_showings).tolist() for name, rate in rates.items()}
