"""The images of a session in an NWB file: each once, their pixels copied straight from the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from protocols.errors import LogCorrupted
from synth_server.readers.export.libraries import nwb
from synth_server.readers.log.logged_session import LoggedSession
from synth_server.session.log import SessionLog, image_of

SEPARATE_AT_MOST = 2_000
"""Images; of 10,000 separate ones a file takes half a minute to open. More are stacked."""

Space = Any
"""An `H5DataIO` without data: its dataset is made with the file, and filled afterwards."""


class ImageStore:
    """Places for the unique images of a session, filled once the file is written.

    Attributes:
        separate: Whether each image is an NWB image; if not, they are stacked by size.
        labels: Image id → its first name, for people.
    """

    def __init__(self, session: LoggedSession, *, separate_at_most: int = SEPARATE_AT_MOST) -> None:
        self._path = session.path
        self._shapes = session.shapes
        self._spaces: dict[str, tuple[Space, int | None]] = {}
        self.labels = _first_labels(session)
        self.separate = len(session.shapes) <= separate_at_most

    def add_to(self, nwbfile: Any, module: Any) -> Any:
        """Add the images to `nwbfile`, or as tables to `module`; returns the `Images`, or None."""
        if not self._shapes:
            return None
        if not self.separate:
            for table in self._stacks():
                module.add(table)
            return None
        images = self._images()
        nwbfile.add_stimulus_template(images)
        return images

    def fill(self, log: SessionLog, after_image: Callable[[], None]) -> None:
        """Copy every image from the log; the file must be written and still open.

        Raises:
            LogCorrupted: If an image is missing or was altered.
        """
        for image_id, (space, row) in self._spaces.items():
            pixels = log.array(image_id)
            if pixels.shape != self._shapes[image_id] or pixels.dtype != np.uint8:
                raise LogCorrupted(
                    "an image has another shape than its block says",
                    where=f"{self._path}, image {image_id}",
                    expected=f"{self._shapes[image_id]} uint8",
                    got=f"{pixels.shape} {pixels.dtype}",
                )
            space.dataset[... if row is None else row] = pixels
            after_image()

    def _images(self) -> Any:
        """`Images`, in the order of first proposal."""
        h5, base = nwb("hdmf.backends.hdf5.h5_utils"), nwb("pynwb.base")
        image = nwb("pynwb.image")
        made = []
        for place, (image_id, shape) in enumerate(self._shapes.items()):
            space = h5.H5DataIO(shape=shape, dtype=np.dtype(np.uint8))
            self._spaces[image_id] = space, None
            label = self.labels[image_id]
            description = f"sha256 {image_id}" + (f"; {label}" if label else "")
            made.append(
                image.RGBImage(name=f"image_{place:06d}", data=space, description=description)
            )
        order = base.ImageReferences(name="order_of_images", data=made)
        return base.Images(
            name="images",
            images=made,
            order_of_images=order,
            description="Every image that was proposed, once: sRGB, 8 bit, row 0 at the top.",
        )

    def _stacks(self) -> list[Any]:
        """One table of pixels a size of images."""
        h5, common = nwb("hdmf.backends.hdf5.h5_utils"), nwb("hdmf.common")
        by_shape: dict[tuple[int, int, int], list[str]] = defaultdict(list)
        for image_id, shape in self._shapes.items():
            by_shape[shape].append(image_id)
        places = {image_id: place for place, image_id in enumerate(self._shapes)}
        tables = []
        for (height, width, depth), ids in by_shape.items():
            space = h5.H5DataIO(
                shape=(len(ids), height, width, depth),
                dtype=np.dtype(np.uint8),
                chunks=(1, height, width, depth),
                compression="gzip",
                compression_opts=1,
            )
            self._spaces |= {image_id: (space, row) for row, image_id in enumerate(ids)}
            index = common.VectorData(
                name="image_index",
                description="Row of the table 'images'.",
                data=np.array([places[image_id] for image_id in ids], dtype=np.int64),
            )
            pixels = common.VectorData(
                name="pixels",
                description="(height, width, RGB), sRGB, 8 bit, row 0 at the top.",
                data=space,
            )
            tables.append(
                common.DynamicTable(
                    name=f"pixels_{height}x{width}",
                    description=f"The images of {height} × {width} pixels, stacked.",
                    columns=[index, pixels],
                    id=list(range(len(ids))),
                )
            )
        return tables


def _first_labels(session: LoggedSession) -> Mapping[str, str]:
    labels: dict[str, str] = {}
    for block in session.blocks:
        for stimulus in block.document["stimuli"]:
            labels.setdefault(image_of(stimulus), stimulus["label"])
    return labels
