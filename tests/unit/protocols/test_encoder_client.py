"""The client of hosted encoders, against a server that misbehaves as told; none of it needs torch."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zmq

from protocols.errors import DataError, LinkLost, MalformedMessage, Refusal, SettingsError
from protocols.wire import encoder_client as client_module
from protocols.wire import encoder_messages as msg
from protocols.wire.arrays import float_frame
from protocols.wire.codec import Message, decode, encode, image_frames
from protocols.wire.encoder_client import EncoderClient
from protocols.wire.messages import Refused

IMAGES = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
RATES = np.array([[1.5, 2.5], [3.5, -4.5]])
WORKING = (msg.Working(state="running", ahead=0, done=1, total=2),)
PREDICTION = (msg.Prediction(n_images=2, site_ids=("a", "b")), float_frame(RATES))
Answers = list[tuple[Any, ...]]


class Server(threading.Thread):
    """Gives each request the answers that `script` has for it; remembers what came."""

    def __init__(self, script: Callable[[int, Message], Answers]) -> None:
        super().__init__(daemon=True)
        self._script = script
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self.came: list[Message] = []
        self.peers: list[bytes] = []
        self._closing = threading.Event()

    def run(self) -> None:
        while not self._closing.is_set():
            if not self._socket.poll(20):
                continue
            peer, *frames = self._socket.recv_multipart()
            request = decode(frames, msg.ENCODER_REQUESTS)
            self.came.append(request)
            self.peers.append(peer)
            for body, *raw in self._script(len(self.came), request):
                answer = encode(body, reply_to=request.header.id, frames=raw)
                self._socket.send_multipart([peer, *answer])
        self._context.destroy(linger=0)

    def close(self) -> None:
        self._closing.set()
        self.join(60)


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def start(script: Callable[[int, Message], Answers]) -> Server:
        servers.append(Server(script))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_prediction(serve):
    server = serve(lambda _n, _request: [WORKING, WORKING, PREDICTION])
    told = []
    with EncoderClient(server.address) as client:
        found = client.predict("v4", IMAGES, deadline_s=5, progress=told.append)
    assert np.array_equal(found, RATES)
    assert told == [*WORKING, *WORKING]
    (request,) = server.came
    assert request.body == msg.Predict(encoder="v4", image_shape=(4, 5, 3), deadline_s=5)
    assert request.frames == tuple(image.tobytes() for image in IMAGES)


def test_a_synthesis(serve):
    said = msg.Synthesized(
        image_shape=(4, 5, 3), targets=("a", "a"), seeds=(7, 8), site_ids=("a", "b")
    )
    frames = (*image_frames(IMAGES), float_frame(RATES), float_frame(np.array([1.0, 2.0])))
    server = serve(lambda _n, _request: [(said, *frames)])
    with EncoderClient(server.address) as client:
        made = client.synthesize(
            "v4", "suppress", targets=["a"], seeds=[7, 8], settings={"n_steps": 3}
        )
    assert np.array_equal(made.images, IMAGES)
    assert np.array_equal(made.predicted, RATES)
    assert made.scores.tolist() == [1, 2]
    assert (made.targets, made.seeds, made.site_ids) == (("a", "a"), (7, 8), ("a", "b"))
    asked = server.came[0].body
    assert asked.objective.name == "suppress"
    assert asked.settings == {"n_steps": 3}


def test_after_silence_the_same_request_comes_on_a_new_connection(serve, monkeypatch):
    monkeypatch.setattr(client_module, "SILENCE_S", 0.2)
    server = serve(lambda n, _request: [PREDICTION] if n > 1 else [])
    with EncoderClient(server.address) as client:
        assert np.array_equal(client.predict("v4", IMAGES), RATES)
    first, second = server.came[:2]
    assert first == second
    assert first.header.id
    assert server.peers[0] != server.peers[1]


def test_signs_of_life_are_no_silence(serve, monkeypatch):
    """The request is not sent again while `working` comes, nor is patience lost."""
    monkeypatch.setattr(client_module, "SILENCE_S", 30)
    server = serve(lambda _n, _request: [*[WORKING] * 20, PREDICTION])
    with EncoderClient(server.address) as client:
        client.predict("v4", IMAGES)
    assert len(server.came) == 1


def test_nobody_there():
    with (
        EncoderClient("tcp://127.0.0.1:9", patience_s=0.2) as client,
        pytest.raises(LinkLost, match="do not answer"),
    ):
        client.encoders()


def test_a_refusal_is_an_error_with_its_reason(serve):
    refused = Refused(reason="unknown_site", what="no such site", expected="a, b", got="c")
    server = serve(lambda _n, _request: [(refused,)])
    with EncoderClient(server.address) as client, pytest.raises(Refusal, match="a, b") as caught:
        client.synthesize("v4", targets=["c"])
    assert caught.value.reason == "unknown_site"


def test_who_stops_waiting_cancels(serve):
    cancelled = threading.Event()

    def script(_n: int, request: Message) -> Answers:
        if isinstance(request.body, msg.Cancel):
            cancelled.set()
            return []
        return [WORKING]

    def enough(_working: msg.Working) -> None:
        raise KeyboardInterrupt

    server = serve(script)
    with EncoderClient(server.address) as client:
        with pytest.raises(KeyboardInterrupt):
            client.synthesize("v4", progress=enough)
        assert cancelled.wait(60)
    asked, cancel = server.came
    assert cancel.body.request == asked.header.id


@pytest.mark.parametrize(
    "answer",
    [
        (msg.Encoders(encoders=()),),
        PREDICTION[:1],
        (PREDICTION[0], b"1234567"),
        (PREDICTION[0], *PREDICTION[1:], b""),
    ],
)
def test_answers_that_make_no_sense_are_errors(serve, answer):
    server = serve(lambda _n, _request: [answer])
    with EncoderClient(server.address) as client, pytest.raises(MalformedMessage):
        client.predict("v4", IMAGES)


def test_what_cannot_be_asked_is_told_before_it_is_sent(serve):
    server = serve(lambda _n, _request: [])
    with EncoderClient(server.address) as client:
        with pytest.raises(DataError, match="images"):
            client.predict("v4", IMAGES.astype(float))
        with pytest.raises(SettingsError, match="seeds"):
            client.synthesize("v4", seeds=[])
        with pytest.raises(SettingsError, match="size_px"):
            client.synthesize("v4", size_px=7)
    assert server.came == []


def test_it_needs_no_torch():
    script = "import sys; sys.modules['torch'] = None; import protocols.wire.encoder_client"
    subprocess.run([sys.executable, "-c", script], check=True)
