"""The images in an NWB file of stimloop, by the hash that its presentations name."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.digests import image_id
from protocols.interfaces import PhotographSet
from synth_server.recordings.sizes import of_one_size


def own_images(file: Any) -> PhotographSet:
    """Every image of a session that `export-nwb` wrote, named by its hash."""
    found = {}
    if "images" in file.stimulus_template:
        for image in file.stimulus_template["images"].images.values():
            pixels = np.asarray(image.data[:], dtype=np.uint8)
            found[image_id(pixels)] = pixels
    for name, table in file.processing["misc"].data_interfaces.items():
        if name.startswith("pixels_"):
            for pixels in table["pixels"].data:
                found[image_id(np.asarray(pixels))] = np.asarray(pixels, dtype=np.uint8)
    return of_one_size(found)
