"""Feature visualisation of classes: are images made on one network that class for another one, too?

`units:efficientnet_lite0/classifier@224` is climbed for some classes in the Fourier space (recipe
`fourier`); the images are shown to lite0 and to lite1, which had no part in them. As a control, the random
images that the climbs began from.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.encoder_data import report
from benchmarks.results import table
from encoders.units import UnitsEncoder, units_encoder
from protocols.vocabulary import Images
from synth_server.synthesis.ascent import synthesize
from synth_server.synthesis.constraints import starting_images
from synth_server.synthesis.recipes import recipe_of
from synth_server.synthesis.targets import objectives_for

CLASSES = ("goldfish", "tiger", "zebra", "analog clock", "pizza")
SIZE_PX, N_STEPS, SEED = 224, 60, 0


def ranks(network: UnitsEncoder, images: Images) -> list[int]:
    """Of each class among all 1,000 for its image; 1 is the first."""
    logits = network.predict(images)
    columns = [network.site_ids.index(name) for name in CLASSES]
    own = logits[np.arange(len(images)), columns]
    return [int(n) for n in (logits > own[:, None]).sum(axis=1) + 1]


def main() -> None:
    """`python -m benchmarks.class_images [--images FOLDER]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="keep the images in this folder")
    parser.add_argument("--steps", type=int, default=N_STEPS)
    parser.add_argument("--draft", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lite0, lite1 = (
        units_encoder(f"units:efficientnet_lite{n}/classifier@224", device="cpu") for n in (0, 1)
    )
    space, settings = recipe_of("fourier", SIZE_PX, changes={"n_steps": chosen.steps})
    began = time.process_time()
    made = synthesize(
        lite0, objectives_for("stretch", CLASSES, lite0.site_ids), space, settings, [SEED]
    )
    seconds = time.process_time() - began
    start = starting_images(space, settings.constraints, [SEED]).repeat(len(CLASSES), axis=0)
    if chosen.images:
        chosen.images.mkdir(parents=True, exist_ok=True)
        for name, image in zip(CLASSES, made.images, strict=True):
            Image.fromarray(image).save(chosen.images / f"{name}.png")
    rows = [
        (name, *map(str, each))
        for name, *each in zip(
            CLASSES,
            *(ranks(net, images) for images in (made.images, start) for net in (lite0, lite1)),
            strict=True,
        )
    ]
    head = ("class", "rank on lite0", "on lite1", "where it began, on lite0", "on lite1")
    text = (
        f"{table(head, rows)}\n\nRank of the class among 1,000 for an image made for its logit on lite0: "
        f"recipe `fourier`, {SIZE_PX} px, {chosen.steps} steps, seed {SEED}; {seconds:.0f} s of one core "
        "for all five."
    )
    report("Class images", "python -m benchmarks.class_images", text, draft=chosen.draft)


if __name__ == "__main__":
    main()
