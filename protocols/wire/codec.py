"""Messages to frames and back: a JSON header, then raw frames.

Whatever arrives, `decode` returns a message or raises `MalformedMessage` with a reason; nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from protocols.digests import array_digest, image_id
from protocols.errors import MalformedMessage, Refusal, StimloopError
from protocols.vocabulary import Block, BlockResponses, Images, Stimulus
from protocols.wire.messages import (
    WIRE_VERSION,
    ArrayHeader,
    BlockReady,
    Body,
    Header,
    RefusalReason,
    Refused,
    SubmitResponses,
)

MAX_HEADER_BYTES = 16 * 2**20
MAX_FRAME_BYTES = 64 * 2**20
MAX_FRAMES = 1 + 2**16
"""A block has up to `MAX_STIMULI` images; responses have an array for each presentation."""


@dataclass(frozen=True)
class Message:
    """A decoded message: its header, its checked body, and its raw frames."""

    header: Header
    body: Body
    frames: tuple[bytes, ...] = ()


class BadRequest(MalformedMessage):
    """A message that cannot be acted on, and what to answer.

    Attributes:
        reason: For the `Refused` that answers it.
        request_id: Of the message, where one could be read.
    """

    def __init__(
        self, reason: RefusalReason, what: str, *, request_id: str = "", **details: Any
    ) -> None:
        self.reason = reason
        self.request_id = request_id
        super().__init__(what, **details)


def encode(
    body: Body,
    *,
    request_id: str = "",
    reply_to: str = "",
    session: str = "",
    frames: Sequence[bytes | memoryview] = (),
) -> list[bytes | memoryview]:
    """The frames of a message; raw frames are passed on without a copy."""
    header = {
        "wire": WIRE_VERSION,
        "kind": body.kind,
        "id": request_id,
        "reply_to": reply_to,
        "session": session,
        "body": body.model_dump(mode="json"),
    }
    return [json.dumps(header, separators=(",", ":"), allow_nan=False).encode(), *frames]


def decode(frames: Sequence[bytes], known: Sequence[type[Body]]) -> Message:
    """The message in `frames`, if its kind is one of `known`.

    Raises:
        BadRequest: If it is no such message; says why.
    """
    header = _header(frames)
    kinds = {body.kind: body for body in known}
    if header.kind not in kinds:
        raise BadRequest(
            RefusalReason.UNKNOWN_KIND,
            "this socket does not take messages of this kind",
            request_id=header.id,
            expected=", ".join(kinds),
            got=header.kind,
        )
    try:
        body = kinds[header.kind].model_validate_json(json.dumps(header.body))
    except (ValidationError, ValueError, RecursionError) as error:
        raise BadRequest(
            RefusalReason.MALFORMED,
            f"the body does not fit a {header.kind} message",
            request_id=header.id,
            got=_shortened(error),
        ) from None
    return Message(header, body, tuple(frames[1:]))


def _header(frames: Sequence[bytes]) -> Header:
    if not frames or len(frames) > MAX_FRAMES:
        raise BadRequest(
            RefusalReason.TOO_LARGE if frames else RefusalReason.MALFORMED,
            "a message has a header and a limited number of raw frames",
            expected=f"1 to {MAX_FRAMES} frames",
            got=len(frames),
        )
    if len(frames[0]) > MAX_HEADER_BYTES:
        raise BadRequest(
            RefusalReason.TOO_LARGE,
            "the header is too large",
            expected=f"at most {MAX_HEADER_BYTES} bytes",
            got=len(frames[0]),
        )
    values = _parsed(frames[0])
    request_id = values.get("id", "")
    request_id = _sendable(request_id, 64) if isinstance(request_id, str) else ""
    if values.get("wire") != WIRE_VERSION:
        raise BadRequest(
            RefusalReason.WIRE_VERSION,
            "the peer speaks another version of the wire protocol",
            request_id=request_id,
            expected=WIRE_VERSION,
            got=_quoted(values.get("wire")),
            remedy="install the same version of stimloop on both computers",
        )
    try:
        return Header.model_validate(values)
    except ValidationError as error:
        raise BadRequest(
            RefusalReason.MALFORMED,
            "the first frame is not a header",
            request_id=request_id,
            expected="wire, kind, id, reply_to, session, body",
            got=_shortened(error),
        ) from None


def _parsed(frame: bytes) -> dict[str, Any]:
    try:
        values = json.loads(frame)
    except (ValueError, RecursionError) as error:
        values = f"{type(error).__name__}: {error}"
    if not isinstance(values, dict):
        raise BadRequest(
            RefusalReason.MALFORMED,
            "the first frame is not a header",
            expected="a JSON object with wire, kind, id, reply_to, session, body",
            got=_quoted(values),
        )
    return values


def refusal(error: StimloopError, reason: RefusalReason) -> Refused:
    """The message that tells a peer of `error`."""
    return Refused(
        reason=reason,
        what=_sendable(error.what, 10_000),
        expected=_sendable(error.expected, 1000),
        got=_sendable(error.got, 1000),
        remedy=_sendable(error.remedy, 1000),
    )


def as_error(refused: Refused) -> Refusal:
    """The error that a peer's refusal is on this side, nothing of it left out."""
    return Refusal(
        refused.reason,
        refused.what,
        expected=refused.expected,
        got=refused.got,
        remedy=refused.remedy,
    )


def image_frames(images: Iterable[NDArray[np.uint8]]) -> list[memoryview]:
    """One raw frame an image: its pixels in C order."""
    return [np.ascontiguousarray(image).data.cast("B") for image in images]


def block_from(message: Message) -> Block:
    """The block in a `BlockReady` message, every image checked against its hash.

    Raises:
        MalformedMessage: If the block is no block, or an image is not the one that was announced.
    """
    if not isinstance(message.body, BlockReady):
        raise MalformedMessage("not a block", got=message.body.kind)
    document = message.body.block
    try:
        stimuli = [Stimulus.model_validate(one) for one in document["stimuli"]]
        names = tuple(dict.fromkeys(one.image for one in stimuli))
        distinct = _images(message.frames, tuple(document["image_shape"]), len(names))
        images = distinct[[names.index(one.image) for one in stimuli]]
        block = Block.model_validate({**document, "images": images, "codes": None})
    except (ValidationError, KeyError, TypeError, ValueError) as error:
        raise MalformedMessage(
            "the block does not fit its frames", where="block message", got=_shortened(error)
        ) from None
    for name, image in zip(names, distinct, strict=True):
        if image_id(image) != name:
            raise MalformedMessage(
                "an image is not the one that was announced",
                where=f"block {block.index}",
                expected=name,
                got=image_id(image),
                remedy="the block is asked for again",
            )
    return block


def _images(frames: Sequence[bytes], shape: tuple[int, ...], n_images: int) -> Images:
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(f"image_shape is {shape}, expected (height, width, 3)")
    if len(frames) != n_images:
        raise ValueError(f"{len(frames)} image frames for {n_images} distinct images")
    images: list[NDArray[np.uint8]] = [
        np.frombuffer(frame, dtype=np.uint8).reshape(shape) for frame in frames
    ]
    return np.stack(images)


def submission(responses: BlockResponses) -> tuple[SubmitResponses, list[memoryview]]:
    """The message that hands in responses, and its raw frames: spike times, then gaze."""
    arrays = {name: responses.arrays[name] for name in responses.array_digests}
    headers = tuple(
        ArrayHeader.model_validate({"digest": name, "dtype": one.dtype.name, "shape": one.shape})
        for name, one in arrays.items()
    )
    frames = [_little_endian(one).data.cast("B") for one in arrays.values()]
    return SubmitResponses(responses=responses, arrays=headers), frames


def responses_from(message: Message) -> BlockResponses:
    """The responses in a `SubmitResponses` message with their arrays, each checked against its digest.

    Raises:
        BadRequest: If the frames are not the arrays that the responses name.
    """
    if not isinstance(message.body, SubmitResponses):
        raise MalformedMessage("no responses", got=message.body.kind)
    responses, headers = message.body.responses, message.body.arrays
    named = responses.array_digests
    if tuple(one.digest for one in headers) != named or len(message.frames) != len(named):
        raise _bad_arrays(
            message, f"{len(named)} arrays", f"{len(headers)} named, {len(message.frames)} frames"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for header, frame in zip(headers, message.frames, strict=True):
        try:
            dtype = np.dtype(header.dtype).newbyteorder("<")
            array = np.frombuffer(frame, dtype).reshape(header.shape).astype(header.dtype)
        except ValueError as error:
            raise _bad_arrays(message, f"{header.shape} {header.dtype}", error) from None
        if array_digest(array) != header.digest:
            raise _bad_arrays(message, header.digest, array_digest(array))
        arrays[header.digest] = array
    return responses.model_copy(update={"arrays": arrays})


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _bad_arrays(message: Message, expected: object, got: object) -> BadRequest:
    return BadRequest(
        RefusalReason.MALFORMED,
        "the raw frames are not the arrays that the responses name",
        request_id=message.header.id,
        expected=expected,
        got=got,
    )


def _sendable(text: str, limit: int) -> str:
    """What a peer sent may hold half characters (lone surrogates), which no message can carry."""
    return text[:limit].encode(errors="replace").decode()


def _quoted(value: object) -> str:
    """A plain value as JSON would have it; of anything nested, only what it is."""
    plain = value is None or isinstance(value, str | int | float)
    return repr(value)[:200] if plain else type(value).__name__


def _shortened(error: Exception, limit: int = 600) -> str:
    if isinstance(error, ValidationError):
        text = "; ".join(
            f"{'.'.join(map(str, entry['loc'])) or 'message'}: {entry['msg']}"
            for entry in error.errors(include_input=False, include_url=False)
        )
    else:
        text = f"{type(error).__name__}: {error}"
    return text if len(text) <= limit else text[:limit] + " …"
