"""What clients of hosted encoders see: each request computed once, in order, or refused with a reason."""

from __future__ import annotations

import json

import numpy as np
import pytest

from encoders.natural import natural_statistics
from protocols.settings import PluginChoice
from protocols.wire import encoder_messages as msg
from protocols.wire.arrays import floats_from, images_from
from protocols.wire.codec import image_frames
from protocols.wire.messages import Hello, Refused
from synth_server.encoder_service import endpoint as endpoint_module
from synth_server.encoder_service import jobs as jobs_module
from synth_server.encoder_service.endpoint import KeptAnswers
from synth_server.encoder_service.tasks import Answer, recipe_for
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.targets import objectives_for
from tests.end_to_end.processes import eventually

LONG = 100_000


def rates_in(message):
    assert isinstance(message.body, msg.Prediction), message.body
    return floats_from(message.frames[0], (message.body.n_images, len(message.body.site_ids)))


def reason(message):
    assert isinstance(message.body, Refused), message.body
    return message.body.reason.value


@pytest.fixture
def impatient(monkeypatch):
    """Signs of life, and what hangs on them, come quickly."""
    monkeypatch.setattr(endpoint_module, "WORKING_S", 0.02)
    monkeypatch.setattr(endpoint_module, "TURN_MS", 10)


def test_rates_are_those_of_the_encoder(host, client, images):
    request = client.predict(images)
    message = client.answer()
    assert message.header.reply_to == request
    assert message.body.site_ids == host.encoder.site_ids
    assert np.array_equal(rates_in(message), host.encoder.predict(images))


def test_many_images_are_looked_at_in_parts_and_come_back_in_order(host, client):
    images = np.random.default_rng(1).integers(0, 256, (150, 4, 4, 3), dtype=np.uint8)
    client.predict(images)
    assert np.array_equal(rates_in(client.answer()), host.encoder.predict(images))
    assert host.encoder.done == ["predict"] * 4


def test_images_are_those_of_the_ascent(host, client):
    body = msg.Synthesize(
        encoder="v4", targets=("green", "red"), seeds=(3, 1), size_px=16, settings={"n_steps": 4}
    )
    message = client.ask(body)
    objectives = objectives_for("stretch", body.targets, host.encoder.site_ids)
    here = synthesize(host.encoder, objectives, *recipe_for(body, host.hosted), list(body.seeds))
    *frames, predicted, scores = message.frames
    assert np.array_equal(images_from(frames, message.body.image_shape), here.images)
    assert np.array_equal(floats_from(predicted, (4, 3)), here.predicted)
    assert np.array_equal(floats_from(scores, (4,)), here.scores)
    assert message.body.targets == ("green", "green", "red", "red")
    assert message.body.seeds == (3, 1, 3, 1)


def test_settings_replace_the_recipes_table_by_table(host):
    body = msg.Synthesize(
        encoder="v4", settings={"n_steps": 7, "constraints": {"grayscale": True}}, size_px=32
    )
    settings = recipe_for(body, host.hosted).settings
    usual = recipe_for(msg.Synthesize(encoder="v4"), host.hosted).settings
    assert settings.device == "cpu", "where the encoder runs"
    assert (settings.n_steps, settings.constraints.grayscale) == (7, True)
    assert settings.constraints.mean == usual.constraints.mean
    assert settings.optimizer == usual.optimizer


def test_moments_are_those_that_are_natural_to_the_encoder(host):
    natural = natural_statistics(
        np.full((3, 16, 16, 3), 77, np.uint8), np.ones((3, 3)), host.encoder.site_ids
    )
    body = msg.Synthesize(encoder="v4", settings={"constraints": {"rms_contrast": 0.1}})
    constraints = recipe_for(body, host.hosted._replace(natural=natural)).settings.constraints
    assert (constraints.mean, constraints.rms_contrast) == (round(77 / 255, 4), 0.1)


def test_the_same_request_is_computed_once(host, new_client, images):
    """On the same connection or another, while it is computed and after that."""
    first, second = new_client(), new_client()
    host.encoder.hold()
    first.predict(images, "1")
    assert host.encoder.waiting.wait(60)
    first.predict(images, "1")
    assert isinstance(first.receive().body, msg.Working)
    second.predict(images, "1")
    eventually(lambda: host.n_jobs == 1, "one job for both")
    second.predict(images, "1")
    assert isinstance(second.receive().body, msg.Working)
    host.encoder.gate.set()
    found = [rates_in(client.answer()) for client in (first, second)]
    assert np.array_equal(*found)
    late = new_client()
    late.predict(images, "1")
    assert np.array_equal(rates_in(late.answer()), found[0])
    assert host.encoder.done == ["predict"]


def test_the_same_id_with_other_contents_is_another_request(host, new_client, images):
    first, second = new_client(), new_client()
    first.predict(images, "1")
    second.predict(images[::-1], "1")
    assert np.array_equal(rates_in(first.answer()), rates_in(second.answer())[::-1])
    assert host.encoder.done == ["predict"] * 2


def test_predictions_go_between_the_steps_of_a_synthesis(host, new_client, images):
    slow, quick = new_client(), new_client()
    host.encoder.hold()
    slow.synthesize(n_steps=8)
    assert host.encoder.waiting.wait(60)
    quick.predict(images, "1")
    quick.predict(images, "1")
    said = quick.receive().body
    assert (said.state, said.ahead) == ("queued", 0)
    host.encoder.gate.set()
    rates_in(quick.answer())
    assert isinstance(slow.answer().body, msg.Synthesized)
    assert host.encoder.done.index("predict") < host.encoder.done.count("rates") - 1


def test_who_waits_is_told_how_far_it_is(host, client, impatient):
    client.synthesize(n_steps=LONG, request_id="1")
    told = [client.receive().body for _ in range(6)]
    assert all(isinstance(body, msg.Working) for body in told)
    assert told[-1].state == "running"
    assert 0 < told[-1].done < told[-1].total == LONG
    steps = [body.done for body in told]
    assert steps == sorted(steps)
    client.synthesize(n_steps=5)
    waiting = eventually(lambda: _queued(client), "word about the second")
    assert waiting.ahead == 1
    client.send(msg.Cancel(request="1"))


def _queued(client):
    body = client.receive().body
    return body if isinstance(body, msg.Working) and body.state == "queued" else None


def test_a_running_request_is_cancelled(host, new_client):
    client, other = new_client(), new_client()
    client.synthesize(n_steps=LONG, request_id="1")
    eventually(lambda: "rates" in host.encoder.done, "a first step")
    other.send(msg.Cancel(request="1"))
    assert not other.answer().body.found, "of this connection only"
    client.send(msg.Cancel(request="1"), request_id="2")
    answers = {message.header.reply_to: message for message in (client.answer(), client.answer())}
    assert answers["2"].body == msg.Cancelled(request="1", found=True)
    assert reason(answers["1"]) == "cancelled"
    assert len(host.encoder.done) < LONG
    client.synthesize(n_steps=LONG, request_id="1")
    assert reason(client.answer()) == "cancelled", "a late copy does not begin it again"


def test_a_waiting_request_is_cancelled_at_once(host, new_client, images):
    busy, client = new_client(), new_client()
    host.encoder.hold()
    busy.predict(images)
    assert host.encoder.waiting.wait(60)
    client.synthesize(request_id="1")
    client.send(msg.Cancel(request="1"))
    said = [client.answer().body for _ in range(2)]
    assert {body.kind for body in said} == {"cancelled", "refused"}
    host.encoder.gate.set()
    rates_in(busy.answer())
    assert host.encoder.done == ["predict"]


def test_one_of_two_askers_leaves(host, new_client):
    stays, leaves = new_client(), new_client()
    host.encoder.hold()
    for client in (stays, leaves):
        client.synthesize(request_id="1")
    eventually(lambda: sum(len(j.waiters) for j in host.endpoint._jobs.values()) == 2, "both")
    leaves.send(msg.Cancel(request="1"))
    assert {leaves.answer().body.kind, leaves.answer().body.kind} == {"cancelled", "refused"}
    host.encoder.gate.set()
    assert isinstance(stays.answer().body, msg.Synthesized)


def test_what_is_answered_cannot_be_cancelled(client, images):
    request = client.predict(images)
    client.answer()
    assert client.ask(msg.Cancel(request=request)).body == msg.Cancelled(
        request=request, found=False
    )


def test_deadlines_hold_waiting_and_running(host, new_client, images, impatient):
    busy, client = new_client(), new_client()
    host.encoder.hold()
    busy.predict(images)
    assert host.encoder.waiting.wait(60)
    client.predict(images, deadline_s=0.05)
    assert reason(client.answer()) == "too_late"
    host.encoder.gate.set()
    rates_in(busy.answer())
    client.synthesize(n_steps=LONG, deadline_s=0.05)
    assert reason(client.answer()) == "too_late"
    assert len(host.encoder.done) < LONG


def test_a_full_queue_refuses_and_recovers(host, client, images, monkeypatch):
    monkeypatch.setattr(jobs_module, "MAX_QUEUED", 2)
    host.encoder.hold()
    client.predict(images, "running")
    assert host.encoder.waiting.wait(60)
    for name in ("second", "third", "fourth"):
        client.predict(images, name)
    refused = client.answer()
    assert (refused.header.reply_to, reason(refused)) == ("fourth", "busy")
    host.encoder.gate.set()
    assert {client.answer().header.reply_to for _ in range(3)} == {"running", "second", "third"}
    client.predict(images, "fourth")
    rates_in(client.answer())


def test_what_a_dead_client_asked_for_is_dropped(host, new_client, images, impatient, monkeypatch):
    monkeypatch.setattr(endpoint_module, "UNWANTED_S", 0.0)
    dead, alive = new_client(), new_client()
    dead.synthesize(n_steps=LONG)
    eventually(lambda: "rates" in host.encoder.done, "a first step")
    dead.socket.close()
    eventually(lambda: host.n_jobs == 0, "the job was dropped")
    assert len(host.encoder.done) < LONG
    alive.predict(images)
    rates_in(alive.answer())


def test_a_client_that_comes_back_finds_its_request_under_way(host, new_client, impatient):
    first = new_client()
    host.encoder.hold()
    first.synthesize(n_steps=6, request_id="1")
    assert host.encoder.waiting.wait(60)
    first.socket.close()
    (job,) = host.endpoint._jobs.values()
    eventually(lambda: job.unwanted_since is not None, "its absence was noticed")
    again = new_client()
    again.synthesize(n_steps=6, request_id="1")
    eventually(lambda: job.waiters, "it was joined")
    host.encoder.gate.set()
    assert isinstance(again.answer().body, msg.Synthesized)


def test_a_failed_computation_harms_no_other(host, client, images):
    host.encoder.failure = RuntimeError("out of memory")
    client.predict(images)
    message = client.answer()
    assert reason(message) == "server_failed"
    assert "out of memory" in message.body.got
    host.encoder.failure = None
    client.predict(images)
    rates_in(client.answer())


def synthesis(**changes):
    return msg.Synthesize(**({"encoder": "v4", "size_px": 16} | changes))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (synthesis(encoder="it"), "unknown_encoder"),
        (synthesis(targets=("ultraviolet",)), "unknown_site"),
        (synthesis(targets=("red", "red")), "settings_refused"),
        (synthesis(objective=PluginChoice(name="please")), "settings_refused"),
        (synthesis(objective=PluginChoice(name="stretch", options={"a": 1})), "settings_refused"),
        (synthesis(recipe="cake"), "settings_refused"),
        (synthesis(seeds=(1, 1)), "settings_refused"),
        (synthesis(settings={"n_steps": 0}), "settings_refused"),
        (synthesis(settings={"steps": 5}), "settings_refused"),
        (synthesis(settings={"constraints": {"mean": 7}}), "settings_refused"),
        (synthesis(settings={"constraints": 3}), "settings_refused"),
        (synthesis(settings={"device": "cuda"}), "settings_refused"),
        (synthesis(settings={"penalties": {"unnaturalness": 1}}), "settings_refused"),
        (synthesis(seeds=tuple(range(1366))), "too_large"),
        (synthesis(size_px=2048, seeds=(0, 1)), "too_large"),
        (msg.Predict(encoder="it", image_shape=(8, 6, 3)), "unknown_encoder"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_a_reason(host, client, body, expected):
    message = client.ask(body, image_frames(np.zeros((1, 8, 6, 3), np.uint8)))
    assert reason(message) == expected
    assert message.body.what
    assert client.ask(msg.ListEncoders()).body.encoders[0].name == "v4"


@pytest.mark.parametrize(
    "frames", [[], [b""], [b"x" * 143], [b"x" * 145], [b"x" * 144, b"x" * 143], [b"x" * 288]]
)
def test_frames_that_are_no_such_images_are_refused(client, frames):
    message = client.ask(msg.Predict(encoder="v4", image_shape=(8, 6, 3)), frames)
    assert reason(message) == "malformed"
    assert "144 bytes" in message.body.expected


def test_too_many_bytes_are_refused(client, images, monkeypatch):
    monkeypatch.setattr(endpoint_module, "MAX_REQUEST_BYTES", images.nbytes - 1)
    client.predict(images)
    assert reason(client.answer()) == "too_large"


def test_nonsense_is_refused_and_does_no_harm(host, client, images):
    shape = '"image_shape":[8,6,3]'
    for frames, expected in (
        ([b""], "malformed"),
        ([b"\xff\xfe{"], "malformed"),
        ([b'"\\ud800"'], "malformed"),
        ([json.dumps({"wire": 1, "kind": "predict"}).encode()], "wire_version"),
        ([b'{"wire":4,"kind":"predict","body":{}}'], "malformed"),
        (
            [b'{"wire":4,"kind":"predict","body":{"encoder":"v4","image_shape":[0,6,3]}}'],
            "malformed",
        ),
        (
            [b'{"wire":4,"kind":"predict","body":{"encoder":"v4","image_shape":[8,6,4]}}'],
            "malformed",
        ),
        ([b'{"wire":4,"kind":"synthesize","body":{"encoder":"v4","seeds":[-1]}}'], "malformed"),
        ([b'{"wire":4,"kind":"synthesize","body":{"encoder":"v4","size_px":1e9}}'], "malformed"),
        ([f'{{"wire":4,"kind":"predict","body":{{"encoder":"\\ud800",{shape}}}}}'.encode()], None),
        (
            [b'{"wire":4,"kind":"synthesize","body":{"encoder":"v4","settings":{"\\ud800":1}}}'],
            None,
        ),
        (
            [b'{"wire":4,"kind":"synthesize","body":{"encoder":"v4","settings":{"n_steps":NaN}}}'],
            None,
        ),
    ):
        client.socket.send_multipart(frames)
        message = client.answer()
        assert isinstance(message.body, Refused), frames
        assert expected in (None, message.body.reason.value), frames
        assert message.body.reason != "server_failed", message.body
    assert reason(client.ask(Hello())) == "unknown_kind"
    client.predict(images)
    rates_in(client.answer())


def test_old_answers_make_room_for_new_ones():
    kept = KeptAnswers(n_most=2, most_bytes=100)
    for name in "abc":
        kept.keep(name, Answer(msg.Encoders(encoders=()), (memoryview(bytes(40)),)))
    assert [kept.get(name) is not None for name in "abc"] == [False, True, True]
    kept.keep("d", Answer(msg.Encoders(encoders=()), (memoryview(bytes(90)),)))
    assert [kept.get(name) is not None for name in "bcd"] == [False, False, True]
    kept.keep("huge", Answer(msg.Encoders(encoders=()), (memoryview(bytes(900)),)))
    assert kept.get("huge") is not None
    assert kept.get("d") is None
