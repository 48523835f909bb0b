"""Digests: what an image, an array or a document is known by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def image_id(image: NDArray[np.uint8]) -> str:
    """An image's name everywhere: sha256 of `"<height>x<width>x3 uint8\\n"` and its pixels."""
    return array_digest(image)


def array_digest(array: NDArray[Any]) -> str:
    """Sha256 of `"<n>x<m>… <dtype>\\n"` followed by the values, little-endian, in C order."""
    shape = "x".join(str(n) for n in array.shape)
    digest = hashlib.sha256(f"{shape} {array.dtype.name}\n".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def document_digest(value: Any) -> str:
    """Sha256 of `canonical_json(value)`."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def combined_digest(digests: Iterable[str]) -> str:
    """One digest over many, in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()
