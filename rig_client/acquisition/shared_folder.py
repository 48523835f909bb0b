"""XDREAM's shared folder: another program shows the images, and writes what it counted.

So a rig that runs MATLAB can join: stimloop writes a block's images into a folder, the rig shows them
in its own way and time, and writes one file of responses; formats as in `formats.answers`. Choose the
headless display with it. While the file is awaited the rig's screen (the terminal) says so.

As in XDREAM, the other rig may show stimuli of its own among ours, whose rows are left out, and a
block's images are removed when the responses to it have been read.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import RecorderGap, RigError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Measurement
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue
from rig_client.acquisition.formats.answers import (
    Answer,
    Unreadable,
    found_answer,
    read_answer,
    stem,
)
from rig_client.acquisition.shared_folder_files import (
    OURS,
    ImageFormat,
    image_names,
    remove_images,
    write_images,
)

logger = logging.getLogger(__name__)

GLANCE_S = 0.1
UNCHANGED_S = 30.0
"""A file that cannot be read, and has not changed for so long, is not still being written."""
STILL_S = 2.0
"""Rows of zeros are believed of a file that has not changed for so long: HDF5 makes room first."""


class SharedFolderSettings(Frozen):
    """Where the folder is, and what the numbers in it mean.

    Attributes:
        folder: Seen by both computers; empty at the beginning of a session.
        sites: Names of the channels, in the order of the responses; or a table
            `name = channel`, from 1, of those that count.
        responses: `counts`: spikes in the count window; `rates`: spikes/s, which are multiplied by
            the window's length.
        offset: Added to each response first: the baseline that the rig has subtracted. Counts must
            not be negative.
        layout: Of `tEvokedResp` as it is read; `by_shape`: whichever fits.
        images: Format of the images, and the suffix of their names.
        wait_s: How long the responses to a block are waited for where nobody watches `trouble`.
    """

    folder: Path = Path("shared")
    sites: dict[str, Annotated[int, Field(ge=1)]] | tuple[str, ...] = ()
    responses: Literal["counts", "rates"] = "counts"
    offset: float = 0
    layout: Literal["by_shape", "images_by_channels", "channels_by_images"] = "by_shape"
    images: ImageFormat = "png"
    wait_s: float = Field(default=3600, gt=0, le=86_400)


class SharedFolder:
    """Waits for the responses to a whole block, and gives them out presentation by presentation.

    The n-th row about an image is its n-th repetition. A row that is missing, or not a number, is a
    `RecorderGap`; since only a new block makes the other rig show something, such an image is given
    up after `max_attempts` of its timing, and an evolution with `unmeasured = "reshow"` shows it in
    a block of its own.
    """

    Settings = SharedFolderSettings
    is_live = False
    """Nothing is recorded of what this rig shows: `doctor` sends it no words."""

    def __init__(self, settings: SharedFolderSettings, session: SessionInfo) -> None:  # noqa: ARG002
        if not settings.sites:
            raise SettingsError(
                "the shared folder needs the names of its channels",
                where="rig.toml, [acquisition.options]",
                expected='sites = ["V4-01", "V4-02"], one for each channel; or { "V4-01" = 3 }',
            )
        self._settings = settings
        self._folder = settings.folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._block: Block | None = None
        self._known: dict[str, str] = {}
        self._rows: dict[str, list[NDArray[np.float64]]] | None = None
        self._seen: tuple[int, int] | None = None
        self._seen_s = 0.0
        self._image_names: list[str] = []
        self._leftovers: list[str] = []
        self._closing = threading.Event()

    @property
    def site_ids(self) -> tuple[str, ...]:
        """Those of the settings."""
        return tuple(self._settings.sites)

    def stage(self, block: Block) -> None:
        """Write the block's images.

        Raises:
            DataError: If the folder holds images of another session.
            RigError: If it cannot be written to.
        """
        self._block, self._rows, self._seen = block, None, None
        self._image_names = image_names(block, self._settings.images)
        names = [stem(name) for name in self._image_names]
        self._known = dict(zip(names, block.stimulus_ids, strict=True))
        others = [name for name in self._leftovers if name not in self._image_names]
        self._leftovers = remove_images(self._folder, others)
        try:
            write_images(self._folder, block, self._settings.images)
        except OSError as error:
            raise RigError(
                "the images cannot be written into the shared folder",
                where=str(self._folder),
                got=error.strerror or error,
                remedy="see that it is there, and has room; then start the rig client again",
            ) from error

    def mark(self, cue: Cue, onset_s: float, word: int) -> None:
        """The other rig shows the images in its own time."""

    @property
    def shows_images(self) -> bool:
        """True: the other rig does."""
        return True

    @property
    def tick_hz(self) -> float:
        """0: the other rig only counts."""
        return 0.0

    def spike_counts(
        self,
        cue: Cue,
        window_s: tuple[float, float],
        kept_s: tuple[float, float] | None = None,  # noqa: ARG002
    ) -> Measurement:
        """The row of this repetition, `(n_sites,)`; waits for the file.

        Raises:
            RecorderGap: `missing_repetition`, `missing_response`, or `silent_stream` if the file did
                not come in time.
            RigError: If the file does not fit the block.
        """
        self._await(cue)
        rows = (self._rows or {}).get(cue.stimulus_id, [])
        if cue.repetition >= len(rows):
            raise _gap(cue, "missing_repetition", f"{len(rows)} rows about this image")
        response = rows[cue.repetition]
        if not np.isfinite(response).all():
            raise _gap(cue, "missing_response", f"{response}")
        counts = response + self._settings.offset
        if self._settings.responses == "rates":
            counts = counts * (window_s[1] - window_s[0])
        if (counts < 0).any():
            raise RigError(
                "a response is negative, and cannot be a count",
                where=f"{self._folder}, block {cue.block_index}",
                expected="0 and more",
                got=counts.min(),
                remedy="set acquisition.options.offset to the baseline that the rig subtracts",
            )
        return Measurement(counts)

    def trouble(self) -> str:
        """Which file is awaited, once a block is staged.

        Raises:
            RigError: If it has come, and does not fit the block.
        """
        return "" if self._block is None else self._look()

    def close(self) -> None:
        """The folder stays as it is."""
        self._closing.set()

    # --- the file ------------------------------------------------------------------------------

    def _await(self, cue: Cue) -> None:
        until_s = time.monotonic() + self._settings.wait_s
        while waiting := self._look():
            if time.monotonic() > until_s or self._closing.wait(GLANCE_S):
                raise _gap(cue, "silent_stream", waiting)

    def _look(self) -> str:
        """Take the responses if they are there; else what is waited for."""
        if self._block is None:
            raise RigError("counts were asked of no block", expected="stage(block) first")
        if self._rows is not None:
            return ""
        name = f"block{self._block.index:03d}.mat or .h5 in {self._folder}"
        path = found_answer(self._folder, self._block.index)
        if path is None:
            return f"waiting for {name}"
        status = path.stat()
        seen, self._seen = self._seen, (status.st_size, status.st_mtime_ns)
        if seen != self._seen:
            self._seen_s = time.monotonic()
            return f"waiting for {name} to be whole"
        try:
            answer = read_answer(path, self._image_names)
        except Unreadable as error:
            if time.monotonic() - self._seen_s > UNCHANGED_S:
                raise _unreadable(path, error) from None
            return f"waiting for {name} to be whole ({error})"
        found = self._sorted(answer, path)
        has_zeros = not all(row.any() for rows in found.values() for row in rows)
        if has_zeros and time.monotonic() < self._seen_s + STILL_S:
            return f"waiting for {name} to be whole (it has rows of zeros)"
        self._rows = found
        self._leftovers += remove_images(self._folder, self._image_names)
        return ""

    def _sorted(self, answer: Answer, path: Path) -> dict[str, list[NDArray[np.float64]]]:
        """Rows by image, in the order of the file; those about the rig's own stimuli are left out."""
        known = self._known
        strangers = sorted(set(answer.names) - set(known))
        foreign = [name for name in strangers if OURS.fullmatch(name)]
        if foreign or not set(known) & set(answer.names):
            raise RigError(
                "the responses are about images that are not of this block",
                where=str(path),
                expected=f"names such as {next(iter(known), '')}",
                got=", ".join((foreign or strangers)[:3]) or "no names",
                remedy="has the folder files of another session? Take them away, then start again",
            )
        if strangers:
            logger.info("%s: %d stimuli of the rig's own, left out: %s …", path.name,
                        len(strangers), ", ".join(strangers[:3]))  # fmt: skip
        rows: dict[str, list[NDArray[np.float64]]] = {}
        for name, row in zip(answer.names, self._by_images(answer, path), strict=True):
            if name in known:
                rows.setdefault(known[name], []).append(row)
        return rows

    def _by_images(self, answer: Answer, path: Path) -> NDArray[np.float64]:
        """`(n_images, n_sites)`."""
        sites = self._settings.sites
        n_rows, shape = len(answer.names), answer.responses.shape
        layout = self._settings.layout
        channels = None if isinstance(sites, dict) else len(sites)
        straight = shape[0] == n_rows and (channels in (None, shape[-1]))
        turned = shape[-1] == n_rows and (channels in (None, shape[0]))
        if layout == "by_shape" and straight != turned:
            layout = "images_by_channels" if straight else "channels_by_images"
        fits = straight if layout == "images_by_channels" else turned
        least = max(sites.values()) if isinstance(sites, dict) else len(sites)
        found = answer.responses if layout == "images_by_channels" else answer.responses.T
        if len(shape) != 2 or layout == "by_shape" or not fits or found.shape[1] < least:
            raise RigError(
                "the responses have another shape than their images and channels",
                where=f"{path}, tEvokedResp",
                expected=f"{n_rows} images × {channels or f'at least {least}'} channels",
                got=" × ".join(map(str, shape)),
                remedy="name all channels in acquisition.options.sites, in their order; if there "
                "are as many images as channels, set layout",
            )
        if isinstance(sites, dict):
            return found[:, [channel - 1 for channel in sites.values()]]
        return found


def _unreadable(path: Path, why: Unreadable) -> RigError:
    return RigError(
        "the responses cannot be read",
        where=str(path),
        expected="stimulusID and tEvokedResp in a .mat file, or scores and indices in .h5",
        got=f"{why}; the file has not changed for {UNCHANGED_S:.0f} s",
        remedy="write it in one go, under another name, then rename it; save('-v7', …) is safe",
    )


def _gap(cue: Cue, fault: str, got: str) -> RecorderGap:
    return RecorderGap(
        "the rig behind the shared folder has not answered for this presentation",
        fault=fault,
        where=f"block {cue.block_index}, image {cue.stimulus_index}, repetition {cue.repetition}",
        got=got,
    )
