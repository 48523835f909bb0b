"""From the last response of a block to the first image of the next, and where the time goes.

The real endpoint, worker and log, the DeePSiM fc6 network at population 40, and a client that
answers at once, so that nothing hides behind display time: counts of 96 sites alone, or with their
spike times (40 spikes/s, 400 ms kept), block by block in turns. In the same run: the bare network on
the same codes, and a bare pyzmq echo of the same payload.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from benchmarks.results import quantiles, table, write_section
from protocols.digests import array_digest
from protocols.documents import SessionSettings, ThreadSettings
from protocols.rig_description import RigDescription
from protocols.spike_times import packed, packed_counts, ticks_after
from protocols.vocabulary import (
    BlockResponses,
    Codes,
    Cue,
    Images,
    Outcome,
    Presentation,
    Timing,
)
from protocols.wire import messages as msg
from protocols.wire.codec import block_from, decode, encode, image_frames, submission
from synth_server import endpoint as endpoint_module
from synth_server.endpoint import Endpoint
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.synthesis.generators.deepsim import DeePSiMGenerator
from synth_server.synthesis.optimizers.genetic import GeneticAlgorithm

POPULATION = 40
SITES = tuple(f"site-{number:02d}" for number in range(96))
RATE_HZ, TICK_HZ = 40.0, 30_000.0
Spent = dict[str, list[float]]


def timed(spent: list[float], function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function; what each call takes is appended to `spent`."""

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - started)

    return call


class Instruments:
    """Stopwatches on the parts of one turnaround, summed a block."""

    parts = ("optimizer", "generator", "encode", "log")

    def __init__(self) -> None:
        self._now: Spent = defaultdict(list)
        self.per_block: Spent = defaultdict(list)
        places: list[tuple[str, Any, str]] = [
            ("optimizer", GeneticAlgorithm, "ask"),
            ("optimizer", GeneticAlgorithm, "tell"),
            ("generator", DeePSiMGenerator, "__call__"),
            ("encode", endpoint_module, "encode"),
            ("log", SessionLog, "append"),
        ]
        for part, owner, name in places:
            setattr(owner, name, timed(self._now[part], getattr(owner, name)))

    def next_block(self, turnaround_s: float) -> None:
        """Close the books on one block."""
        total = 0.0
        for part in self.parts:
            spent = sum(self._now[part])
            self._now[part].clear()
            self.per_block[part].append(spent)
            total += spent
        self.per_block["turnaround"].append(turnaround_s)
        self.per_block["wire and the rest"].append(turnaround_s - total)


def settings(n_blocks: int) -> SessionSettings:
    """One evolution with the fc6 network (random weights: the arithmetic is the same)."""
    thread = ThreadSettings(
        name="a",
        protocol="evolve",
        settings={
            "n_generations": n_blocks,
            "n_references": 0,
            "generator": {"name": "deepsim_fc6", "options": {"weights": "random"}},
            "optimizer": {
                "name": "genetic",
                "options": {"preset": "wang_ponce", "population": POPULATION},
            },
        },
    )
    return SessionSettings(session_id="benchmark", seed=0, threads=(thread,))


class Client:
    """A rig that needs no time to show anything."""

    def __init__(self, address: str) -> None:
        self._socket: Any = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.connect(address)
        self._ask(msg.Attach(rig_id="benchmark", site_ids=SITES, rig=RigDescription()))
        self._random = np.random.default_rng(0)
        self.n_bytes = 0

    def fetch(self, index: int) -> tuple[Any, float]:
        """A block, and when its last byte was here; decoding comes after that."""
        while True:
            request = msg.NextBlock(block_index=index)
            self._socket.send_multipart(encode(request, request_id="n"))
            frames = self._socket.recv_multipart()
            arrived = time.perf_counter()
            message = decode(frames, msg.REPLIES)
            if not isinstance(message.body, msg.NotYet):
                return message, arrived

    def answer(self, message: Any, *, with_times: bool = False) -> tuple[float, int]:
        """Submit counts for a block; returns when they were sent, and the block's index."""
        block = block_from(message)
        arrays: dict[str, Any] = {}
        presentations = [self._counted(cue, block.timing, arrays) for cue in block.cues()]
        if not with_times:
            presentations = [one.model_copy(update={"times": None}) for one in presentations]
        responses = BlockResponses(
            block_index=block.index,
            site_ids=SITES,
            presentations=tuple(presentations),
            tick_hz=TICK_HZ,
            arrays=arrays if with_times else {},
        )
        body, frames = submission(responses)
        out = encode(body, request_id="s", frames=frames)
        sent = time.perf_counter()
        self._socket.send_multipart(out)
        answer = decode(self._socket.recv_multipart(), msg.REPLIES).body
        if not isinstance(answer, msg.Accepted):
            raise SystemExit(f"the server refused: {answer}")
        self.n_bytes = max(self.n_bytes, sum(frame.nbytes for frame in frames))
        return sent, block.index

    def _counted(self, cue: Cue, timing: Timing, arrays: dict[str, Any]) -> Presentation:
        start_s, stop_s = timing.kept_span_s
        low, high = (ticks_after(edge, TICK_HZ) for edge in (start_s, stop_s))
        numbers = self._random.poisson(RATE_HZ * (stop_s - start_s), len(SITES))
        ticks = [self._random.integers(low, high, n) for n in numbers]
        times = packed(ticks, timing.kept_span_s, TICK_HZ)
        digest = array_digest(times)
        arrays[digest] = times
        counts = packed_counts(times, len(SITES), timing.count_window_s, TICK_HZ)
        return cue.presentation(
            onset_s=0, outcome=Outcome.COMPLETED, spike_counts=tuple(counts), times=digest
        )

    def _ask(self, body: msg.Body) -> None:
        self._socket.send_multipart(encode(body, request_id="a"))
        decode(self._socket.recv_multipart(), msg.REPLIES)


def echo_round_trip(images: Images) -> float:
    """Seconds to send a block's images over loopback and have one byte back, with bare pyzmq."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    server, client = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    client.connect(f"tcp://127.0.0.1:{server.bind_to_random_port('tcp://127.0.0.1')}")
    frames = image_frames(images)

    def serve() -> None:
        identity, _ = server.recv_multipart()
        server.send_multipart([identity, b"", *frames], copy=False)

    thread = threading.Thread(target=serve)
    thread.start()
    started = time.perf_counter()
    client.send(b"x")
    client.recv_multipart()
    elapsed = time.perf_counter() - started
    thread.join()
    server.close()
    client.close()
    return elapsed


def measure(n_blocks: int) -> tuple[dict[bool, Spent], int, int]:
    """Run `n_blocks`, every other one with spike times; after each, the bare network and echo.

    Returns:
        What was spent without and with times, bytes of a block, bytes of a block's spike times.
    """
    bare = DeePSiMGenerator(DeePSiMGenerator.Settings(weights="random"))
    draw = DeePSiMGenerator.__call__
    codes: Codes = bare.sample_codes(POPULATION, np.random.default_rng(0))
    with tempfile.TemporaryDirectory() as folder:
        session = new_session(settings(n_blocks), Path(folder) / "session.sqlite")
        endpoint = Endpoint({"benchmark": session})
        threading.Thread(target=endpoint.run, daemon=True).start()
        instruments = Instruments()
        client = Client(endpoint.addresses.work)
        message, _ = client.fetch(0)
        instruments.next_block(0.0)
        payload = 0
        for index in range(1, n_blocks):
            sent, _ = client.answer(message, with_times=bool(index % 2))
            message, arrived = client.fetch(index)
            instruments.next_block(arrived - sent)
            payload = sum(len(frame) for frame in message.frames)
            started = time.perf_counter()
            images = draw(bare, codes)
            instruments.per_block["bare network"].append(time.perf_counter() - started)
            instruments.per_block["bare echo"].append(echo_round_trip(images))
        endpoint.close()
    # per_block's bare parts begin at block 1, all others at block 0
    spent: dict[bool, Spent] = {False: {}, True: {}}
    for name, values in instruments.per_block.items():
        blocks = values if name.startswith("bare") else values[1:]
        spent[True][name], spent[False][name] = blocks[2::2], blocks[1::2]
    return spent, payload, client.n_bytes


def report(spent: dict[bool, Spent], payload: int, n_bytes: int) -> str:
    """The section's text."""
    order = ("turnaround", *Instruments.parts, "wire and the rest", "bare network", "bare echo")
    rows = [
        [
            name,
            *quantiles(spent[False][name]).split(" | "),
            *quantiles(spent[True][name]).split(" | "),
        ]
        for name in order
    ]
    overhead = {}
    for with_times, parts in spent.items():
        turnaround, generator = np.array(parts["turnaround"]), np.array(parts["generator"])
        overhead[with_times] = float(np.median((turnaround - generator) / generator))
    n = len(spent[True]["turnaround"])
    heads = ["part", "counts: p50, ms", "p99, ms", "with times: p50, ms", "p99, ms"]
    return (
        f"{table(heads, rows)}\n\n"
        f"{n} blocks each way of {POPULATION} images, {payload / 2**20:.1f} MiB, answered for "
        f"{len(SITES)} sites: counts alone, or with spike times, {n_bytes / POPULATION / 1000:.1f} kB "
        "a presentation. Everything that is not the generator's arithmetic costs "
        f"{overhead[False]:.1%} of it with counts alone and **{overhead[True]:.1%}** with spike times "
        "(medians; aim: below 15 %)."
    )


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=60)
    measured = measure(parser.parse_args().blocks)
    write_section("Turnaround of a block", "python -m benchmarks.turnaround", report(*measured))


if __name__ == "__main__":
    main()
