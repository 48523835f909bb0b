"""What a session loses while the encoders beside it are at work: the same session, by turns with and
without a synthesis running, as processes on loopback.

Measured at the session's socket: how long `hello` takes to be answered, and the turnaround of a block
(fc6 network, population 40) from the last response to the first image. Then a real-time rig, with two
threads, first without and then with a synthesis: how long it waits for images.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch

from benchmarks import turnaround, waiting
from benchmarks.loopback import rig_report, served
from benchmarks.results import table, write_section
from encoders.checkpoint import Provenance, save_encoder
from encoders.encoder import Scaling, TwoStageEncoder
from encoders.features import FeatureExtractor, Tap
from encoders.two_stage import Readout
from protocols.documents import SessionSettings
from protocols.wire import messages as msg
from protocols.wire.codec import encode
from protocols.wire.encoder_client import EncoderClient
from protocols.wire.encoder_messages import Working

N_SITES = 20
N_GREETINGS = 50
BETWEEN_GREETINGS_S = 0.01
Addresses = dict[str, str]


def write_encoder(path: Path) -> None:
    """An encoder of 20 sites with random weights (the arithmetic is the same)."""
    extractor = FeatureExtractor(Tap(layer="blocks.3", input_px=112, weights="random"))
    channels, height, width = extractor(torch.zeros(1, 3, 112, 112)).shape[1:]
    stream = torch.Generator().manual_seed(0)
    readout = Readout(
        torch.randn(N_SITES, height, width, generator=stream),
        torch.randn(N_SITES, channels, generator=stream),
        torch.zeros(N_SITES),
    )
    plain = Scaling(torch.zeros(channels), torch.ones(channels))
    rates = Scaling(torch.full((N_SITES,), 20.0), torch.full((N_SITES,), 10.0))
    sites = tuple(f"site-{number:02d}" for number in range(N_SITES))
    save_encoder(path, TwoStageEncoder(extractor, plain, readout, rates, sites), Provenance())


@contextmanager
def server(folder: Path, session: SessionSettings) -> Iterator[Addresses]:
    """A session and an encoder, served until the block ends."""
    write_encoder(folder / "encoder.safetensors")
    encoder = ("--encoder", "v4=encoder.safetensors", "--encoders-port=0")
    with served(folder, session, *encoder) as addresses:
        yield addresses


class Synthesis(threading.Thread):
    """Keeps the encoders busy; a context manager that begins once they are, and ends when they stop."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self._address = address
        self._running, self._enough = threading.Event(), threading.Event()
        self.steps_per_s = 0.0

    def run(self) -> None:
        """Ask for more than will be made; when told that it is enough, wait for the last step."""
        with EncoderClient(self._address) as client:
            try:
                client.synthesize("v4", settings={"n_steps": 100_000}, progress=self._heard)
            except InterruptedError:
                client.synthesize("v4", targets=["site-00"], settings={"n_steps": 1})

    def _heard(self, working: Working) -> None:
        if working.done and not self._running.is_set():
            self._first = working.done, time.perf_counter()
            self._running.set()
        if self._enough.is_set():
            steps, since = self._first
            self.steps_per_s = (working.done - steps) / (time.perf_counter() - since)
            raise InterruptedError

    def __enter__(self) -> Synthesis:
        self.start()
        self._running.wait()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._enough.set()
        self.join()


class Session:
    """A client that shows nothing, and measures how long the server makes it wait."""

    def __init__(self, address: str) -> None:
        self._client = turnaround.Client(address)
        self._message, _ = self._client.fetch(0)
        self._index = 0

    def turnaround_s(self) -> float:
        """From the last response to a block, to the next."""
        sent, self._index = self._client.answer(self._message)
        self._message, arrived = self._client.fetch(self._index + 1)
        return arrived - sent

    def greeting_s(self) -> float:
        """How long `hello` takes to be answered."""
        time.sleep(BETWEEN_GREETINGS_S)
        started = time.perf_counter()
        self._client._socket.send_multipart(encode(msg.Hello(), request_id="h"))
        self._client._socket.recv_multipart()
        return time.perf_counter() - started


Measured = dict[str, dict[str, list[float]]]


def by_turns(n_turns: int, n_blocks: int) -> tuple[Measured, float]:
    """Greetings and turnarounds, `alone` and with a `synthesis`; its image steps per second."""
    found: Measured = defaultdict(lambda: defaultdict(list))
    speeds = []

    def measure(condition: str, session: Session) -> None:
        found["`hello` answered"][condition] += [session.greeting_s() for _ in range(N_GREETINGS)]
        found["turnaround of a block"][condition] += [
            session.turnaround_s() for _ in range(n_blocks)
        ]

    total = 2 + 2 * n_turns * n_blocks
    settings = turnaround.settings(total)
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), settings) as addresses:
        session = Session(addresses["work"])
        session.turnaround_s()
        for _ in range(n_turns):
            measure("alone", session)
            with Synthesis(addresses["encoders"]) as synthesis:
                measure("synthesis", session)
            speeds.append(synthesis.steps_per_s)
    return found, float(np.median(speeds))


def rig_waits(n_generations: int, *, busy: bool) -> float:
    """Part of the time shown that a real-time rig waits for images; two threads."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            server(folder, waiting.session(2, n_generations)) as addresses,
            Synthesis(addresses["encoders"]) if busy else nullcontext(),
        ):
            report = rig_report(folder, addresses["work"])
    return float(report["waited_s"] / report["presented_s"])


def rows(found: Measured) -> list[list[str]]:
    """A row for each thing measured: medians, their ratio, 95th percentiles."""
    made = []
    for what, times in found.items():
        alone, busy = (np.array(times[name]) * 1000 for name in ("alone", "synthesis"))
        medians = [float(np.median(values)) for values in (alone, busy)]
        cells = [f"{value:.1f}" for value in medians] + [f"**{medians[1] / medians[0]:.2f}**"]
        made.append(
            [what, *cells, *(f"{np.quantile(values, 0.95):.1f}" for values in (alone, busy))]
        )
    return made


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=6, help="of each turn")
    parser.add_argument("--generations", type=int, default=4, help="of the real-time rig")
    parser.add_argument("--note", default="", help="what else the computer did meanwhile")
    asked = parser.parse_args()
    found, speed = by_turns(asked.turns, asked.blocks)
    waits = {busy: rig_waits(asked.generations, busy=busy) for busy in (False, True)}
    head = ["", "alone, ms", "synthesis, ms", "ratio", "alone, p95", "synthesis, p95"]
    text = (
        f"{table(head, rows(found))}\n\n"
        f"{asked.turns} turns each of {N_GREETINGS} greetings and {asked.blocks} blocks, medians. "
        f"The synthesis (20 images of 112 px, EfficientNet-Lite0 blocks.3, half the cores) made "
        f"{speed:.0f} image steps a second meanwhile. A real-time rig with two threads waited "
        f"{waits[False]:.2%} of the time shown without, {waits[True]:.2%} with a synthesis. "
        f"{asked.note}"
    )
    command = "python -m benchmarks.encoder_service"
    write_section("A session beside hosted encoders", command, text)


if __name__ == "__main__":
    main()
