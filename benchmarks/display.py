"""What the PsychoPy display and the rig around it cost: marks, uploads, time between trials, memory.

On a screen in memory (Xvfb) if there is no other: uploads and drawing are then the processor's work,
and a flip waits for no screen. Frames are paced by the clock at 60 Hz where time matters.
"""

from __future__ import annotations

import argparse
import contextlib
import mmap
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import table, write_section
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Flip, Measurement, Wish, always
from protocols.vocabulary import Block, Counts, Cue, Images, Role, Timing
from rig_client.apparatus import Apparatus
from rig_client.display.geometry import Box
from rig_client.display.psychopy_window import PsychoPyDisplay
from rig_client.fixation.none import NoFixation
from rig_client.presenter import Presenter
from rig_client.reward import NoReward
from rig_client.spool import Spool
from rig_client.triggers.none import NoTrigger

SESSION = SessionInfo(session_id="benchmark", seed=0)
SIZES_PX = (128, 256, 512, 1024)
N_UPLOADS, N_TEXTURES = 40, 10
N_PRESENTATIONS, BLOCK = 5000, 50
TIMINGS = (
    ("one image a trial", Timing(on_ms=100, off_ms=100)),
    ("one image a trial, 500 ms between trials", Timing(keep_stop_ms=200, inter_trial_ms=500)),
    ("RSVP, 5 images a trial", Timing(presentations_per_trial=5)),
    ("RSVP, 5 images a trial, 500 ms between", Timing(presentations_per_trial=5, inter_trial_ms=500)),
)  # fmt: skip
N_TIMED = 100


class Recorder:
    """Counts nothing, and notes when it was told of an image."""

    site_ids = ("site",)

    def __init__(self) -> None:
        self.delays_s: list[float] = []

    def stage(self, block: Block) -> None:
        """Nothing to prepare."""

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:  # noqa: ARG002
        """How long after the flip."""
        self.delays_s.append(time.perf_counter() - onset_s)

    @property
    def tick_hz(self) -> float:
        """It only counts."""
        return 0.0

    def spike_counts(
        self,
        cue: Cue,  # noqa: ARG002
        window_s: tuple[float, float],  # noqa: ARG002
        kept_s: tuple[float, float] | None = None,  # noqa: ARG002
    ) -> Measurement:
        """None."""
        counts: Counts = np.zeros(1)
        return Measurement(counts)

    def trouble(self) -> str:
        """None."""
        return ""

    def close(self) -> None:
        """Nothing to release."""


class Watched:
    """A display, and when its calls began and ended; `stop` asks it for wishes, as the client does."""

    def __init__(self, display: PsychoPyDisplay) -> None:
        self._display = display
        self.onsets_s: list[float] = []
        self.gaps_s: list[float] = []
        self._trial = -1
        self._idle_since_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)

    def show(
        self,
        cue: Cue,
        on_s: float,
        at_onset: Callable[[float], None],
        held: Callable[[], bool] = always,
    ) -> Flip:
        """Notes, at the begin of a trial, for how long the screen was left to itself."""
        if cue.trial != self._trial:
            self._trial = cue.trial
            self.gaps_s.append(time.perf_counter() - self._idle_since_s)
        flip = self._display.show(cue, on_s, at_onset, held)
        self._idle_since_s = time.perf_counter()
        self.onsets_s.append(flip.onset_s)
        return flip

    def blank(self, duration_s: float, held: Callable[[], bool] = always) -> bool:
        """Notes when it ended."""
        kept = self._display.blank(duration_s, held)
        if duration_s > 0:
            self._idle_since_s = time.perf_counter()
        return kept

    def wish(self) -> Wish:
        """Those of the keyboard."""
        return self._display.wish()


def main() -> None:
    """Measure and write the section."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--draft", action="store_true", help="print, and leave RESULTS.md alone")
    arguments.add_argument("--note", default="", help="a line on the circumstances")
    options = arguments.parse_args()
    memory = _memory()  # before anything else has taken any
    parts = [_uploads(), _timings(), memory]
    text = "\n\n".join([_circumstances(), *([options.note] if options.note else []), *parts])
    if options.draft:
        print(text)
    else:
        write_section("The PsychoPy display", "python -m benchmarks.display", text)


def _display(**options: Any) -> PsychoPyDisplay:
    usual: dict[str, Any] = {
        "full_screen": False,
        "window_px": (1280, 1024),
        "check_refresh": False,
        "paced": False,
        "virtual_screen": True,
        "photodiode": "bottom_left",
        "photodiode_px": 40,
    }
    return PsychoPyDisplay(PsychoPyDisplay.Settings(**{**usual, **options}), SESSION)


def _images(n: int, size_px: int, random: np.random.Generator) -> Images:
    return random.integers(0, 256, (n, size_px, size_px, 3), dtype=np.uint8)


def _uploads() -> str:
    """Each image new to its texture: scaling, upload and first draw; then a texture that is known."""
    random = np.random.default_rng(0)
    display = _display(photodiode="none")
    rows = []
    for size_px in SIZES_PX:
        blocks = [_images(N_TEXTURES, size_px, random) for _ in range(N_UPLOADS // N_TEXTURES + 1)]
        display.stage(blocks[0])
        stages = [_seconds(lambda b=b: display.stage(b)) / N_TEXTURES for b in blocks[1:]]  # type: ignore[misc]
        loads, draws = [], []
        box = Box(0, 0, size_px, size_px)
        worked_s = time.process_time()
        for image in np.concatenate(blocks[1:]):
            display._pool.load(0, "", image, box)
        worked_s = time.process_time() - worked_s
        for image in np.concatenate(blocks[1:]):
            loads.append(_seconds(lambda i=image, b=box: display._pool.load(0, "", i, b)))  # type: ignore[misc]
            draws.append(_seconds(lambda b=box: display._pool.draw(0, b)))  # type: ignore[misc]
        display.window.clearBuffer()
        rows.append(
            [
                f"{size_px} × {size_px}",
                *_ms(loads),
                f"{worked_s / N_UPLOADS * 1000:.2f}",
                *_ms(draws),
                f"{np.median(stages) * 1000:.1f}",
            ]
        )
    display.close()
    head = ["image, px", "upload + first draw: p50, ms", "p99", "processor time"]
    head += ["drawn again: p50", "p99"]
    return table([*head, "`stage`, for each image of a block"], rows)


def _timings() -> str:
    display = _display(paced=True)
    random = np.random.default_rng(1)
    rows = []
    delays: list[float] = []
    for name, timing in TIMINGS:
        watched, recorder = Watched(display), Recorder()
        block = Block.of(_images(N_TIMED, 256, random), roles=Role.CONTROL, timing=timing).at(
            0, "t"
        )
        with tempfile.TemporaryDirectory() as folder:
            _present(watched, recorder, block, Path(folder))
        delays += recorder.delays_s
        n_trials = N_TIMED // timing.presentations_per_trial
        image_s = (timing.on_ms + timing.off_ms) / 1000
        trial_s = timing.presentations_per_trial * image_s + timing.inter_trial_ms[0] / 1000
        ideal_s = (n_trials - 1) * trial_s + (timing.presentations_per_trial - 1) * image_s
        taken_s = watched.onsets_s[-1] - watched.onsets_s[0]
        rates = [f"{60 * (N_TIMED - 1) / seconds:.1f}" for seconds in (ideal_s, taken_s)]
        rows.append([name, *rates, *_ms(watched.gaps_s[1:])])
    display.close()
    head = ["", "presentations a minute, ideal", "reached"]
    head += ["rig's work between trials: p50, ms", "p99"]
    p50, p99 = _us(delays)
    return (
        f"From a flip to the recorder's mark, the trigger's call in between: {p50} µs "
        f"(p99 {p99} µs), {len(delays)} presentations.\n\n"
        f"{N_TIMED} presentations of each, images of 256 px, frames paced at 60 Hz:\n\n"
        + table(head, rows)
    )


def _present(watched: Watched, recorder: Recorder, block: Block, folder: Path) -> None:
    apparatus = Apparatus(
        watched,
        recorder,
        NoFixation(NoFixation.Settings(), SESSION),
        NoTrigger(NoTrigger.Settings(), SESSION),
        NoReward(NoReward.Settings(), SESSION),
    )

    def stop() -> bool:
        return watched.wish() == "quit"

    with contextlib.closing(Spool(folder, "s")) as spool:
        Presenter(apparatus).present(block, spool.journal(block), stop)


def _memory() -> str:
    """Resident memory while blocks of new images follow each other, one frame on, one off."""
    random = np.random.default_rng(2)
    display = _display()
    megabytes: dict[int, float] = {}
    shown = 0
    for block in _blocks(random):
        display.stage(block.images)
        for cue in block.cues():
            display.show(cue, 1 / 60, lambda _: None)
        shown += len(block.order)
        if shown in (500, *range(1000, N_PRESENTATIONS + 1, 1000)):
            megabytes[shown] = _resident_mb()
    display.close()
    growth = megabytes[N_PRESENTATIONS] - megabytes[500]
    points = ", ".join(f"{n}: {value:.1f}" for n, value in megabytes.items())
    return (
        f"Memory over {N_PRESENTATIONS} presentations of as many images (256 px, blocks of {BLOCK}): "
        f"{growth:+.1f} MB from the 500th to the last (resident, MB, after so many: {points})."
    )


def _blocks(random: np.random.Generator) -> Iterator[Block]:
    for index in range(N_PRESENTATIONS // BLOCK):
        yield Block.of(_images(BLOCK, 256, random), roles=Role.CONTROL).at(index, "t")


def _circumstances() -> str:
    from psychopy import __version__

    display = _display()
    renderer = display.window.winHandle.context.get_info().get_renderer()
    width, height = display.geometry.window_px
    intervals = display.frame_intervals_s()
    display.close()
    return (
        f"PsychoPy {__version__}, {renderer}, on a screen in memory (Xvfb): "
        f"drawing is the processor's work, and flips wait for no screen. A window of {width} × "
        f"{height} px; a flip takes {np.median(intervals) * 1000:.1f} ms there "
        f"(p99 {np.quantile(intervals, 0.99) * 1000:.1f} ms)."
    )


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _ms(seconds: list[float]) -> tuple[str, str]:
    p50, p99 = np.quantile(np.asarray(seconds), (0.5, 0.99)) * 1000
    return f"{p50:.2f}", f"{p99:.2f}"


def _us(seconds: list[float]) -> tuple[str, str]:
    values: NDArray[np.float64] = np.quantile(np.asarray(seconds), (0.5, 0.99)) * 1e6
    return f"{values[0]:.0f}", f"{values[1]:.0f}"


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE / 2**20


if __name__ == "__main__":
    main()
