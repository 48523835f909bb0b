"""What stands for eye and cable in a rehearsal: the rig's trigger tells an emulator what is shown.

Messages over ZeroMQ, a DEALER at the rig, a ROUTER at the emulator: `block` (JSON and pixels; it is
answered by `staged`), `word` and `clear`. Times are the rig's `time.perf_counter`, which programs of
one computer share.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np

from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Cue

BLOCK, WORD, CLEAR, STAGED = b"block", b"word", b"clear", b"staged"
DEFAULT_ADDRESS = "tcp://127.0.0.1:5599"
Frames = list[bytes]


class Staged(NamedTuple):
    """A block is about to be shown."""

    session: SessionInfo
    block: Block


class Sent(NamedTuple):
    """A word was put on the lines, and the image of `cue` appeared."""

    word: int
    cue: Cue
    sent_s: float


class Cleared(NamedTuple):
    """The lines are back at zero."""

    sent_s: float


def encoded_block(session: SessionInfo, block: Block) -> Frames:
    """Codes stay where they are: neurons see pixels."""
    document = block.model_dump(mode="json", exclude={"codes_digest"})
    head = {"session_id": session.session_id, "seed": session.seed, "block": document}
    return [BLOCK, json.dumps(head).encode(), np.ascontiguousarray(block.images).tobytes()]


def encoded_word(word: int, cue: Cue, sent_s: float) -> Frames:
    """A word, and which image it announces."""
    return [WORD, json.dumps([word, sent_s, cue.model_dump(mode="json")]).encode()]


def encoded_clear(sent_s: float) -> Frames:
    """Lines at zero."""
    return [CLEAR, json.dumps(sent_s).encode()]


def decoded(frames: Frames) -> Staged | Sent | Cleared:
    """What the trigger says.

    Raises:
        ValueError: If this is none of its messages.
    """
    kind, content = frames[0], json.loads(frames[1])
    if kind == BLOCK:
        session = SessionInfo(session_id=content["session_id"], seed=content["seed"])
        document = content["block"]
        shape = (len(document["stimuli"]), *document["image_shape"])
        images = np.frombuffer(frames[2], np.uint8).reshape(shape)
        return Staged(session, Block.model_validate({**document, "images": images}))
    if kind == WORD:
        word, sent_s, cue = content
        return Sent(word, Cue.model_validate(cue), sent_s)
    if kind == CLEAR:
        return Cleared(content)
    raise ValueError(f"no message of a rehearsal: {kind!r}")
