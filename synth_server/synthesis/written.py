"""Synthesised images as files: PNG, `images.npy`, `index.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from protocols.names import file_names
from synth_server.synthesis.ascent import Synthesized

MADE = ("*-seed*.png", "images.npy", "index.json")
"""What `synthesize` leaves in its folder."""


def write_images(made: Synthesized, site_ids: tuple[str, ...], out: Path) -> list[dict[str, Any]]:
    """Into a folder, without what lay there before; returns what `index.json` says."""
    out.mkdir(parents=True, exist_ok=True)
    for old in [path for pattern in MADE for path in out.glob(pattern)]:
        old.unlink()
    index = []
    files = file_names(made.targets)
    for row, (site, seed) in enumerate(zip(made.targets, made.seeds, strict=True)):
        file = f"{files[site]}-seed{seed}.png"
        Image.fromarray(made.images[row]).save(out / file)
        rates = made.predicted[row]
        predicted = float(rates[site_ids.index(site)] if site in site_ids else made.scores[row])
        index.append({"site": site, "seed": int(seed), "predicted": predicted, "file": file})
    np.save(out / "images.npy", made.images)
    (out / "index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    return index
