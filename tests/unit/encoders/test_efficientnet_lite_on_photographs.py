"""The pretrained weights sit where they belong: the network knows what is on photographs."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.backbones import load_backbone

PROJECT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("STIMLOOP_DATA", PROJECT.parent / "shared" / "data"))
PHOTOGRAPHS = DATA / "natural" / "imagenet_1000_256px.zip"


def photographs(every: int, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre crops, and their classes: in order of WordNet number, ImageNet's own order."""
    with zipfile.ZipFile(PHOTOGRAPHS) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith(".jpeg"))
        classes = np.arange(len(names))[::every]
        cut = (256 - size_px) // 2
        images = [
            np.asarray(Image.open(io.BytesIO(archive.read(names[i]))).convert("RGB"))
            for i in classes
        ]
    return np.stack(images)[:, cut : cut + size_px, cut : cut + size_px], classes


@pytest.mark.skipif(not PHOTOGRAPHS.is_file(), reason=f"no photographs at {PHOTOGRAPHS}")
@pytest.mark.parametrize(
    ("name", "every"), [("efficientnet_lite0", 10), ("efficientnet_lite2", 25)]
)
def test_top_5(name, every):
    images, classes = photographs(every, 224)
    logits = load_backbone(name, "classifier", device="cpu").features(images)
    top = torch.topk(logits, 5, dim=1).indices.numpy()
    assert (top == classes[:, None]).any(axis=1).mean() >= 0.95
