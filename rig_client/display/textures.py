"""Images on the graphics card: a pool of textures that is used again and again.

PsychoPy gives the memory of a dropped `ImageStim` not back; so none is ever dropped.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocols.errors import DisplayError
from rig_client.display.geometry import Box

BYTES_PER_PIXEL = 4 + 4 / 3 + 4
"""RGBA, its mipmaps, and the buffer that PsychoPy uploads it through."""


class TexturePool:
    """Textures of one window.

    Args:
        window: A `psychopy.visual.Window`.
        max_mb: What they may take together.
    """

    def __init__(self, window: Any, max_mb: int) -> None:
        self._window = window
        self._max_mb = max_mb
        self._stimuli: list[Any] = []
        self._ids: list[str] = []
        self._box = Box(0, 0, 0, 0)

    def __len__(self) -> int:
        return len(self._stimuli)

    def place(self, box: Box, n: int) -> None:
        """The images that are loaded next appear in `box`; `n` of them are needed together.

        Raises:
            DisplayError: If that is more memory than is allowed.
        """
        needed_mb = n * box.width * box.height * BYTES_PER_PIXEL / 2**20
        if needed_mb > self._max_mb:
            raise DisplayError(
                "a block has more images than the graphics card is to hold",
                where=f"{n} images of {box.width} × {box.height} px",
                expected=f"at most {self._max_mb} MB (display option max_texture_mb)",
                got=f"{needed_mb:.0f} MB",
                remedy="make blocks smaller, or raise max_texture_mb if the card has more memory",
            )
        self._box = box

    def slots(self, ids: list[str]) -> list[int]:
        """Which texture is for which image; those that are there already keep theirs."""
        wanted = set(ids)
        held = {name: slot for slot, name in enumerate(self._ids) if name in wanted}
        free = iter([slot for slot, name in enumerate(self._ids) if name not in wanted])
        for name in ids:
            if name not in held:
                held[name] = next(free, len(self._ids))
                if held[name] == len(self._ids):
                    self._ids.append("")
        return [held[name] for name in ids]

    def holds(self, slot: int, name: str) -> bool:
        """Whether that texture is that image."""
        return slot < len(self._ids) and self._ids[slot] == name

    def load(self, slot: int, name: str, image: NDArray[np.uint8]) -> None:
        """Upload `image` `(height, width, 3)`, of the size of the box; draw it once, unseen."""
        picture = Image.fromarray(image)
        if slot == len(self._stimuli):
            self._stimuli.append(self._new(picture))
        else:
            self._stimuli[slot].setImage(picture, log=False)
        self._fit(self._stimuli[slot])
        self._ids[slot] = name
        self._stimuli[slot].draw()

    def draw(self, slot: int) -> None:
        """Into the frame that comes next."""
        self._stimuli[slot].draw()

    def _new(self, picture: Image.Image) -> Any:
        from psychopy import visual

        return visual.ImageStim(
            self._window, image=picture, units="pix", interpolate=False, autoLog=False
        )

    def _fit(self, stimulus: Any) -> None:
        """One pixel of the texture on one of the window; PsychoPy's origin is the centre, y up."""
        width, height = self._window.size
        x, y = self._box.centre
        stimulus.setPos((x - width / 2, height / 2 - y), log=False)
        stimulus.setSize((self._box.width, self._box.height), log=False)
