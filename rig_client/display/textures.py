"""Images on the graphics card: a pool of textures that is used again and again.

PsychoPy gives the memory of a dropped `ImageStim` not back; so none is ever dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocols.errors import DisplayError
from rig_client.display.geometry import Box, Point

BYTES_PER_PIXEL = 4 + 4 / 3 + 4
"""RGBA, its mipmaps, and the buffer that PsychoPy uploads it through."""


class TexturePool:
    """Textures of one window; each can be drawn at any place.

    Args:
        window: A `psychopy.visual.Window`.
        max_mb: What they may take together.
    """

    def __init__(self, window: Any, max_mb: int) -> None:
        self._window = window
        self._max_mb = max_mb
        self._stimuli: list[Any] = []
        self._names: list[str] = []
        self._centres: list[Point | None] = []

    def __len__(self) -> int:
        return len(self._stimuli)

    def check_room(self, sizes_px: Sequence[tuple[int, int]]) -> None:
        """Textures of these sizes (width, height) are needed together.

        Raises:
            DisplayError: If that is more memory than is allowed.
        """
        n_pixels = sum(width * height for width, height in sizes_px)
        needed_mb = n_pixels * BYTES_PER_PIXEL / 2**20
        if needed_mb > self._max_mb:
            raise DisplayError(
                "a block has more images than the graphics card is to hold",
                where=f"{len(sizes_px)} images, the largest {max(sizes_px)} px",
                expected=f"at most {self._max_mb} MB (display option max_texture_mb)",
                got=f"{needed_mb:.0f} MB",
                remedy="make blocks smaller, or raise max_texture_mb if the card has more memory",
            )

    def slots(self, names: Sequence[str]) -> list[int]:
        """Which texture is for which image; those that are there already keep theirs."""
        wanted = set(names)
        held = {name: slot for slot, name in enumerate(self._names) if name in wanted}
        free = iter([slot for slot, name in enumerate(self._names) if name not in wanted])
        for name in names:
            if name not in held:
                held[name] = next(free, len(self._names))
                if held[name] == len(self._names):
                    self._names.append("")
        return [held[name] for name in names]

    def holds(self, slot: int, name: str) -> bool:
        """Whether that texture is that image."""
        return slot < len(self._names) and self._names[slot] == name

    def load(self, slot: int, name: str, image: NDArray[np.uint8], box: Box) -> None:
        """Upload `image` `(height, width, 3)`, of the size of `box`; draw it there once, unseen."""
        picture = Image.fromarray(image)
        if slot == len(self._stimuli):
            self._stimuli.append(self._new(picture))
            self._centres.append(None)
        else:
            self._stimuli[slot].setImage(picture, log=False)
        self._stimuli[slot].setSize((box.width, box.height), log=False)
        self._centres[slot] = None
        self._names[slot] = name
        self.draw(slot, box)

    def draw(self, slot: int, box: Box) -> None:
        """Into the frame that comes next: one pixel of the texture on one of the window."""
        if self._centres[slot] != box.centre:
            self._centres[slot] = box.centre
            width, height = self._window.size
            x, y = box.centre  # PsychoPy's origin is the centre, y up
            self._stimuli[slot].setPos((x - width / 2, height / 2 - y), log=False)
        self._stimuli[slot].draw()

    def _new(self, picture: Image.Image) -> Any:
        from psychopy import visual

        return visual.ImageStim(
            self._window, image=picture, units="pix", interpolate=False, autoLog=False
        )
