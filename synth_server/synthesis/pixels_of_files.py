"""Image files whose pixels can't be shown as they are: deeper than 8 bits, several pages, other colours.

Each would lose something silently: Pillow keeps the high byte of a 16-bit channel (so that 12-bit
values come out nearly black), shows the first page, and takes any red for sRGB's.
"""

from __future__ import annotations

import io
import logging
import re

import numpy as np
from PIL import Image, ImageCms

from protocols.errors import DataError

logger = logging.getLogger(__name__)
NAMED = 3
"""Images in a message."""
DEEP = re.compile(r"[;_](10|12|14|16|24|32|64)")
"""In Pillow's name of a file's own layout, such as `RGB;16L`."""
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
"""Tags of TIFF."""


class Changed:
    """What bringing images to a square of one size does to them, told once for a whole set."""

    def __init__(self, where: str, size_px: int) -> None:
        self._where, self._size_px = where, size_px
        self._said: dict[str, list[str]] = {}

    def look_at(self, name: str, picture: Image.Image) -> None:
        """Note what will be lost or invented of `picture`."""
        width, height = picture.size
        if abs(width - height) > 1:
            self._note(
                "not square: only the central square is used", f"{name} ({width} × {height})"
            )
        if min(width, height) < self._size_px:
            self._note(f"smaller than {self._size_px} px: enlarged", f"{name} ({width} × {height})")
        if (
            picture.has_transparency_data
            and np.asarray(picture.convert("RGBA"))[..., 3].min() < 255
        ):
            self._note("partly transparent: shown on mid-gray", name)

    def tell(self) -> None:
        """Write it to the program's output."""
        for what, names in self._said.items():
            more = f" and {len(names) - NAMED} more" * (len(names) > NAMED)
            said = ", ".join(names[:NAMED]) + more
            logger.warning("%s: %d images are %s: %s", self._where, len(names), what, said)

    def _note(self, what: str, name: str) -> None:
        self._said.setdefault(what, []).append(name)


def check_whole(encoded: Image.Image, where: str) -> None:
    """Refuse an opened image file of which 8-bit RGB would keep a part only.

    Raises:
        DataError: If it has more than 8 bits a channel, several pages or frames, or print colours.
    """
    if bits := _bits(encoded):
        raise DataError(
            "a photograph has more than 8 bits a channel",
            where=where,
            expected="8-bit gray or colour",
            got=f"{bits} ({encoded.format}, mode {encoded.mode})",
            remedy="write it with 8 bits first, so that the scaling is yours: value / 65535 * 255 if "
            "the values fill 16 bits, value / 4095 * 255 if they have 12, value / 1023 * 255 if 10",
        )
    n_pages = int(getattr(encoded, "n_frames", 1))
    if n_pages > 1 and encoded.format != "MPO":  # a phone's second frame is a preview
        raise DataError(
            f"an image file has {n_pages} pages",
            where=where,
            expected="one image in each file",
            got=f"{encoded.format} with {n_pages} pages or frames",
            remedy="save each page as a file of its own",
        )
    if encoded.mode in ("CMYK", "LAB", "HSV"):
        raise DataError(
            "a photograph is stored in colours of another kind",
            where=where,
            expected="gray, RGB or a palette",
            got=encoded.mode,
            remedy="convert it to sRGB first; what becomes of its colours is yours to choose",
        )


def in_srgb(picture: Image.Image, where: str) -> Image.Image:
    """An image with a colour profile of its own (Adobe RGB, Display P3, Dot Gain 20 %), in sRGB.

    Raises:
        DataError: If its profile can't be read.
    """
    content = picture.info.get("icc_profile")
    if not content:
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        if "srgb" in ImageCms.getProfileDescription(profile).casefold():
            return picture
        is_gray = profile.profile.xcolor_space.strip() == "GRAY"
        alpha = picture.convert("RGBA").getchannel("A") if picture.has_transparency_data else None
        opaque = picture.convert("L" if is_gray else "RGB")
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(opaque, profile, srgb, outputMode="RGB")
        if converted is not None and alpha is not None:
            converted.putalpha(alpha)
    except (OSError, ImageCms.PyCMSError) as error:
        raise DataError(
            "the colour profile of a photograph cannot be read",
            where=where,
            got=error,
            remedy="convert it to sRGB, or remove the profile if it is wrong",
        ) from None
    return picture if converted is None else converted


def _bits(encoded: Image.Image) -> str:
    """How many bits a channel has, if more than 8; else nothing."""
    if encoded.mode.startswith(("I", "F")):
        return f"16 bits or more, up to {_largest(encoded)}"
    tags = getattr(encoded, "tag_v2", None)
    if tags is not None:
        depth = np.max(tags.get(BITS_PER_SAMPLE, 8))
        if depth > 8 or 3 in np.atleast_1d(tags.get(SAMPLE_FORMAT, 1)):
            return f"{depth} bits"
    layouts = [str(part) for tile in getattr(encoded, "tile", ()) for part in np.ravel(tile[-1])]
    found = next((m for layout in layouts if (m := DEEP.search(layout))), None)
    return f"{found.group(1)} bits" if found else ""


def _largest(encoded: Image.Image) -> str:
    try:
        return f"{np.asarray(encoded).max():g}"
    except Exception:  # the file may be cut; that is another error's business
        return "an unknown value"
