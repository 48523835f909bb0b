"""The queue: bounded, predictions first."""

import pytest

from protocols.errors import Refusal, SettingsError
from synth_server.encoder_service import jobs as jobs_module
from synth_server.encoder_service.jobs import Job, JobQueue
from synth_server.encoder_service.process import named_files
from synth_server.encoder_service.tasks import Answer


def job(key, *, urgent=False, n_bytes=0):
    def nothing(_tick) -> Answer:
        raise NotImplementedError

    return Job(key, nothing, n_bytes, urgent)


@pytest.fixture
def filled():
    queue = JobQueue()
    jobs = [job("s1"), job("p1", urgent=True), job("s2"), job("p2", urgent=True)]
    for one in jobs:
        queue.put(one)
    return queue, {one.key: one for one in jobs}


def test_predictions_first_then_by_arrival(filled):
    queue, _ = filled
    assert [queue.take().key for _ in range(4)] == ["p1", "p2", "s1", "s2"]


def test_places_in_the_queue(filled):
    queue, jobs = filled
    assert {key: queue.ahead_of(one) for key, one in jobs.items()} == {
        "p1": 0, "p2": 1, "s1": 2, "s2": 3,
    }  # fmt: skip


def test_only_urgent_ones_are_taken_in_between(filled):
    queue, _ = filled
    assert [queue.take_urgent().key for _ in range(2)] == ["p1", "p2"]
    assert queue.take_urgent() is None


def test_what_is_dropped_is_not_taken(filled):
    queue, jobs = filled
    assert queue.drop(jobs["p1"])
    assert queue.drop(jobs["s1"])
    assert not queue.drop(jobs["s1"])
    assert [queue.take().key for _ in range(2)] == ["p2", "s2"]
    assert not queue.drop(jobs["s2"])


def test_a_finished_queue_gives_nothing(filled):
    queue, _ = filled
    queue.finish()
    assert queue.take() is None
    assert queue.take_urgent() is None


def test_it_has_room_for_so_many_and_for_so_many_bytes(monkeypatch):
    monkeypatch.setattr(jobs_module, "MAX_QUEUED", 3)
    monkeypatch.setattr(jobs_module, "MAX_QUEUED_BYTES", 100)
    queue = JobQueue()
    queue.put(job("one larger than all room", n_bytes=500))
    with pytest.raises(Refusal, match="bytes") as caught:
        queue.put(job("b", n_bytes=1))
    assert caught.value.reason == "busy"
    queue.take()
    for name in "abc":
        queue.put(job(name, n_bytes=10))
    with pytest.raises(Refusal, match="3 requests"):
        queue.put(job("d"))
    assert [queue.take().key for _ in range(3)] == ["a", "b", "c"]


def test_names_and_files():
    found = named_files(["v4=a.safetensors", "it-2=x=y.safetensors"])
    assert {name: str(path) for name, path in found.items()} == {
        "v4": "a.safetensors",
        "it-2": "x=y.safetensors",
    }


@pytest.mark.parametrize(
    "arguments", [[], ["v4"], ["=a"], ["v4="], ["v 4=a"], ["v4=a", "v4=b"], ["../v4=a"]]
)
def test_wrong_names_are_refused(arguments):
    with pytest.raises(SettingsError, match="NAME=FILE"):
        named_files(arguments)
