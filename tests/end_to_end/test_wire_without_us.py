"""The wire protocol is enough: a client that knows `docs/reference/wire.md` alone runs a session.

The client below is run with `python -I` and imports a ZeroMQ library and nothing of ours. It is what
a rig in another language would have to write.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.documents import EventKind
from synth_server.session.log import SessionLog, verify_chain
from tests.encoder_files import small_encoder, write_small_encoder

STARTUP_S = 120.0
END_S = 150.0
SITES = ["A-001", "A-002", "A-003"]

SESSION = """
session_id = "plain"
seed = 3

[[threads]]
name = "only"
protocol = "evolve"

[threads.settings]
n_generations = 3
test_repetitions = 0
n_references = 0
repetitions = 2
generator = { name = "pixels", options = { size_px = 8, grid = 2 } }
optimizer = { name = "random_search", options = { population = 3 } }
objective = { name = "site", options = { site = "A-002" } }
timing = { presentations_per_trial = 2, max_attempts = 3 }
"""

CLIENT = '''
import hashlib, json, random, struct, sys
import zmq

work_address, control_address, events_address, encoders_address, *sites = sys.argv[1:]
context = zmq.Context()
n_requests = 0


def connected(kind, address):
    socket = context.socket(kind)
    socket.linger = 0
    socket.rcvtimeo = 30000
    socket.connect(address)
    return socket


def new_id():
    global n_requests
    n_requests += 1
    return "request-%d" % n_requests


def send(socket, kind, body, session="plain", wire=4, id=None, frames=()):
    id = id or new_id()
    header = {"wire": wire, "kind": kind, "id": id, "session": session, "body": body}
    socket.send_multipart([json.dumps(header).encode("utf-8"), *frames])
    return id


def receive(socket, id):
    header, *frames = socket.recv_multipart()
    header = json.loads(header)
    assert header["wire"] == 4 and header["reply_to"] == id, header
    return header["kind"], header["body"], frames


def ask(socket, kind, body, **how):
    return receive(socket, send(socket, kind, body, **how))


def refused(socket, kind, body, **how):
    answer, body, _ = ask(socket, kind, body, **how)
    assert answer == "refused", answer
    assert body["what"]
    refusals.append(body["reason"])


def image_hash(height, width, pixels):
    assert len(pixels) == height * width * 3
    text = "%dx%dx3 uint8\\n" % (height, width)
    return hashlib.sha256(text.encode("ascii") + pixels).hexdigest()


def next_block(index):
    while True:
        kind, body, frames = ask(work, "next_block", {"block_index": index})
        if kind == "block":
            return body["block"], frames
        if kind == "finished":
            return None, body
        assert kind == "not_yet", (kind, body)


def cues(block):
    """The showings of a block: (stimulus, repetition), in order."""
    seen = {}
    for place in block["order"]:
        name = block["stimuli"][place]["id"]
        yield name, seen.get(name, 0)
        seen[name] = seen.get(name, 0) + 1


def spikes(timing):
    """A site's spikes around an onset, in ticks; and how many of them are in the count window."""
    low, high = (int(timing[name] * TICKS_A_MS) for name in ("keep_start_ms", "keep_stop_ms"))
    start, stop = (int(timing[name] * TICKS_A_MS) for name in ("count_start_ms", "count_stop_ms"))
    ticks = sorted(chance.randrange(low, high) for _ in range(chance.randrange(30)))
    return ticks, sum(start <= tick < stop for tick in ticks)


def packed(trains):
    """Each site's ticks as one array: where each site's end, then all of them."""
    ends = [sum(len(train) for train in trains[: place + 1]) for place in range(len(trains))]
    numbers = ends + [tick for train in trains for tick in train]
    frame = struct.pack("<%di" % len(numbers), *numbers)
    head = "%d int32\\n" % len(numbers)
    digest = hashlib.sha256(head.encode("ascii") + frame).hexdigest()
    arrays[digest] = {"digest": digest, "dtype": "int32", "shape": [len(numbers)]}, frame
    return digest


def show(block, fate):
    """Show a block trial by trial; what fails is shown again at the end."""
    timing = block["timing"]
    queue = [(name, repetition, 0) for name, repetition in cues(block)]
    shown, trial = [], 0
    while queue:
        now, queue = queue[: timing["presentations_per_trial"]], queue[timing["presentations_per_trial"] :]
        for n_shown, (name, repetition, attempt) in enumerate(now, 1):
            outcome = fate(trial, repetition, attempt)
            shown.append({
                "stimulus_id": name, "repetition": repetition, "attempt": attempt, "trial": trial,
                "onset_s": 0.25 * len(shown), "onset_clock": "rig", "outcome": outcome,
            })
            if outcome == "completed":
                trains, counts = zip(*[spikes(timing) for _ in sites])
                shown[-1].update(spike_counts=counts, times=packed(trains), shown_ms=100.0)
                continue
            if attempt + 1 < timing["max_attempts"]:
                queue.append((name, repetition, attempt + 1))
            if outcome == "fixation_break":  # what was not shown yet goes back to the front
                queue = now[n_shown:] + queue
                break
        trial += 1
    return shown


def submit(block, shown, id=None):
    """Hand responses in, with the arrays that they name; returns the request's id."""
    named = list(dict.fromkeys(one["times"] for one in shown if "times" in one))
    body = {"block_index": block["index"], "site_ids": sites, "presentations": shown,
            "tick_hz": 1000.0 * TICKS_A_MS,
            "events": [{"kind": "reward", "at_s": 0.5, "ms": 80.0, "ml": 0.1}]}
    body = {"responses": body, "arrays": [arrays[name][0] for name in named]}
    return send(work, "submit_responses", body, id=id, frames=[arrays[name][1] for name in named])


def not_accepted(block, shown):
    answer, body, _ = receive(work, submit(block, shown))
    assert answer == "refused", answer
    refusals.append(body["reason"])


def answered(id):
    """The answer of the encoders; until then, they say that they are at work."""
    while True:
        kind, body, frames = receive(encoders, id)
        if kind != "working":
            return kind, body, frames
        assert body["state"] in ("queued", "running") and body["done"] <= body["total"], body


def numbers(frame, n):
    return struct.unpack("<%dd" % n, frame)


def refused_by_encoders(kind, body, frames=()):
    answer, body, _ = answered(send(encoders, kind, body, frames=frames))
    assert answer == "refused" and body["what"], (answer, body)
    told.append(body["reason"])


def ask_encoders():
    """Everything that can be asked of encoders; returns what they said."""
    kind, body, _ = answered(send(encoders, "list_encoders", {}))
    assert kind == "encoders"
    (about,) = body["encoders"]
    names = about["site_ids"]
    pixels = [bytes(chance.randrange(256) for _ in range(32 * 32 * 3)) for _ in range(2)]
    asked = {"encoder": "v4", "image_shape": [32, 32, 3]}
    id = send(encoders, "predict", asked, frames=pixels)
    kind, body, frames = answered(id)
    assert (kind, body["n_images"], body["site_ids"], len(frames)) == ("prediction", 2, names, 1)
    rates = numbers(frames[0], 2 * len(names))
    send(encoders, "predict", asked, frames=pixels, id=id)  # the same question again
    assert answered(id) == (kind, body, frames)

    wanted = {"encoder": "v4", "objective": {"name": "suppress", "options": {}},
              "targets": names[:1], "seeds": [4, 5], "size_px": 32, "settings": {"n_steps": 3}}
    kind, body, frames = answered(send(encoders, "synthesize", wanted))
    assert kind == "synthesized" and body["image_shape"] == [32, 32, 3], (kind, body)
    assert (body["targets"], body["seeds"]) == (names[:1] * 2, [4, 5])
    *images, predicted, scores = frames
    assert [len(image) for image in images] == [32 * 32 * 3] * 2
    predicted, scores = numbers(predicted, 2 * len(names)), numbers(scores, 2)
    assert [-score for score in scores] == [predicted[0], predicted[len(names)]]
    kind, body, frames = answered(send(encoders, "predict", asked, frames=images))
    assert numbers(frames[0], 2 * len(names)) == predicted

    endless = send(encoders, "synthesize", dict(wanted, settings={"n_steps": 100000}))
    assert receive(encoders, endless)[0] == "working"
    cancel = send(encoders, "cancel", {"request": endless})
    said = {}
    while len(said) < 2:
        header, *_ = encoders.recv_multipart()
        header = json.loads(header)
        if header["kind"] != "working":
            said[header["reply_to"]] = header["kind"], header["body"]
    assert said[cancel] == ("cancelled", {"request": endless, "found": True})
    assert said[endless][0] == "refused"
    told.append(said[endless][1]["reason"])

    refused_by_encoders("predict", dict(asked, encoder="it"), pixels)
    refused_by_encoders("predict", asked, [pixels[0][1:]])
    refused_by_encoders("predict", dict(asked, image_shape=[32, 32, 4]), pixels)
    refused_by_encoders("synthesize", dict(wanted, targets=["nowhere"]))
    refused_by_encoders("synthesize", dict(wanted, recipe="cake"))
    refused_by_encoders("synthesize", dict(wanted, seeds=list(range(4096))))
    refused_by_encoders("synthesize", dict(wanted, settings={"n_steps": 100000}, deadline_s=0.1))
    refused_by_encoders("hello", {})
    return {"pixels": [frame.hex() for frame in pixels], "rates": rates, "about": about}


TICKS_A_MS = 40
RIG = {"settings": {}, "tick_hz": 40000.0, "simulated": ["acquisition: plain"], "display": {
    "name": "none", "size_px": [800, 600], "place": {"size_deg": 4.0}}}
chance, arrays = random.Random(1), {}
encoders, told = connected(zmq.DEALER, encoders_address), []
work = connected(zmq.DEALER, work_address)
control = connected(zmq.DEALER, control_address)
events = connected(zmq.SUB, events_address)
events.subscribe(b"plain")
refusals, published, reported, n_images = [], [], {}, 0

# Before the session: what is no request of this protocol is refused, not ignored.
refused(work, "hello", {}, wire=1)
refused(work, "good_morning", {})
refused(work, "hello", {"name": "rig"})
refused(work, "hello", {}, session="another")
kind, body, _ = ask(work, "hello", {}, session="")
assert kind == "welcome" and body == {"session_id": "plain", "seed": 3, "state": "running"}, body
me = {"rig_id": "plain-rig", "site_ids": sites, "rig": RIG}
refused(work, "attach", dict(me, site_ids=["A-009"]))
kind, body, _ = ask(work, "attach", me)
assert kind == "attached" and body["next_block"] == 0
refused(work, "attach", dict(me, rig_id="another-rig"))
nearer = dict(RIG, display=dict(RIG["display"], distance_cm=40.0))
refused(work, "attach", dict(me, rig=nearer))
kind, body, _ = ask(work, "hello", {"says": "resting"})
assert kind == "welcome"

# Watch: annotate until the subscription is heard of.
while not published:
    kind, body, _ = ask(control, "annotate", {"text": "written by a plain client"})
    assert kind == "status_report"
    if events.poll(1000):
        topic, header = events.recv_multipart()
        published.append(json.loads(header))

index = 0
while True:
    block, frames = next_block(index)
    if block is None:
        end = frames
        break
    assert block["index"] == index
    height, width, channels = block["image_shape"]
    assert channels == 3 and len(frames) == len(block["stimuli"])
    for stimulus, pixels in zip(block["stimuli"], frames):
        assert image_hash(height, width, pixels) == stimulus["id"]
        n_images += 1
    if index == 0:
        id = send(work, "next_block", {"block_index": 0})  # the same question twice
        send(work, "next_block", {"block_index": 0}, id=id)
        first, second = receive(work, id), receive(work, id)
        assert first == second and first[2] == frames
        predicted = ask_encoders()
    # In block 0, the first image of the second trial is broken off, and with it its neighbour.
    shown = show(block, lambda trial, repetition, attempt:
                 "fixation_break" if index == 0 and trial == 1 else "completed")
    if index == 0:
        strange = [dict(shown[0], stimulus_id=hashlib.sha256(b"other").hexdigest()), *shown[1:]]
        more = [one + (place == 0) for place, one in enumerate(shown[0]["spike_counts"])]
        not_accepted(block, strange)
        not_accepted(block, [shown[0], *shown])
        not_accepted(dict(block, index=1), shown)
        not_accepted(block, [dict(shown[0], spike_counts=more), *shown[1:]])
    id = submit(block, shown)  # the same answer twice
    submit(block, shown, id=id)
    first, second = receive(work, id)[:2], receive(work, id)[:2]
    assert first[0] == second[0] == "accepted"
    assert [first[1].pop("duplicate"), second[1].pop("duplicate")] == [False, True]
    assert first == second
    reported[index] = {"shown": shown, "digest": first[1]["responses_digest"]}
    if index == 0:
        others = [dict(one, dropped_frames=1) for one in shown]
        not_accepted(block, others)
    index += 1

kind, body, _ = ask(control, "status", {}, session="")
assert kind == "status_report" and len(body["sessions"]) == 1
status = body["sessions"][0]
while published[-1]["body"]["event"] != "session_ended":
    topic, header = events.recv_multipart()
    assert topic == b"plain"
    published.append(json.loads(header))
refused(control, "pause", {})
kind, body, _ = ask(work, "goodbye", {})
assert kind == "farewell" and body == {}

ours = {"protocols", "encoders", "simulated_neurons", "synth_server", "rig_client", "numpy"}
json.dump({
    "imported": sorted(ours & set(sys.modules)), "refusals": refusals, "end": end,
    "status": status, "reported": reported, "n_images": n_images,
    "published": [message["body"] for message in published],
    "predicted": predicted, "told_by_encoders": told,
}, sys.stdout)
'''


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What the client says that happened, and the log of the server."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "session.toml").write_text(SESSION, "utf-8")
    (folder / "client.py").write_text(CLIENT, "utf-8")
    with _server(folder) as (server, addresses):
        client = subprocess.run(
            [sys.executable, "-I", "client.py", *addresses, *SITES],
            cwd=folder,
            capture_output=True,
            timeout=END_S,
            check=False,
        )
        assert client.returncode == 0, client.stderr.decode()
        assert server.wait(END_S) == 0, (folder / "server.log").read_text()
    return json.loads(client.stdout), folder / "session.sqlite"


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], list[str]]]:
    arguments = ["serve", "session.toml", "--log", "session.sqlite", "--announce", "at.json"]
    for name in ("work", "control", "events", "encoders"):
        arguments += [f"--{name}-port", "0"]
    encoder = write_small_encoder(folder / "v4.safetensors")
    arguments += ["--encoder", f"v4={encoder}"]
    with (folder / "server.log").open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "synth_server.cli", *arguments, "--exit-when-over"],
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield server, _announced(server, folder)
        finally:
            if server.poll() is None:
                server.kill()
            server.wait()


def _announced(server: subprocess.Popen[bytes], folder: Path) -> list[str]:
    """The addresses, once the server wrote them; returns early if it died."""
    deadline = time.monotonic() + STARTUP_S
    while not (folder / "at.json").exists():
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.02)
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail((folder / "server.log").read_text())
    addresses = json.loads((folder / "at.json").read_text("utf-8"))
    return [addresses[name] for name in ("work", "control", "events", "encoders")]


def test_the_client_used_nothing_of_ours(exchange):
    assert exchange[0]["imported"] == []


def test_every_image_was_the_one_announced(exchange):
    assert exchange[0]["n_images"] == 9


def test_what_does_not_fit_was_refused_with_its_reason(exchange):
    assert exchange[0]["refusals"] == [
        "wire_version",
        "unknown_kind",
        "malformed",
        "unknown_session",
        "unknown_site",
        "other_rig",
        "other_display",
        "responses_do_not_fit",
        "responses_do_not_fit",
        "out_of_order",
        "responses_do_not_fit",
        "already_answered",
        "session_over",
    ]


def test_the_encoders_answered_as_they_would_here(exchange):
    predicted = exchange[0]["predicted"]
    pixels = [np.frombuffer(bytes.fromhex(frame), np.uint8) for frame in predicted["pixels"]]
    rates = small_encoder().predict(np.stack(pixels).reshape(2, 32, 32, 3))
    assert predicted["rates"] == rates.ravel().tolist()
    file = (exchange[1].parent / "v4.safetensors").read_bytes()
    assert predicted["about"]["digest"] == hashlib.sha256(file).hexdigest()


def test_the_encoders_refused_with_their_reasons(exchange):
    assert exchange[0]["told_by_encoders"] == [
        "cancelled",
        "unknown_encoder",
        "malformed",
        "malformed",
        "unknown_site",
        "settings_refused",
        "too_large",
        "too_late",
        "unknown_kind",
    ]


def test_the_session_ended(exchange):
    client, path = exchange
    log = SessionLog(path)
    last = list(log.events())[-1]
    log.close()
    assert last.kind is EventKind.SESSION_ENDED
    assert (last.document["state"], last.document["n_blocks"]) == ("finished", 3)
    assert client["end"]["n_blocks"] == 3
    assert (client["status"]["blocks_proposed"], client["status"]["blocks_answered"]) == (3, 3)
    assert client["status"]["rig_id"] == "plain-rig"


def test_the_log_holds_what_the_client_reported_once(exchange):
    client, path = exchange
    log = SessionLog(path)
    verify_chain(log)
    logged = [event.document for event in log.events(EventKind.RESPONSES_RECEIVED)]
    log.close()
    assert [document["block_index"] for document in logged] == [0, 1, 2]
    for document in logged:
        reported = client["reported"][str(document["block_index"])]["shown"]
        assert [_told(shown) for shown in document["presentations"]] == reported


def test_every_repetition_was_counted_exactly_once(exchange):
    log = SessionLog(exchange[1])
    blocks = [event.document for event in log.events(EventKind.BLOCK_PROPOSED)]
    logged = [event.document for event in log.events(EventKind.RESPONSES_RECEIVED)]
    log.close()
    for block, document in zip(blocks, logged, strict=True):
        counted = Counter(
            (shown["stimulus_id"], shown["repetition"])
            for shown in document["presentations"]
            if shown["outcome"] == "completed"
        )
        asked = Counter(block["stimuli"][index]["id"] for index in block["order"])
        assert counted == {(name, n): 1 for name, times in asked.items() for n in range(times)}


def test_the_broken_trial_was_shown_again_at_the_end(exchange):
    shown = exchange[0]["reported"]["0"]["shown"]
    failed = [one for one in shown if one["outcome"] != "completed"]
    assert [one["outcome"] for one in failed] == ["fixation_break"]
    (broken,), again = failed, shown[-1]
    assert (again["stimulus_id"], again["repetition"]) == (
        broken["stimulus_id"],
        broken["repetition"],
    )
    assert (broken["attempt"], again["attempt"]) == (0, 1)


def test_published_events_are_those_of_the_log(exchange):
    client, path = exchange
    log = SessionLog(path)
    first = client["published"][0]["seq"]
    logged = [
        {"seq": event.seq, "event": event.kind, "document": event.document}
        for event in log.events(after=first - 1)
    ]
    notes = [event.document["text"] for event in log.events(EventKind.CONTROL)]
    log.close()
    assert client["published"] == logged
    assert set(notes) == {"written by a plain client"}


def _told(shown: dict[str, Any]) -> dict[str, Any]:
    """A logged presentation as the client sends it: without what it leaves to the defaults."""
    left_out = {"dropped_frames"} | ({"spike_counts"} if shown["spike_counts"] is None else set())
    return {name: value for name, value in shown.items() if name not in left_out}
