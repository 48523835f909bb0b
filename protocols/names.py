"""Names that people gave, as names of files and of objects in files: each format forbids something."""

from __future__ import annotations

import re
from collections.abc import Iterable

FORBIDDEN_IN_FILES = re.compile(r"[^\w.\-]")
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""Names that Windows keeps for devices, whatever their ending."""
FORBIDDEN_IN_HDF5 = re.compile(r"[/:]|[\x00-\x1f]")


def file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name (without ending) for each name; all different, also where case does not count.

    Letters, digits, `_`, `.` and `-` stay; anything else becomes `_`.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        plain = FORBIDDEN_IN_FILES.sub("_", name).strip(". ") or "_"
        if RESERVED.fullmatch(plain):
            plain = f"_{plain}"
        unique, number = plain, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain}_{number}"
        taken.add(unique.casefold())
        found[name] = unique
    return found


def nwb_name(name: str) -> str:
    """As the name of an object in an NWB file, which may have neither `/` nor `:`; and not be `.`."""
    return FORBIDDEN_IN_HDF5.sub("-", name).strip().strip(".") or "unnamed"
