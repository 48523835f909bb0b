"""Text files as other programs write them: with a byte-order mark, in UTF-16, in Windows' own code.

Editors on Windows put a mark before UTF-8, PowerShell's `>` writes UTF-16, and older editors write
code page 1252. All of them are read; nobody has to know.
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
    try:
        return _lines(content.decode("utf-8"))
    except UnicodeDecodeError:
        if b"\0" in content:
            raise
        return _lines(content.decode(FALLBACK))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
