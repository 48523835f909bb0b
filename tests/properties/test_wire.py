"""Whatever bytes arrive: a message, or `MalformedMessage` that says why. Never anything else."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.digests import array_digest
from protocols.errors import MalformedMessage
from protocols.rig_description import RigDescription
from protocols.settings import PluginChoice
from protocols.spike_times import packed
from protocols.vocabulary import (
    Block,
    BlockResponses,
    GazeTrace,
    Outcome,
    Presentation,
    Role,
    Timing,
)
from protocols.wire import encoder_messages as enc
from protocols.wire import messages as msg
from protocols.wire.arrays import float_frame, floats_from, images_from
from protocols.wire.codec import (
    MAX_FRAMES,
    BadRequest,
    Message,
    block_from,
    decode,
    encode,
    image_frames,
    refusal,
    responses_from,
    submission,
)

SOCKETS = (
    msg.WORK_REQUESTS,
    msg.CONTROL_REQUESTS,
    msg.REPLIES,
    msg.PUBLISHED,
    enc.ENCODER_REQUESTS,
    enc.ENCODER_REPLIES,
)
ALL = tuple(kind for socket in SOCKETS for kind in socket)

hashes = st.text("0123456789abcdef", min_size=64, max_size=64)
names = st.text(max_size=64)
session_ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
sites = st.lists(st.text(min_size=1, max_size=64), min_size=1, max_size=3).map(tuple)
states = st.sampled_from(["running", "paused", "stopping", "finished", "stopped", "aborted"])
indices = st.integers(0, 2**40)
finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=40)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
documents = st.dictionaries(words, json_values, max_size=5)

KEPT_S, TICK_HZ = (-0.1, 0.3), 30_000.0


@st.composite
def responses(draw: st.DrawFn) -> BlockResponses:
    site_ids = draw(sites)
    counts = st.tuples(*[st.floats(0, 1e6) for _ in site_ids])
    shown = []
    for outcome in draw(st.lists(st.sampled_from(Outcome), max_size=4)):
        shown.append(
            Presentation(
                stimulus_id=draw(hashes),
                repetition=draw(indices),
                attempt=draw(indices),
                trial=draw(indices),
                onset_s=draw(finite),
                onset_clock=draw(st.sampled_from(["rig", "recorder", "virtual"])),
                outcome=outcome,
                spike_counts=draw(counts) if outcome is Outcome.COMPLETED else None,
                dropped_frames=draw(indices),
            )
        )
    return BlockResponses(block_index=draw(indices), site_ids=site_ids, presentations=tuple(shown))


status_lines = st.builds(
    msg.SessionStatus,
    session_id=words,
    state=states,
    rig_id=words,
    blocks_proposed=indices,
    blocks_answered=indices,
    last_event=indices,
)
shapes = st.tuples(st.integers(1, 16_384), st.integers(1, 16_384), st.just(3))
seeds = st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3).map(tuple)
deadlines = st.none() | st.floats(0, 86_400, exclude_min=True)
summaries = st.builds(
    enc.EncoderSummary,
    name=names,
    site_ids=sites,
    digest=words,
    networks=st.lists(words, max_size=2).map(tuple),
    data_digest=words,
    n_trained=indices,
    n_held_out=indices,
    median_r=st.none() | finite,
    versions=st.dictionaries(words, words, max_size=2),
    notes=words,
)
encoder_bodies: st.SearchStrategy[msg.Body] = st.one_of(
    st.just(enc.ListEncoders()),
    st.builds(enc.Predict, encoder=names, image_shape=shapes, deadline_s=deadlines),
    st.builds(
        enc.Synthesize,
        encoder=names,
        objective=st.builds(PluginChoice, name=st.text(min_size=1, max_size=9), options=documents),
        targets=sites,
        seeds=seeds,
        recipe=names,
        size_px=st.integers(16, 2048),
        settings=documents,
        deadline_s=deadlines,
    ),
    st.builds(enc.Cancel, request=st.text(min_size=1, max_size=64)),
    st.builds(enc.Encoders, encoders=st.lists(summaries, max_size=2).map(tuple)),
    st.builds(
        enc.Working,
        state=st.sampled_from(["queued", "running"]),
        ahead=indices,
        done=indices,
        total=indices,
    ),
    st.builds(enc.Prediction, n_images=st.integers(1, 4096), site_ids=sites),
    st.builds(enc.Synthesized, image_shape=shapes, targets=sites, seeds=seeds, site_ids=sites),
    st.builds(enc.Cancelled, request=names, found=st.booleans()),
)
bodies: st.SearchStrategy[msg.Body] = st.one_of(
    encoder_bodies,
    st.just(msg.Hello()),
    st.builds(
        msg.Attach,
        rig_id=st.text(min_size=1, max_size=64),
        site_ids=sites,
        software=words,
        run=names,
        rig=st.builds(
            RigDescription, settings=documents, simulated=st.lists(words, max_size=2).map(tuple)
        ),
        accept_display_change=st.booleans(),
    ),
    st.builds(msg.NextBlock, block_index=indices),
    st.builds(msg.SubmitResponses, responses=responses()),
    st.just(msg.Goodbye()),
    st.builds(msg.Welcome, session_id=session_ids, seed=indices, state=states),
    st.builds(msg.Attached, next_block=indices),
    st.builds(msg.BlockReady, block=documents),
    st.builds(msg.NotYet, state=states),
    st.builds(msg.Finished, state=states, n_blocks=indices),
    st.builds(msg.Accepted, block_index=indices, responses_digest=words, duplicate=st.booleans()),
    st.just(msg.Farewell()),
    st.builds(
        msg.Refused,
        reason=st.sampled_from(msg.RefusalReason),
        what=words,
        expected=words,
        got=words,
        remedy=words,
    ),
    st.sampled_from([msg.Status(), msg.Pause(), msg.Resume(), msg.Stop(), msg.Abort()]),
    st.builds(msg.Annotate, text=st.text(min_size=1, max_size=40)),
    st.builds(msg.StatusReport, sessions=st.lists(status_lines, max_size=3).map(tuple)),
    st.builds(msg.Happened, seq=indices, event=words, document=documents),
)


@st.composite
def blocks(draw: st.DrawFn) -> Block:
    """Small blocks with every optional part."""
    n, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 5))
    pixels = draw(st.binary(min_size=n * height * width * 3, max_size=n * height * width * 3))
    images = np.frombuffer(pixels, np.uint8).reshape(n, height, width, 3)
    return Block.of(
        images,
        roles=[draw(st.sampled_from(Role)) for _ in range(n)],
        order=draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=6)),
        label=draw(words),
        generation=draw(st.none() | indices),
        codes=np.zeros((n, 2), np.float32),
        timing=Timing(presentations_per_trial=draw(st.integers(1, 3))),
    ).at(draw(indices), draw(words))


def sent(body: msg.Body, **header: Any) -> list[bytes]:
    """The frames of a message as they arrive."""
    return [bytes(frame) for frame in encode(body, **header)]


def sent_block(block: Block) -> list[bytes]:
    body = msg.BlockReady(block=block.document())
    return sent(body, reply_to="1", frames=image_frames(block.distinct_images().values()))


def read(frames: list[bytes]) -> Message | None:
    """What each of our sockets does with what it gets; None where it is refused.

    Every refusal must become a message that can be sent.
    """
    found = None
    for known in SOCKETS:
        try:
            found = decode(frames, known)
        except BadRequest as error:
            again = sent(refusal(error, error.reason), reply_to=error.request_id)
            told = decode(again, msg.REPLIES).body
            assert isinstance(told, msg.Refused)
            assert told.what
        else:
            if isinstance(found.body, msg.BlockReady):
                with contextlib.suppress(MalformedMessage):
                    block_from(found)
            if isinstance(found.body, msg.SubmitResponses):
                with contextlib.suppress(MalformedMessage):
                    responses_from(found)
    return found


@given(bodies, names, names, names)
def test_what_is_sent_is_what_arrives(
    body: msg.Body, request_id: str, reply_to: str, session: str
) -> None:
    frames = [b"raw", b""]
    message = decode(
        sent(body, request_id=request_id, reply_to=reply_to, session=session, frames=frames), ALL
    )
    assert message.body == body
    assert type(message.body) is type(body)
    assert message.header.id == request_id
    assert message.header.reply_to == reply_to
    assert message.header.session == session
    assert message.frames == (b"raw", b"")


@given(blocks())
def test_a_block_arrives_whole(block: Block) -> None:
    arrived = block_from(decode(sent_block(block), msg.REPLIES))
    assert arrived.document() == block.document()
    assert arrived.digest == block.digest
    assert np.array_equal(arrived.images, block.images)
    assert list(arrived.cues()) == list(block.cues())


spike_trains = st.lists(st.lists(st.integers(-3000, 8999), max_size=6), min_size=1, max_size=4)


def answered(trains: list[list[int]]) -> BlockResponses:
    """Responses with one completed presentation that has these spike times, and gaze."""
    times = packed([np.array(each, np.int64) for each in trains], KEPT_S, TICK_HZ)
    gaze = np.arange(8, dtype=np.float32).reshape(2, 4)
    arrays = {array_digest(one): one for one in (times, gaze)}
    shown = Presentation(
        stimulus_id="0" * 64,
        repetition=0,
        attempt=0,
        trial=0,
        onset_s=0,
        outcome=Outcome.COMPLETED,
        spike_counts=tuple(float(n) for n in range(len(trains))),
        times=array_digest(times),
    )
    return BlockResponses(
        block_index=0,
        site_ids=tuple(f"site {n}" for n in range(len(trains))),
        presentations=(shown,),
        tick_hz=TICK_HZ,
        gaze=GazeTrace(digest=array_digest(gaze), start_s=1.5, rate_hz=250),
        arrays=arrays,
    )


def handed_in(responses: BlockResponses) -> list[bytes]:
    body, frames = submission(responses)
    return sent(body, frames=frames)


@given(spike_trains)
def test_spike_times_and_gaze_arrive_to_the_last_bit(trains: list[list[int]]) -> None:
    sent_out = answered(trains)
    arrived = responses_from(decode(handed_in(sent_out), msg.WORK_REQUESTS))
    assert arrived.model_dump() == sent_out.model_dump()
    ticks = arrived.ticks(arrived.presentations[0])
    assert ticks is not None
    assert [each.tolist() for each in ticks] == [sorted(each) for each in trains]
    assert np.array_equal(arrived.gaze_samples(), sent_out.gaze_samples())


@given(spike_trains, st.integers(1, 2), st.integers(0, 10**6))
def test_a_changed_array_is_refused(trains: list[list[int]], place: int, at: int) -> None:
    frames = handed_in(answered(trains))
    changed = bytearray(frames[place])
    changed[at % len(changed)] ^= 1
    frames[place] = bytes(changed)
    with pytest.raises(BadRequest, match="not the arrays"):
        responses_from(decode(frames, msg.WORK_REQUESTS))
    with pytest.raises(BadRequest, match="not the arrays"):
        responses_from(decode(frames[:-1], msg.WORK_REQUESTS))


@given(st.lists(finite, min_size=6, max_size=6))
def test_numbers_arrive_to_the_last_bit(values: list[float]) -> None:
    numbers = np.array(values).reshape(2, 3)
    frame = bytes(float_frame(numbers.T))
    assert np.array_equal(floats_from(frame, (3, 2)), numbers.T)
    for wrong in (frame[:-1], frame + b"0", b""):
        with pytest.raises(MalformedMessage, match="48 bytes"):
            floats_from(wrong, (3, 2))


@given(blocks(), st.integers(-3, 3))
def test_images_arrive_or_are_refused(block: Block, excess: int) -> None:
    frames = [bytes(frame) for frame in image_frames(block.images)]
    shape = (block.images.shape[1], block.images.shape[2], 3)
    assert np.array_equal(images_from(frames, shape), block.images)
    frames[-1] = frames[-1] + bytes(excess) if excess > 0 else frames[-1][: excess or None]
    if excess:
        with pytest.raises(MalformedMessage, match="image_shape"):
            images_from(frames, shape)
    with pytest.raises(MalformedMessage, match="no frames"):
        images_from([], shape)


@given(st.lists(st.binary(max_size=200), max_size=4))
@example([])
@example([b""])
@example([b""] * (MAX_FRAMES + 1))
@example([b"\xff\xfe{"])
@example([b"[" * 100_000])
@example([b'{"body":' * 5_000])
@example([b'{"wire":2,"kind":"hello","body":' + b'{"a":' * 900 + b"1" + b"}" * 901])
@example([b'{"wire":2,"kind":"hello","\\ud800":1}'])
@example([b'{"wire":2,"kind":"hello","body":{"\\ud800":1}}'])
@example([b'{"wire":2,"kind":"hello","body":{"a":"\\ud800"}}'])
@example([b'{"wire":2,"kind":"\\ud800"}'])
@example([b'{"wire":"\\ud800"}'])
@example([b'{"wire":2,"kind":7,"id":"\\ud800"}'])
@example([b'"\\ud800"'])
@example([b'{"wire":2,"kind":"hello","id":' + b"9" * 5_000 + b"}"])
@example([b'{"wire":1e999,"kind":"hello"}'])
@example([b'{"wire":NaN,"kind":"hello","body":{"a":NaN}}'])
@example([b'{"wire":2,"kind":"annotate","body":{"text":null}}'])
def test_random_bytes_are_refused(frames: list[bytes]) -> None:
    assert read(frames) is None


@given(st.data())
def test_mutated_messages_are_read_or_refused(data: st.DataObject) -> None:
    """Bytes replaced, removed, inserted, doubled; frames removed, swapped, repeated."""
    whole = data.draw(bodies.map(sent) | blocks().map(sent_block))
    frames = [bytearray(frame) for frame in whole]
    for _ in range(data.draw(st.integers(1, 4))):
        frame = data.draw(st.sampled_from(frames))
        start = data.draw(st.integers(0, len(frame)))
        stop = data.draw(st.integers(start, min(len(frame), start + 8)))
        frame[start:stop] = data.draw(st.binary(max_size=8) | st.just(bytes(frame[start:stop]) * 2))
    if data.draw(st.booleans()):
        frames = data.draw(st.lists(st.sampled_from(frames), max_size=5))
    read([bytes(frame) for frame in frames])


@given(st.data())
def test_strange_values_in_true_fields_are_read_or_refused(data: st.DataObject) -> None:
    """A peer of another make: the right fields, and anything at all in one of them."""
    frames = data.draw(bodies.map(sent) | blocks().map(sent_block))
    header = json.loads(frames[0])
    place = header
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        deeper = isinstance(place[key], (dict, list)) and data.draw(st.booleans())
        if not deeper:
            place[key] = data.draw(
                json_values
                | st.sampled_from([math.nan, math.inf, 10**400, -(2**63), 2**63, "\ud800", "\0"])
                | st.lists(st.sampled_from([-1, 0, 1, 3, 2**31, 2**62, 10**30]), max_size=4)
            )
            break
        place = place[key]
    read([json.dumps(header).encode(), *frames[1:]])


@given(blocks(), st.data())
def test_a_flipped_pixel_is_noticed(block: Block, data: st.DataObject) -> None:
    """One bit of one pixel; a frame cut short or too long; two frames changed about."""
    header, *frames = sent_block(block)
    place = data.draw(st.integers(0, len(frames) - 1))
    pixels = bytearray(frames[place])
    spot = data.draw(st.integers(0, len(pixels) - 1))
    pixels[spot] ^= 1 << data.draw(st.integers(0, 7))
    damaged = (
        [*frames[:place], bytes(pixels), *frames[place + 1 :]],
        [*frames[:place], frames[place][:-1], *frames[place + 1 :]],
        [*frames[:place], frames[place] + b"\0", *frames[place + 1 :]],
        frames[:-1],
        [*frames, frames[0]],
        [],
    )
    for wrong in damaged:
        with pytest.raises(MalformedMessage) as caught:
            block_from(decode([header, *wrong], msg.REPLIES))
        assert str(caught.value)
    if frames[0] != frames[-1]:
        with pytest.raises(MalformedMessage, match="not the one that was announced"):
            block_from(decode([header, *frames[::-1]], msg.REPLIES))


@given(blocks(), st.lists(st.integers(-(10**30), 10**30), min_size=0, max_size=4))
def test_any_image_shape_but_the_true_one_is_refused(block: Block, shape: list[int]) -> None:
    header, *frames = sent_block(block)
    document = json.loads(header)
    if shape == document["body"]["block"]["image_shape"]:
        return
    document["body"]["block"]["image_shape"] = shape
    with pytest.raises(MalformedMessage):
        block_from(decode([json.dumps(document).encode(), *frames], msg.REPLIES))


@pytest.mark.parametrize("depths", [range(1, 1100, 50), range(900, 1000, 2), [5_000, 100_000]])
def test_no_depth_is_too_deep(depths: Sequence[int]) -> None:
    """JSON nested so deep that reading it, or quoting it in the refusal, meets Python's limit."""
    for depth in depths:
        nested = b'{"a":' * depth + b"1" + b"}" * depth
        read([b'{"wire":2,"kind":"block","body":{"block":' + nested + b"}}"])
        read([b'{"wire":2,"kind":"hello","body":' + nested + b"}"])
        read([b'{"wire":2,"kind":"hello","id":' + nested + b"}"])
        read([b"[" * depth + b"]" * depth])


def test_other_messages_are_no_blocks() -> None:
    with pytest.raises(MalformedMessage, match="not a block"):
        block_from(decode(sent(msg.Farewell()), msg.REPLIES))


def test_another_version_is_told_so() -> None:
    frames = [json.dumps({"wire": 1, "kind": "hello", "id": "7"}).encode()]
    with pytest.raises(BadRequest) as caught:
        decode(frames, msg.WORK_REQUESTS)
    assert caught.value.reason is msg.RefusalReason.WIRE_VERSION
    assert caught.value.request_id == "7"
