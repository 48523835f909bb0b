"""Encoders are asked while a session runs: it is the same session, whatever happens to them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from protocols.documents import EventKind
from protocols.errors import LinkLost, Refusal, SecurityError
from protocols.wire import encoder_messages as msg
from protocols.wire.codec import MAX_FRAME_BYTES, decode, encode
from protocols.wire.encoder_client import EncoderClient
from tests.encoder_files import SITES, SIZE_PX, small_encoder, write_small_encoder
from tests.end_to_end.processes import (
    DEADLINE_S,
    Lab,
    Process,
    Recipe,
    check_finished,
    eventually,
    synth_server,
)
from tests.end_to_end.test_fuzz import mutated, strange

RECIPE = Recipe(seed=61, generations=6)
LONG = {"n_steps": 100_000}
PROC = Path("/proc/self/task")
IMAGES = np.random.default_rng(3).integers(0, 256, (12, 48, 48, 3), dtype=np.uint8)

pytestmark = pytest.mark.skipif(not PROC.exists(), reason="looks for child processes in /proc")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_encoder(tmp_path_factory.mktemp("encoder") / "v4.safetensors")


@pytest.fixture(scope="module")
def rates() -> np.ndarray:
    """What the encoder answers to `IMAGES`, asked here."""
    return small_encoder().predict(IMAGES)


def serve_with(lab: Lab, encoder: Path, *options: str) -> Process:
    hosting = ("--encoder", f"v4={encoder}", "--encoders-port", "0")
    lab.server_options = (*hosting, *options)
    return lab.serve()


@pytest.fixture
def serving(new_lab: Callable[..., Lab], encoder: Path) -> tuple[Lab, Process]:
    """A session whose server hosts the encoder beside it."""
    lab = new_lab(RECIPE)
    return lab, serve_with(lab, encoder)


@pytest.fixture
def digest(undisturbed: Callable[[Recipe], str]) -> str:
    """Of that session when nobody asks the encoder."""
    return undisturbed(RECIPE)


def finish(lab: Lab, server: Process, rig: Process, digest: str) -> None:
    """The session came to its end, and is the one that it would have been."""
    assert rig.ended() == 0, rig.output
    assert server.stop() == 0, server.output
    check_finished(lab, digest)


def children(process: Process) -> list[int]:
    """The processes that it started and that still live."""
    files = Path(f"/proc/{process.pid}/task").glob("*/children")
    return [int(pid) for file in files for pid in file.read_text().split() if runs(int(pid))]


def runs(pid: int) -> bool:
    """Whether a process is there, and not only to be buried."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


class Synthesis(threading.Thread):
    """Asks for images in the background, until it is answered or told to stop.

    Attributes:
        steps: Done so far, as the server says.
    """

    def __init__(self, address: str, keys: Path | None = None, **wanted: Any) -> None:
        super().__init__(daemon=True)
        self._address, self._keys, self._wanted = address, keys, wanted
        self._stopping = threading.Event()
        self.steps = 0
        self.made: Any = None
        self.start()

    def run(self) -> None:
        with EncoderClient(self._address, self._keys) as client:
            try:
                self.made = client.synthesize("v4", progress=self._heard, **self._wanted)
            except (InterruptedError, LinkLost):
                return

    def _heard(self, working: msg.Working) -> None:
        self.steps = working.done
        if self._stopping.is_set():
            raise InterruptedError

    def stop(self) -> None:
        self._stopping.set()
        self.join(DEADLINE_S)
        assert not self.is_alive(), "no sign of life from the encoders"


def test_a_session_is_the_same_while_encoders_are_asked(
    serving: tuple[Lab, Process], digest: str, rates: np.ndarray
) -> None:
    lab, server = serving
    address = lab.addresses["encoders"]
    long = Synthesis(address, seeds=range(4), size_px=SIZE_PX, settings=LONG)
    eventually(lambda: long.steps > 0, "the synthesis is under way", alive=[server])
    with EncoderClient(address) as client:
        (about,) = client.encoders()
        assert (about.name, about.site_ids, about.notes) == ("v4", SITES, "untrained")
        rig = lab.rig()
        n_asked = 0
        while rig.returncode is None:
            assert np.array_equal(client.predict("v4", IMAGES), rates)
            n_asked += 1
            with pytest.raises(Refusal, match="A-009"):
                client.synthesize("v4", targets=["A-009"])
            with pytest.raises(Refusal, match="only square images") as caught:
                client.predict("v4", IMAGES[:, :, :40])
            assert caught.value.reason == "malformed"
        assert long.is_alive()
        assert n_asked, "no prediction came within the session"
    long.stop()
    finish(lab, server, rig, digest)


def test_images_are_made_as_here(serving: tuple[Lab, Process], encoder: Path) -> None:
    """The client's images are those of the command, seed by seed."""
    lab, _ = serving
    wanted: dict[str, Any] = {"targets": ["A-002"], "seeds": [0, 1], "size_px": SIZE_PX}
    wanted |= {"recipe": "fourier", "settings": {"n_steps": 40}}
    with EncoderClient(lab.addresses["encoders"]) as client:
        made = client.synthesize("v4", **wanted)
        assert np.array_equal(client.predict("v4", made.images), made.predicted)
    # A deep generator amplifies what other numbers of threads round otherwise; this recipe has none.
    options = ["--sites", "A-002", "--seeds", "2", "--size-px", str(SIZE_PX), "--recipe", "fourier"]
    options += ["--set", "n_steps=40"]
    done = synth_server("synthesize", encoder, "--out", "here", *options, folder=lab.folder)
    assert done.returncode == 0, done.stderr
    here = np.load(lab.folder / "here" / "images.npy")
    assert np.abs(here.astype(int) - made.images).max() <= 1
    assert made.scores.min() > small_encoder().predict(IMAGES)[:, 1].max()


@pytest.mark.thorough
def test_killed_encoders_are_back_and_the_session_never_noticed(
    serving: tuple[Lab, Process], digest: str, rates: np.ndarray
) -> None:
    lab, server = serving
    address = lab.addresses["encoders"]
    (pid,) = children(server)
    asked = Synthesis(address, targets=["A-001"], size_px=SIZE_PX, settings={"n_steps": 300})
    eventually(lambda: asked.steps > 0, "the synthesis is under way", alive=[server])
    rig = lab.rig()
    eventually(lambda: lab.count(EventKind.RESPONSES_RECEIVED) > 0, "a block", alive=[rig, server])
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: "ended (signal 9)" in server.output, "the server said so")
    eventually(lambda: "can be asked again" in server.output, "it is back", alive=[server])
    asked.join(DEADLINE_S)
    assert asked.made.targets == ("A-001",), "who waited is answered by the next"
    with EncoderClient(address) as client:
        assert np.array_equal(client.predict("v4", IMAGES), rates)
    finish(lab, server, rig, digest)


@pytest.mark.thorough
def test_encoders_die_with_their_server(new_lab: Callable[..., Lab], encoder: Path) -> None:
    """However it ends."""
    lab = new_lab(RECIPE)
    for end in (Process.kill9, Process.stop):
        server = serve_with(lab, encoder)
        pids = children(server)
        assert len(pids) == 1
        long = Synthesis(lab.addresses["encoders"], size_px=SIZE_PX, settings=LONG)
        eventually(lambda long=long: long.steps > 0, "a step", alive=[server])
        end(server)
        eventually(lambda pids=pids: not any(map(runs, pids)), "the encoders are gone")


def test_nonsense_and_floods_reach_no_session(
    serving: tuple[Lab, Process], digest: str, rates: np.ndarray
) -> None:
    lab, server = serving
    (pid,) = children(server)
    rig = lab.rig()
    answers = _talk_nonsense(lab.addresses["encoders"], seed=61)
    assert answers["malformed"] > 100
    assert answers["unknown_kind"] > 0
    with EncoderClient(lab.addresses["encoders"]) as client:
        assert np.array_equal(client.predict("v4", IMAGES), rates)
        assert children(server) == [pid], "the same process as before"
    finish(lab, server, rig, digest)


def _talk_nonsense(address: str, seed: int) -> dict[str, int]:
    """Misfits of all kinds, frames that are too large, and clients that leave at once."""
    dice, answers = random.Random(seed), dict.fromkeys(["malformed", "unknown_kind"], 0)
    requests = [
        encode(msg.ListEncoders(), request_id="1"),
        encode(msg.Predict(encoder="v4", image_shape=(4, 4, 3)), frames=[bytes(48)] * 3),
        encode(msg.Synthesize(encoder="v4", size_px=16, settings={"n_steps": 2})),
        encode(msg.Cancel(request="1"), request_id="2"),
    ]
    context: zmq.Context[Any] = zmq.Context()
    dealer = _connected(context, address)
    for _ in range(600):
        whole = [bytes(frame) for frame in dice.choice(requests)]
        dealer.send_multipart(strange(dice) if dice.random() < 0.4 else mutated(whole, dice))
        while dealer.poll(5):
            body = decode(dealer.recv_multipart(), msg.ENCODER_REPLIES).body
            reason = getattr(body, "reason", "")
            answers[reason] = answers.get(reason, 0) + 1
    for _ in range(20):
        leaves = _connected(context, address)
        leaves.send_multipart(requests[dice.randrange(1, 3)])
        leaves.close()
    flood = _connected(context, address)
    flood.send_multipart([*requests[1][:1], bytes(MAX_FRAME_BYTES + 1)])
    host, port = address.removeprefix("tcp://").split(":")
    for _ in range(20):
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(dice.randbytes(200))
    context.destroy(linger=100)
    return answers


def _connected(context: zmq.Context[Any], address: str) -> Any:
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(address)
    return dealer


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "keys"
    made = synth_server("keys", folder, "--client", "desk", folder=folder.parent)
    assert made.returncode == 0, made.stderr
    return folder


def test_keys_hold_for_encoders_too(
    new_lab: Callable[..., Lab], encoder: Path, rates: np.ndarray, keys: Path
) -> None:
    lab = new_lab(RECIPE)
    serve_with(lab, encoder, "--keys", str(keys))
    address = lab.addresses["encoders"]
    with EncoderClient(address, keys / "for-desk") as client:
        assert np.array_equal(client.predict("v4", IMAGES), rates)
    with EncoderClient(address) as client, pytest.raises(SecurityError, match="expects keys"):
        client.predict("v4", IMAGES)
    stranger = keys.parent / "other"
    made = synth_server("keys", stranger, "--client", "desk", folder=keys.parent)
    assert made.returncode == 0
    bundle = stranger / "for-desk"
    (bundle / "server.key").write_bytes((keys / "server.key").read_bytes())
    with EncoderClient(address, bundle) as client, pytest.raises(SecurityError, match="admit"):
        client.predict("v4", IMAGES)


def test_nothing_is_begun_with_encoders_that_cannot_be_hosted(
    new_lab: Callable[..., Lab], encoder: Path, tmp_path: Path
) -> None:
    half = tmp_path / "half.safetensors"
    half.write_bytes(encoder.read_bytes()[:-100])
    lab = new_lab(RECIPE)
    arguments = ["serve", "session.toml", "--log", lab.log, "--work-port", "0"]
    for wrong, problem in ((f"v4={half}", "missing or damaged"), ("v4", "NAME=FILE")):
        done = synth_server(*arguments, "--encoder", wrong, folder=lab.folder)
        assert done.returncode == 1
        assert problem in done.stderr
        assert "Traceback" not in done.stderr
        assert not lab.log.exists()


@pytest.fixture
def alone(encoder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Encoders without a session, and their address."""
    command = [sys.executable, "-m", "synth_server.cli", "host-encoders", f"v4={encoder}"]
    process = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    yield process, json.loads(process.stdout.readline())["encoders"]
    process.kill()
    process.wait()
    process.stdout.close()


def test_encoders_without_a_session(alone: Any, rates: np.ndarray) -> None:
    process, address = alone
    with EncoderClient(address) as client:
        assert np.array_equal(client.predict("v4", IMAGES), rates)
    assert os.getpriority(os.PRIO_PROCESS, process.pid) == 19
    assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "1000\n"
    process.terminate()
    assert process.wait(DEADLINE_S) == 0


def test_without_keys_encoders_listen_on_loopback_only(encoder: Path, tmp_path: Path) -> None:
    done = synth_server("host-encoders", f"v4={encoder}", "--host", "0.0.0.0", folder=tmp_path)
    assert done.returncode == 1
    assert "without keys the server listens on loopback only" in done.stderr
