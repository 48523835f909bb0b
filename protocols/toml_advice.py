"""What to do about a line that is no TOML: what people write instead, and what TOML wants."""

from __future__ import annotations

import re

WINDOWS_PATHS = (
    "in TOML, write a path of Windows between single quotes, 'D:\\new\\tmp', or with slashes, "
    '"D:/new/tmp": between double quotes, a backslash begins a special character'
)

ADVICE = (
    (r"^\s*[{}]\s*$|^\s*\{", "this is JSON: write NAME = VALUE, a setting a line"),
    (r"[\u201c\u201d\u201e\u2018\u2019]", 'use straight quotation marks: "text"'),
    (
        "[\u00a0\u202f\u2003]",
        "a special space stands in this line: type it again with an ordinary one",
    ),
    (r"=\s*-?\d+,\d+\s*(#.*)?$", "write decimal numbers with a point: 7.5"),
    (r"=\s*(True|False|TRUE|FALSE|yes|no|on|off)\b", "write true or false, in small letters"),
    (r"^\s*[\w.-]+\s*:", "write NAME = VALUE, with = and not with :"),
    (r"=\s*(#.*)?$", "give a value behind =, or remove the line"),
    (
        r"=\s*-?[\d.]+\s*(deg|°|ms|s|px|cm|hz|%)\b",
        "write the number alone: the unit stands in the name",
    ),
    (r"=\s*[A-Za-z_/.~][^\"'\[{]*$", 'put text between quotation marks: NAME = "text"'),
)
"""What a wrong line looks like → what to do."""


def wrong_line(text: str, error: str) -> str:
    """The line that Python's TOML reader complains about, as it stands; "" if it names none."""
    found = re.search(r"at line (\d+)", error)
    lines = text.split("\n")
    number = int(found.group(1)) if found else 0
    return lines[number - 1].strip()[:200] if 0 < number <= len(lines) else ""


def toml_advice(line: str, error: str) -> str:
    """What to do about `line`, for people who don't know TOML; "" if nobody can tell."""
    if "escape" in error or "hex" in error:
        return WINDOWS_PATHS
    if "overwrite" in error or "already" in error or "twice" in error:
        return "this name stands twice: keep one of the lines"
    return next((advice for shape, advice in ADVICE if re.search(shape, line)), "")
