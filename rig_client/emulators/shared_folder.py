"""An emulated rig behind XDREAM's shared folder: sees images appear, writes what neurons say to them."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from protocols import plugins
from protocols.errors import RecorderGap
from protocols.interfaces import SessionInfo
from protocols.replacing import replace_file
from protocols.rig_interfaces import Acquisition
from protocols.seeds import random_stream
from protocols.settings import Frozen, PluginChoice
from protocols.vocabulary import Block, Cue, Role, Timing
from rig_client.acquisition.formats.answers import (
    Answer,
    found_answer,
    write_hdf5,
    write_mat5,
    write_scores,
)
from rig_client.acquisition.shared_folder_files import IMAGE_NAME, read_images

logger = logging.getLogger(__name__)

GLANCE_S = 0.05


class SharedFolderEmulatorSettings(Frozen):
    """How the emulated rig behaves.

    Attributes:
        folder: The shared folder.
        neurons: A `stimloop.acquisitions` plug-in, whose counts are written.
        session_id: Of the session, by which simulated neurons are seeded,
        seed: and its seed.
        repetitions: How often each image is shown.
        format: `mat`: MATLAB 5; `h5`: HDF5, as MATLAB 7.3 writes it; `scores`: XDREAM's own `.h5`.
        own_stimuli: Stimuli of the rig's own, shown once among the images; not with `scores`.
        settle_s: A block is whole when no image has come for so long.
        latency_s: How long showing a block takes.
        loss: Fraction of rows that are missing.
        timing: Count window and image duration, for the neurons.
    """

    folder: Path = Path("shared")
    neurons: PluginChoice = PluginChoice(name="simulated")
    session_id: str = "rehearsal"
    seed: int = Field(default=0, ge=0)
    repetitions: int = Field(default=1, ge=1, le=100)
    format: Literal["mat", "h5", "scores"] = "mat"
    own_stimuli: int = Field(default=2, ge=0, le=100)
    settle_s: float = Field(default=0.5, gt=0, le=60)
    latency_s: float = Field(default=0, ge=0, le=3600)
    loss: float = Field(default=0, ge=0, le=1)
    timing: Timing = Timing()


class SharedFolderEmulator:
    """Answers each block in the folder once."""

    Settings = SharedFolderEmulatorSettings

    def __init__(self, settings: SharedFolderEmulatorSettings) -> None:
        self._settings = settings
        settings.folder.mkdir(parents=True, exist_ok=True)
        session = SessionInfo(session_id=settings.session_id, seed=settings.seed)
        self._neurons: Acquisition = plugins.create(
            "stimloop.acquisitions", settings.neurons, session
        )
        self._random = random_stream(settings.seed, "emulated shared folder")
        self._n_seen: dict[int, int] = {}
        self._grown_s: dict[int, float] = {}

    def announcement(self) -> dict[str, Any]:
        """The parts of `rig.toml` that connect a rig to this emulator."""
        options = {
            "folder": str(self._settings.folder),
            "sites": list(self._neurons.site_ids),
        }
        return {"acquisition": {"name": "shared_folder", "options": options}}

    def run(self, stop: threading.Event) -> None:
        """Answer blocks until `stop` is set."""
        while not stop.wait(GLANCE_S):
            for index, paths in self._blocks().items():
                if self._is_whole(index, len(paths)):
                    if stop.wait(self._settings.latency_s):
                        return
                    self._answer(index, paths)

    def close(self) -> None:
        """Release the neurons."""
        self._neurons.close()

    def _blocks(self) -> dict[int, list[Path]]:
        """Images of blocks without an answer, in order."""
        found: dict[int, list[Path]] = {}
        for path in sorted(self._settings.folder.glob("block*")):
            if match := IMAGE_NAME.fullmatch(path.name):
                found.setdefault(int(match[1]), []).append(path)
        return {
            index: paths
            for index, paths in found.items()
            if found_answer(self._settings.folder, index) is None
        }

    def _is_whole(self, index: int, n_images: int) -> bool:
        now_s = time.monotonic()
        if self._n_seen.get(index) != n_images:
            self._n_seen[index], self._grown_s[index] = n_images, now_s
        return now_s >= self._grown_s[index] + self._settings.settle_s

    def _answer(self, index: int, paths: list[Path]) -> None:
        settings = self._settings
        images = read_images(paths)
        order = [place for _ in range(settings.repetitions) for place in range(len(images))]
        block = Block.of(images, roles=Role.CONTROL, order=order, timing=settings.timing)
        block = block.at(index, "shared folder")
        self._neurons.stage(block)
        shown = [(cue.stimulus_index, self._counts(cue)) for cue in block.cues()]
        kept = [row for row in shown if self._random.random() >= settings.loss] or shown[:1]
        self._write(index, [path.name for path in paths], kept)
        logger.info("answered block %d: %d rows", index, len(kept))

    def _write(self, index: int, names: list[str], rows: list[tuple[int, np.ndarray]]) -> None:
        settings = self._settings
        draft = settings.folder / f"answer{index:03d}.part"
        suffix = "mat" if settings.format == "mat" else "h5"
        if settings.format == "scores":
            write_scores(draft, np.array([n for n, _ in rows]), np.array([row for _, row in rows]))
        else:
            named = [(f"D:\\stimuli\\{names[n]}", row) for n, row in rows]
            for number in range(settings.own_stimuli):
                own = self._random.integers(0, 30, len(rows[0][1])).astype(float)
                place = int(self._random.integers(0, len(named) + 1))
                named.insert(place, (f"N:\\Stim\\ref_{number + 1:03d}.png", own))
            write = write_mat5 if settings.format == "mat" else write_hdf5
            write(draft, Answer(tuple(n for n, _ in named), np.array([row for _, row in named])))
        replace_file(draft, settings.folder / f"block{index:03d}.{suffix}")

    def _counts(self, cue: Cue) -> np.ndarray:
        self._neurons.mark(cue, 0.0, 1)
        window_s = self._settings.timing.count_window_s
        try:
            return self._neurons.spike_counts(cue, window_s).counts
        except RecorderGap:
            return np.full(len(self._neurons.site_ids), np.nan)
