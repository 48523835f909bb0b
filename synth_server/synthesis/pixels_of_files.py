"""Image files whose pixels can't be shown as they are: deeper than 8 bits, several pages, other colours.

Each would lose something silently: Pillow keeps the high byte of a 16-bit channel (so that 12-bit
values come out nearly black), shows the first page, and takes any red for sRGB's.
"""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, ImageCms

from protocols.errors import DataError

DEEP = re.compile(r"[;_](10|12|14|16|24|32|64)")
"""In Pillow's name of a file's own layout, such as `RGB;16L`."""
BITS_PER_SAMPLE, SAMPLE_FORMAT = 258, 339
"""Tags of TIFF."""


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
    """An RGB image with a colour profile of its own, such as Adobe RGB or Display P3, in sRGB.

    Raises:
        DataError: If its profile can't be read.
    """
    content = picture.info.get("icc_profile")
    if not content or picture.mode not in ("RGB", "RGBA"):
        return picture
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
        if "srgb" in ImageCms.getProfileDescription(profile).casefold():
            return picture
        converted = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"))
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
