"""From the last response of a block to the first image of the next, and where the time goes.

The real endpoint, worker and log, the DeePSiM fc6 network at population 40, and a client that
answers at once, so that nothing hides behind display time. In the same run, in turns: the bare
network on the same codes, and a bare pyzmq echo of the same payload.
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
from protocols.documents import SessionSettings, ThreadSettings
from protocols.rig_description import RigDescription
from protocols.vocabulary import BlockResponses, Codes, Cue, Images, Outcome, Presentation
from protocols.wire import messages as msg
from protocols.wire.codec import block_from, decode, encode, image_frames
from synth_server import endpoint as endpoint_module
from synth_server.endpoint import Endpoint
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog
from synth_server.synthesis.generators.deepsim import DeePSiMGenerator
from synth_server.synthesis.optimizers.genetic import GeneticAlgorithm

POPULATION = 40
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
        self._ask(msg.Attach(rig_id="benchmark", site_ids=("x",), rig=RigDescription()))
        self._random = np.random.default_rng(0)

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

    def answer(self, message: Any) -> tuple[float, int]:
        """Submit counts for a block; returns when they were sent."""
        block = block_from(message)
        responses = BlockResponses(
            block_index=block.index,
            site_ids=("x",),
            presentations=tuple(self._counted(cue) for cue in block.cues()),
        )
        frames = encode(msg.SubmitResponses(responses=responses), request_id="s")
        sent = time.perf_counter()
        self._socket.send_multipart(frames)
        decode(self._socket.recv_multipart(), msg.REPLIES)
        return sent, block.index

    def _counted(self, cue: Cue) -> Presentation:
        return cue.presentation(
            onset_s=0,
            outcome=Outcome.COMPLETED,
            spike_counts=(float(self._random.poisson(5)),),
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


def measure(n_blocks: int) -> tuple[Spent, int]:
    """Run `n_blocks`; after each, the bare network and the bare echo."""
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
            sent, _ = client.answer(message)
            message, arrived = client.fetch(index)
            instruments.next_block(arrived - sent)
            payload = sum(len(frame) for frame in message.frames)
            started = time.perf_counter()
            images = draw(bare, codes)
            instruments.per_block["bare network"].append(time.perf_counter() - started)
            instruments.per_block["bare echo"].append(echo_round_trip(images))
        endpoint.close()
    return {name: values[1:] for name, values in instruments.per_block.items()}, payload


def report(spent: Spent, payload: int) -> str:
    """The section's text."""
    order = ("turnaround", *Instruments.parts, "wire and the rest", "bare network", "bare echo")
    rows = [[name, *quantiles(spent[name]).split(" | ")] for name in order]
    turnaround, generator = np.array(spent["turnaround"]), np.array(spent["generator"])
    overhead = float(np.median((turnaround - generator) / generator))
    against_bare = float(np.median(turnaround) / np.median(spent["bare network"]))
    return (
        f"{table(['part', 'p50, ms', 'p99, ms'], rows)}\n\n"
        f"{len(turnaround)} blocks of {POPULATION} images, {payload / 2**20:.1f} MiB each. "
        f"Everything that is not the generator's arithmetic costs **{overhead:.1%}** of it "
        f"(median; aim: below 15 %). Turnaround ÷ bare network: {against_bare:.2f}."
    )


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=60)
    spent, payload = measure(parser.parse_args().blocks)
    write_section(
        "Turnaround of a block", "python -m benchmarks.turnaround", report(spent, payload)
    )


if __name__ == "__main__":
    main()
