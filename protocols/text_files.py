"""Text files as other programs write them: with a byte-order mark, in UTF-16, in Windows' own code.

Editors on Windows put a mark before UTF-8, PowerShell's `>` writes UTF-16 (other programs without a
mark), and older editors write code page 1252. All of them are read; nobody has to know.
"""

from __future__ import annotations

import codecs
from pathlib import Path

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
FALLBACK = "cp1252"
SAMPLE = 4096
"""Bytes from which an encoding without a mark is told."""


def read_text(path: Path) -> str:
    """The text in `path`; line ends become newlines.

    Raises:
        OSError: If it cannot be read.
        UnicodeDecodeError: If it is no text: neither Unicode nor code page 1252.
    """
    return decoded(path.read_bytes())


def decoded(content: bytes) -> str:
    """`content` as text, whatever editor wrote it; see `read_text`."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return _lines(content.decode(encoding))
    if (guessed := _unmarked(content)) is not None:
        return _lines(content.decode(guessed))
    try:
        return _lines(content.decode("utf-8"))
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
        return _lines(content.decode(FALLBACK))


def _unmarked(content: bytes) -> str | None:
    """UTF-16 without a mark, of mostly Latin letters: every other byte is zero."""
    even, odd = content[:SAMPLE:2], content[1:SAMPLE:2]
    if not odd or len(content) % 2:
        return None
    zeros = 2 * even.count(0) > len(even), 2 * odd.count(0) > len(odd)
    return {(False, True): "utf-16-le", (True, False): "utf-16-be"}.get(zeros)


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
