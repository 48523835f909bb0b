"""The images of XDREAM's shared folder; the responses to them are in `formats.answers`.

Images are `block003_0017_9f86d081.png`: block, image, and the beginning of its hash, so that files of
another session are never taken for ours.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image

from protocols.errors import DataError
from protocols.replacing import replace_file
from protocols.vocabulary import Block, Images

IMAGE_NAME = re.compile(r"block(\d{3,})_(\d+)_([0-9a-f]+)\.(png|bmp)")
OURS = re.compile(r"block\d{3,}_\d{4,}_[0-9a-f]{8}")
"""A name without suffix that another rig's own stimuli do not have."""
ImageFormat: TypeAlias = Literal["png", "bmp"]


def image_names(block: Block, image_format: ImageFormat = "png") -> list[str]:
    """File names of a block's images."""
    return [
        f"block{block.index:03d}_{place:04d}_{name[:8]}.{image_format}"
        for place, name in enumerate(block.stimulus_ids)
    ]


def write_images(folder: Path, block: Block, image_format: ImageFormat = "png") -> None:
    """Write a block's images; each appears under its name when it is whole.

    Raises:
        DataError: If the folder has images of another session under this block's number.
        OSError: If they cannot be written.
    """
    names = image_names(block, image_format)
    prefix = f"block{block.index:03d}_"
    present = {p.name for p in folder.glob(f"{prefix}*") if IMAGE_NAME.fullmatch(p.name)}
    foreign = sorted(present - set(names))
    if foreign:
        raise DataError(
            "the shared folder holds images of another session",
            where=str(folder),
            expected=f"{prefix}*.{image_format} of this session only",
            got=", ".join(foreign[:3]),
            remedy="use an empty folder for every session",
        )
    for name, image in zip(names, block.images, strict=True):
        if not (folder / name).exists():
            draft = folder / f"{name}.part"
            Image.fromarray(image).save(draft, format=image_format)
            replace_file(draft, folder / name)


def remove_images(folder: Path, names: list[str]) -> list[str]:
    """Remove images of a block that is over, as XDREAM does (Scorers.py, cleanup).

    Returns:
        Those that are still there, because the other rig holds them open for instance.
    """
    for name in names:
        with contextlib.suppress(OSError):
            (folder / name).unlink(missing_ok=True)
    return [name for name in names if (folder / name).exists()]


def read_images(paths: list[Path]) -> Images:
    """`(n, height, width, 3) uint8`."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
