"""Arrays as raw frames: pixels as bytes, numbers as 64-bit floats, little-endian, in C order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.errors import MalformedMessage
from protocols.vocabulary import Images

LITTLE_ENDIAN = np.dtype("<f8")


def float_frame(values: NDArray[np.float64]) -> memoryview:
    """One frame: the numbers, row by row."""
    return np.ascontiguousarray(values, LITTLE_ENDIAN).data.cast("B")


def floats_from(frame: bytes, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The numbers in `frame`, as an array of `shape`.

    Raises:
        MalformedMessage: If there are more numbers than that, or fewer.
    """
    expected = int(np.prod(shape)) * LITTLE_ENDIAN.itemsize
    if len(frame) != expected:
        raise MalformedMessage(
            "a frame of numbers has another length",
            expected=f"{expected} bytes for {shape} float64",
            got=f"{len(frame)} bytes",
        )
    return np.frombuffer(frame, LITTLE_ENDIAN).reshape(shape).astype(np.float64)


def images_from(frames: Sequence[bytes], shape: tuple[int, int, int]) -> Images:
    """Images `(n, height, width, 3)`, one a frame.

    Raises:
        MalformedMessage: If there is none, or one has another size than `shape` says.
    """
    check_image_frames(frames, shape)
    return np.stack([np.frombuffer(frame, np.uint8).reshape(shape) for frame in frames])


def check_image_frames(frames: Sequence[bytes], shape: tuple[int, int, int]) -> None:
    """Raise `MalformedMessage` unless there is at least one frame, and each holds an image."""
    expected = shape[0] * shape[1] * shape[2]
    wrong = [place for place, frame in enumerate(frames) if len(frame) != expected]
    if wrong or not frames:
        raise MalformedMessage(
            "the image frames do not fit image_shape",
            where=f"image {wrong[0]}" if wrong else "message",
            expected=f"at least one frame, each of {expected} bytes for {shape}",
            got=f"{len(frames[wrong[0]])} bytes" if wrong else "no frames",
            remedy="one frame an image: uint8, row by row, red, green, blue",
        )
