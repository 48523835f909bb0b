import numpy as np
import pytest

from protocols.errors import ResponsesRefused
from protocols.vocabulary import Block, BlockResponses, Role
from synth_server.session.conductor import Conductor


def _plan(n, level):
    for number in range(n):
        images = np.full((1, 4, 4, 3), level + number, dtype=np.uint8)
        yield Block.of(images, roles=Role.EVOLVED, label=f"{level + number}")


def _answer(index):
    return BlockResponses(block_index=index, site_ids=("x",), presentations=())


def _proposals(conductor):
    while (block := conductor.propose()) is not None:
        yield f"{block.index}{block.thread}{block.label}"


def test_threads_take_turns_and_each_waits_for_its_own_responses():
    conductor = Conductor({"a": _plan(2, 0), "b": _plan(2, 10)})
    assert list(_proposals(conductor)) == ["0a0", "1b10"]
    conductor.accept(_answer(0))
    assert list(_proposals(conductor)) == ["2a1"]
    conductor.accept(_answer(1))
    assert list(_proposals(conductor)) == ["3b11"]


def test_a_thread_out_of_turn_waits():
    conductor = Conductor({"a": _plan(3, 0), "b": _plan(3, 10)})
    assert list(_proposals(conductor)) == ["0a0", "1b10"]
    conductor.accept(_answer(1))
    assert list(_proposals(conductor)) == []
    conductor.accept(_answer(0))
    assert list(_proposals(conductor)) == ["2a1", "3b11"]


def test_a_finished_thread_leaves_the_rotation():
    conductor = Conductor({"a": _plan(1, 0), "b": _plan(3, 10), "c": _plan(2, 20)})
    shown = []
    index = 0
    shown += _proposals(conductor)
    while not conductor.exhausted:
        conductor.accept(_answer(index))
        index += 1
        shown += _proposals(conductor)
    assert shown == ["0a0", "1b10", "2c20", "3b11", "4c21", "5b12"]


def test_a_plan_without_blocks_is_no_thread():
    conductor = Conductor({"a": _plan(0, 0), "b": _plan(1, 10)})
    assert list(_proposals(conductor)) == ["0b10"]


def test_responses_to_no_block_are_refused():
    conductor = Conductor({"a": _plan(1, 0)})
    list(_proposals(conductor))
    with pytest.raises(ResponsesRefused):
        conductor.accept(_answer(1))
    conductor.accept(_answer(0))
    with pytest.raises(ResponsesRefused):
        conductor.accept(_answer(0))
