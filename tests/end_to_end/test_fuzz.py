"""Random, mutated and misplaced bytes on every socket, while a session runs: it is not disturbed."""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq

from protocols.documents import EventKind
from protocols.errors import MalformedMessage
from protocols.rig_description import RigDescription
from protocols.vocabulary import BlockResponses, Outcome, Presentation
from protocols.wire import messages as msg
from protocols.wire.codec import MAX_FRAME_BYTES, MAX_HEADER_BYTES, decode, encode
from tests.end_to_end.processes import DEADLINE_S, Lab, Process, Recipe, check_finished, eventually
from tests.end_to_end.proxies import Direction, Frames, Proxy
from tests.thorough import times

RECIPE = Recipe(seed=31, generations=8)
MEMORY_MB = 150
"""How much more than at the start of the attack the server may hold; an attack sends gigabytes."""
N_MESSAGES = times(3000, 1000)
N_CONNECTIONS = times(60, 30)
ZMTP_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + bytes(32)
HARMLESS = (msg.Hello, msg.NextBlock, msg.Status)
"""What may be sent though it is well formed: a watcher could send the same."""


def requests() -> list[list[bytes]]:
    """One of each request, as a rig or a person would send it."""
    shown = Presentation(
        stimulus_id="0" * 64,
        repetition=0,
        attempt=0,
        trial=0,
        onset_s=1.5,
        outcome=Outcome.COMPLETED,
        spike_counts=(1.0, 2.0),
    )
    responses = BlockResponses(block_index=3, site_ids=("a", "b"), presentations=(shown,))
    bodies: list[msg.Body] = [
        msg.Hello(),
        msg.Attach(rig_id="intruder", site_ids=("a",), rig=RigDescription()),
        msg.NextBlock(block_index=0),
        msg.SubmitResponses(responses=responses),
        msg.Goodbye(),
        msg.Status(),
        msg.Pause(),
        msg.Resume(),
        msg.Stop(),
        msg.Abort(),
        msg.Annotate(text="x"),
    ]
    return [[bytes(f) for f in encode(body, request_id="1" * 32)] for body in bodies]


def mutated(frames: Sequence[bytes], dice: random.Random) -> list[bytes]:
    """Some bytes replaced, removed, inserted or repeated."""
    changed = [bytearray(frame) for frame in frames]
    for _ in range(dice.randint(1, 5)):
        frame = dice.choice(changed)
        start = dice.randint(0, len(frame))
        stop = min(len(frame), start + dice.choice([0, 0, 1, 1, 4, 60]))
        frame[start:stop] = dice.randbytes(dice.choice([0, 1, 1, 2, 8]))
    return [bytes(frame) for frame in changed]


def strange(dice: random.Random) -> list[bytes]:
    """Bytes, or JSON, of no message at all."""
    kinds: list[Callable[[], list[bytes]]] = [
        lambda: [dice.randbytes(dice.choice([0, 1, 10, 1000, 100_000]))],
        lambda: [dice.randbytes(5) for _ in range(dice.randint(1, 50))],
        lambda: [b""],
        lambda: [b'"\\ud800"'],
        lambda: [b"[" * 100_000],
        lambda: [b'{"wire":4,"kind":"hello","body":' + b'{"a":' * 300 + b"1" + b"}" * 301],
        lambda: [b'{"wire":4,"kind":"hello","id":"\\ud800","\\udfff":1}'],
        lambda: [b'{"wire":%d,"kind":"hello"}' % dice.randint(-(10**30), 10**30)],
        lambda: [json.dumps({"wire": 4, "kind": dice.choice(["", "block", "x" * 99])}).encode()],
        lambda: [b'{"wire":4,"kind":"next_block","body":{"block_index":1e400}}'],
        lambda: [b'{"wire":4,"kind":"hello","session":"../../etc/passwd"}'],
        lambda: [b'{"wire":4,"kind":"hello"}'] + [b"x"] * 5000,
    ]
    return dice.choice(kinds)()


def would_act(frames: list[bytes]) -> bool:
    """Whether a message is well formed by accident, and could rightly change the session."""
    for known in (msg.WORK_REQUESTS, msg.CONTROL_REQUESTS):
        try:
            return not isinstance(decode(frames, known).body, HARMLESS)
        except MalformedMessage:
            continue
    return False


class Attack(threading.Thread):
    """Talks nonsense to all sockets of a server, until it is told to stop.

    Attributes:
        answers: What came back, by kind.
        sent: Messages sent to a ROUTER.
    """

    def __init__(self, addresses: dict[str, str], seed: int) -> None:
        super().__init__(name="attack", daemon=True)
        self._addresses, self._dice = addresses, random.Random(seed)
        self._stopping = threading.Event()
        self._context: zmq.Context[Any] = zmq.Context()
        self.sent = self.connections = 0
        self.answers: dict[str, int] = {}
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            sockets = [self._connect(name, zmq.DEALER) for name in ("work", "control")]
            watcher = self._connect("events", zmq.XSUB)
            while not (self._stopping.is_set() and self.done):
                for dealer in sockets:
                    self._provoke(dealer)
                watcher.send(self._dice.choice([b"\x01", b"\x00", b"\x07", b""]) + self._noise())
                if self.connections < N_CONNECTIONS:
                    self._connect_raw(self._dice.choice(list(self._addresses.values())))
        except BaseException as error:
            self.failure = error
        finally:
            self._context.destroy(linger=0)

    @property
    def done(self) -> bool:
        return self.sent >= N_MESSAGES and self.connections >= N_CONNECTIONS

    def finish(self) -> None:
        self._stopping.set()
        self.join(DEADLINE_S)
        assert not self.is_alive(), "the server does not take or answer messages any more"
        assert self.failure is None, self.failure

    def _connect(self, name: str, kind: int) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.connect(self._addresses[name])
        return made

    def _noise(self) -> bytes:
        return self._dice.randbytes(self._dice.choice([0, 1, 20, 300]))

    def _provoke(self, dealer: zmq.Socket[bytes]) -> None:
        """A salvo, then a true question: only its answer shows that the server reads on."""
        for _ in range(20):
            frames = (
                strange(self._dice)
                if self._dice.random() < 0.3
                else mutated(self._dice.choice(requests()), self._dice)
            )
            if not would_act(frames):
                dealer.send_multipart(frames)
                self.sent += 1
        question = f"{self._dice.getrandbits(64):x}"
        dealer.send_multipart([bytes(f) for f in encode(msg.Farewell(), request_id=question)])
        while True:
            assert dealer.poll(1000 * DEADLINE_S), "no answer"
            answer = decode(dealer.recv_multipart(), msg.REPLIES)
            self.answers[answer.header.kind] = self.answers.get(answer.header.kind, 0) + 1
            if answer.header.reply_to == question:
                assert isinstance(answer.body, msg.Refused)
                assert answer.body.reason is msg.RefusalReason.UNKNOWN_KIND
                return

    def _connect_raw(self, address: str) -> None:
        """TCP without ZeroMQ: noise, a greeting and then noise, or half a greeting and silence."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        noise = self._dice.randbytes(self._dice.choice([1, 11, 100, 50_000]))
        says = self._dice.choice([noise, ZMTP_GREETING + noise, ZMTP_GREETING[:9], b"GET / \r\n"])
        connection = socket.create_connection((host, int(port)), timeout=DEADLINE_S)
        with connection, contextlib.suppress(OSError):  # the server may have hung up already
            connection.sendall(says)
        self.connections += 1


def megabytes(process: Process, field: str) -> float:
    """A line of /proc/PID/status, in MB."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text("ascii"))
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.slow
def test_nonsense_on_every_socket_of_the_server(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE, server_options=())
    server, rig = lab.serve(), lab.rig()
    eventually(lambda: lab.count(EventKind.RIG_ATTACHED), "the rig attached", alive=[server, rig])
    before = megabytes(server, "VmRSS")
    attack = Attack(lab.addresses, seed=1)
    attack.start()
    assert rig.ended() == 0, rig.output
    attack.finish()
    peak = megabytes(server, "VmHWM")
    assert server.stop() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))
    assert attack.answers["refused"] > N_MESSAGES / 4, attack.answers
    assert "refused a message from" in server.output
    assert "Traceback" not in server.output
    assert peak < before + MEMORY_MB


def test_messages_of_great_size(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """A header beyond the limit is refused; a frame beyond it costs the peer its connection."""
    lab = new_lab(RECIPE, server_options=())
    server = lab.serve()
    before = megabytes(server, "VmRSS")
    context: zmq.Context[Any] = zmq.Context()
    try:
        for name in ("work", "control"):
            dealer = context.socket(zmq.DEALER)
            dealer.connect(lab.addresses[name])
            dealer.send(b"x" * (MAX_HEADER_BYTES + 1))
            assert dealer.poll(1000 * DEADLINE_S)
            answer = decode(dealer.recv_multipart(), msg.REPLIES).body
            assert isinstance(answer, msg.Refused)
            assert answer.reason is msg.RefusalReason.TOO_LARGE
            events = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            dealer.send(b"x" * (MAX_FRAME_BYTES + 1))
            assert events.poll(1000 * DEADLINE_S), "the server put up with a frame of any size"
            dealer.disable_monitor()
    finally:
        context.destroy(linger=0)
    assert megabytes(server, "VmHWM") < before + MEMORY_MB
    rig = lab.rig()
    assert rig.ended() == 0, rig.output
    assert server.stop() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


class HostileNetwork:
    """A policy that puts nonsense before and after what the server says to the rig.

    In the first `n_spoilt` blocks a pixel is flipped; every other true answer is passed on.
    """

    def __init__(self, seed: int, n_spoilt: int) -> None:
        self._dice = random.Random(seed)
        self.to_spoil = n_spoilt
        self.nonsense = 0

    def __call__(self, direction: Direction, frames: Frames) -> Sequence[tuple[float, Frames]]:
        if direction == "to the server":
            return [(0.0, frames)]
        if self.to_spoil and len(frames) > 1:
            self.to_spoil -= 1
            return [(0.0, self._spoilt(frames))]
        noise = [(0.0, nonsense) for nonsense in self._nonsense(frames)]
        self.nonsense += len(noise)
        return [*noise, (0.0, frames), *noise[:2]]

    def _spoilt(self, frames: Frames) -> Frames:
        place = self._dice.randrange(1, len(frames))
        pixels = bytearray(frames[place])
        pixels[self._dice.randrange(len(pixels))] ^= 1 << self._dice.randrange(8)
        return [*frames[:place], bytes(pixels), *frames[place + 1 :]]

    def _nonsense(self, frames: Frames) -> Iterator[Frames]:
        stray = encode(msg.Finished(state="aborted", n_blocks=0), reply_to="nobody asked this")
        yield [bytes(frame) for frame in stray]
        for _ in range(5):
            yield strange(self._dice)
            attempt = [*mutated(frames[:1], self._dice), *frames[1:]]
            if not _is_read(attempt):
                yield attempt


def _is_read(frames: Frames) -> bool:
    """Whether the mutation left a message of the protocol."""
    try:
        decode(frames, msg.REPLIES)
    except MalformedMessage:
        return False
    return True


@pytest.mark.slow
def test_nonsense_to_the_rig(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    lab = new_lab(RECIPE, server_options=())
    server = lab.serve()
    network = HostileNetwork(seed=3, n_spoilt=3)
    proxy = Proxy(lab.addresses["work"], network)
    proxy.start()
    try:
        rig = lab.rig(server=proxy.address)
        assert rig.ended() == 0, rig.output
    finally:
        proxy.close()
    assert server.stop() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))
    assert network.nonsense > 100
    assert network.to_spoil == 0
    assert rig.output.count("asking again for next_block") == 3
    assert "dropped a message from the server" in rig.output
    assert "Traceback" not in rig.output


class FakeServer(threading.Thread):
    """A server of its own mind: answers every request by the script, by kind of request."""

    def __init__(self, script: dict[str, msg.Body | None]) -> None:
        super().__init__(name="fake server", daemon=True)
        self._script = script
        self._context: zmq.Context[Any] = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.linger = 0
        port = self._router.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self._closing = False

    def run(self) -> None:
        while not self._closing:
            if self._router.poll(50):
                identity, header = self._router.recv_multipart()
                asked = json.loads(header)
                answer = self._script.get(asked["kind"])
                if answer is not None:
                    frames = encode(answer, reply_to=asked["id"])
                    self._router.send_multipart([identity, *frames])
        self._context.destroy(linger=0)

    def close(self) -> None:
        self._closing = True
        self.join()


WELCOME = msg.Welcome(session_id="session", seed=1, state="running")
ATTACHED = msg.Attached(next_block=0)
BROKEN = msg.Refused(reason=msg.RefusalReason.SERVER_FAILED, what="it is broken", remedy="mend it")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"hello": msg.Farewell()}, "strange answer"),
        ({"hello": BROKEN}, "it is broken"),
        ({"hello": WELCOME, "attach": WELCOME}, "strange answer"),
        ({"hello": WELCOME, "attach": ATTACHED, "next_block": BROKEN}, "mend it"),
    ],
)
def test_a_server_that_makes_no_sense_is_left(
    new_lab: Callable[..., Lab], script: dict[str, msg.Body | None], said: str
) -> None:
    lab = new_lab(RECIPE)
    server = FakeServer(script)
    server.start()
    lab.addresses["work"] = server.address
    rig = lab.rig()
    try:
        assert rig.ended() == 1
    finally:
        server.close()
    assert said in rig.output
    assert "error:" in rig.output
    assert "Traceback" not in rig.output


def test_an_acknowledgement_of_something_else_is_none(new_lab: Callable[..., Lab]) -> None:
    """Responses leave the spool only when the server has named their digest."""
    lab = new_lab(RECIPE)
    server, rig = lab.serve(), None
    wrong = msg.Accepted(block_index=0, responses_digest="0" * 64, duplicate=False)

    def liar(direction: Direction, frames: Frames) -> Sequence[tuple[float, Frames]]:
        if direction == "to the rig" and b'"kind":"accepted"' in frames[0]:
            asked = json.loads(frames[0])["reply_to"]
            return [(0.0, [bytes(frame) for frame in encode(wrong, reply_to=asked)])]
        return [(0.0, frames)]

    proxy = Proxy(lab.addresses["work"], liar)
    proxy.start()
    try:
        rig = lab.rig(server=proxy.address)
        assert rig.ended() == 1
    finally:
        proxy.close()
    assert "acknowledged other responses" in rig.output
    assert sorted(path.name for path in lab.spool.glob("*.json"))[0] == "block-000000.json"
    rig = lab.rig("rig-again")
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output


def test_a_port_where_something_else_listens(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str]
) -> None:
    """The rig says that nobody answers, and goes on when the server takes that port."""
    recipe = Recipe(seed=32, generations=2)
    expected = undisturbed(recipe)
    lab = new_lab(recipe)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    lab.addresses = {"work": f"tcp://127.0.0.1:{port}"}
    rig = lab.rig()
    with listener:
        listener.settimeout(0.05)
        deadline = time.monotonic() + DEADLINE_S
        while "no answer from" not in rig.output and "not admitted" not in rig.output:
            assert rig.returncode is None, rig.output
            assert time.monotonic() < deadline, rig.output
            try:
                peer, _ = listener.accept()
            except TimeoutError:
                continue
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + bytes(range(256)) * 50)
    server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, expected)
