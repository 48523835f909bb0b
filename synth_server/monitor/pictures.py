"""Images of a log as PNG files, by digest."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from protocols.errors import DataError
from synth_server.session.log import SessionLog

THUMBNAIL_PX = 192
"""Larger images are brought to this size: a page shows dozens."""


def png(path: Path, digest: str) -> bytes:
    """The image of that digest, at most `THUMBNAIL_PX` wide and high.

    Raises:
        DataError: If the array of that digest is no image.
        LogError: If the log has none, or it was altered.
    """
    log = SessionLog(path)
    try:
        array = log.array(digest)
    finally:
        log.close()
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise DataError("this is no image", where=digest, got=f"{array.shape} {array.dtype}")
    image = Image.fromarray(array)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()
