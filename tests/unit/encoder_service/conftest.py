"""Encoders whose computing a test can hold, a host for them, and a client of bare messages."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import zmq

from encoders.backbones.one_thread import one_thread
from protocols.wire import encoder_messages as msg
from protocols.wire.codec import Message, decode, encode, image_frames
from protocols.wire.messages import Body
from synth_server.encoder_service.endpoint import EncoderEndpoint
from synth_server.encoder_service.hosted import Hosted

SITES = ("red", "green", "blue")
PATIENCE_S = 60.0


class MeanColours:
    """Three sites that respond to the mean of a colour, in percent.

    Attributes:
        gate: Computing waits until it is set.
        waiting: Set while computing waits, or has waited, at the gate.
        done: What was computed, in order: `predict` or `rates`.
    """

    site_ids = SITES
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.gate, self.waiting = threading.Event(), threading.Event()
        self.gate.set()
        self.done: list[str] = []
        self.failure: Exception | None = None
        self.at_step: Callable[[int], None] = lambda _step: None

    def hold(self) -> None:
        self.waiting.clear()
        self.gate.clear()

    def predict(self, images: np.ndarray) -> np.ndarray:
        self._pass("predict")
        return images.astype(np.float64).mean(axis=(1, 2)) / 2.55

    def rates(self, pixels: torch.Tensor) -> torch.Tensor:
        self.at_step(self.done.count("rates"))
        self._pass("rates")
        return 100 * pixels.mean(dim=(2, 3))

    def _pass(self, what: str) -> None:
        if not self.gate.is_set():
            self.waiting.set()
            assert self.gate.wait(PATIENCE_S)
        if self.failure is not None:
            raise self.failure
        self.done.append(what)


class Host:
    """An endpoint in a thread of this process."""

    def __init__(self) -> None:
        self.encoder = MeanColours()
        summary = msg.EncoderSummary(
            name="v4",
            site_ids=SITES,
            digest="0" * 64,
            networks=(),
            data_digest="",
            n_trained=0,
            n_held_out=0,
            median_r=None,
            versions={},
            notes="",
        )
        self.hosted = Hosted(self.encoder, summary)
        self.endpoint = EncoderEndpoint({"v4": self.hosted})
        self.address = self.endpoint.address
        self._thread = threading.Thread(target=self.endpoint.run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.encoder.gate.set()
        self.endpoint.close()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    @property
    def n_jobs(self) -> int:
        return len(self.endpoint._jobs)


class Bare:
    """A DEALER that sends and receives messages, one by one."""

    def __init__(self, context: zmq.Context[Any], address: str) -> None:
        self.socket: Any = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(1000 * PATIENCE_S)
        self.socket.connect(address)

    def send(self, body: Body, frames: Any = (), request_id: str = "") -> str:
        request_id = request_id or uuid.uuid4().hex
        self.socket.send_multipart(encode(body, request_id=request_id, frames=frames))
        return request_id

    def receive(self) -> Message:
        return decode(self.socket.recv_multipart(), msg.ENCODER_REPLIES)

    def answer(self) -> Message:
        """The next message that is no sign of life."""
        while isinstance((message := self.receive()).body, msg.Working):
            pass
        return message

    def ask(self, body: Body, frames: Any = ()) -> Message:
        self.send(body, frames)
        return self.answer()

    def predict(self, images: np.ndarray, request_id: str = "", **settings: Any) -> str:
        body = msg.Predict(encoder="v4", image_shape=images.shape[1:], **settings)
        return self.send(body, image_frames(images), request_id)

    def synthesize(self, n_steps: int = 5, request_id: str = "", **settings: Any) -> str:
        wanted = {
            "targets": ("red",),
            "size_px": 16,
            "recipe": "fourier",
            "settings": {"n_steps": n_steps},
        } | settings
        return self.send(msg.Synthesize(encoder="v4", **wanted), (), request_id)


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.close()


@pytest.fixture
def new_client(host: Host) -> Iterator[Callable[[], Bare]]:
    context: zmq.Context[Any] = zmq.Context()
    yield lambda: Bare(context, host.address)
    context.destroy(linger=0)


@pytest.fixture
def client(new_client: Callable[[], Bare]) -> Bare:
    return new_client()


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 8, 6, 3), dtype=np.uint8)
