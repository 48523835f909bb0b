"""One step of the fast gradient sign method on the bundled classifier (Goodfellow, Shlens & Szegedy 2015).

How many photographs keep the label that lite0 gives them when every pixel moves by `EPSILON` in the direction
that raises the loss of that label, and when it moves by as much in a random direction.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.encoder_data import report
from benchmarks.results import table
from benchmarks.twins import data_folder
from encoders.backbones import pixels_of
from encoders.units import UnitsEncoder, units_encoder
from protocols.seeds import random_stream
from protocols.vocabulary import Images
from synth_server.synthesis.photographs import load_photographs

EPSILON, SIZE_PX, N_PHOTOGRAPHS = 0.007, 224, 60
SOURCE = "imagenet_1000_256px.zip"


def photographs(n: int) -> Images:
    """`(n, 224, 224, 3) uint8`: of `n` classes drawn by chance, one each."""
    found = load_photographs(data_folder() / "natural" / SOURCE, None, SIZE_PX).images
    rows = random_stream(0, "fgsm", "photographs").permutation(len(found))[:n]
    return np.asarray(found[np.sort(rows)])


def misled(network: UnitsEncoder, pixels: Tensor, epsilon: float) -> Tensor:
    """`(n, 3, h, w)` in 0..1: each pixel moved by `epsilon` against the network's own label."""
    pixels = pixels.detach().requires_grad_()
    logits = network.rates(pixels)
    loss = functional.cross_entropy(logits, logits.argmax(dim=1))
    (gradient,) = torch.autograd.grad(loss, pixels)
    return (pixels + epsilon * gradient.sign()).clamp(0, 1).detach()


def main() -> None:
    """`python -m benchmarks.fgsm [--photographs 60]`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=N_PHOTOGRAPHS)
    parser.add_argument("--draft", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    network = units_encoder(f"units:efficientnet_lite0/classifier@{SIZE_PX}", device="cpu")
    kept = np.zeros((3, 2), dtype=int)
    epsilons = (EPSILON / 2, EPSILON, 2 * EPSILON)
    random = random_stream(0, "fgsm", "signs")
    for image in photographs(chosen.photographs):
        pixels = pixels_of(image[None], torch.device("cpu"))
        with torch.no_grad():
            label = int(network.rates(pixels).argmax())
        signs = torch.from_numpy(random.choice([-1.0, 1.0], size=pixels.shape).astype(np.float32))
        for row, epsilon in enumerate(epsilons):
            moved = (misled(network, pixels, epsilon), (pixels + epsilon * signs).clamp(0, 1))
            with torch.no_grad():
                kept[row] += [int(network.rates(each).argmax()) == label for each in moved]
    n = chosen.photographs
    rows = [
        (f"{epsilon:g}", f"{255 * epsilon:.1f}", *(f"{k} of {n} ({k / n:.0%})" for k in row))
        for epsilon, row in zip(epsilons, kept.tolist(), strict=True)
    ]
    head = ("ε", "in levels of 255", "label kept, gradient's signs", "label kept, random signs")
    text = (
        f"{table(head, rows)}\n\nOf lite0 (pretrained) at {SIZE_PX} px, on {n} photographs of as many "
        f"classes of ImageNet, drawn by chance; the label is the network's own of the unchanged photograph."
    )
    report("One step misleads a classifier", "python -m benchmarks.fgsm", text, draft=chosen.draft)


if __name__ == "__main__":
    main()
