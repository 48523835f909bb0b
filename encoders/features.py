"""Features of images at taps: a network, cut at a layer, that looks at images of one size.

Features cost far more than a fit, and every fit of a session needs the same ones: a `FeatureStore`
computes them once, and keeps them in memory and, if it is given a folder, on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from encoders.backbones import Backbone, load_backbone, pixels_of
from encoders.backbones.folding import quicken
from encoders.parallel import in_parallel, one_at_a_time
from encoders.progress import Progress, silent
from protocols.digests import array_digest, combined_digest, document_digest, image_id
from protocols.replacing import replace_file
from protocols.settings import Frozen
from protocols.vocabulary import Images, check_images

LUMA = (0.299, 0.587, 0.114)
"""Gray value of an sRGB pixel, ITU-R BT.601: what image libraries call grayscale."""

Loader = Callable[..., Backbone]


class Tap(Frozen):
    """Where features are taken: which network, at which layer, of images of which size."""

    backbone: str = Field(default="efficientnet_lite0", min_length=1)
    layer: str = Field(default="blocks.3", min_length=1)
    input_px: int | None = Field(
        default=112, ge=16, le=2048, description="images are resized to this; None keeps their size"
    )
    grayscale: bool = Field(default=False, description="the network sees the images' luma only")
    weights: str = Field(default="default", min_length=1, description="see BackboneSettings")
    seed: int = Field(default=0, ge=0, description="of weights = 'random'")

    @property
    def label(self) -> str:
        """For people: `efficientnet_lite0 (robust) blocks.3 at 112 px`."""
        size = "own size" if self.input_px is None else f"{self.input_px} px"
        weights = "" if self.weights == "default" else f" ({Path(self.weights).name})"
        gray = " gray" if self.grayscale else ""
        return f"{self.backbone}{weights} {self.layer} at {size}{gray}"


class FeatureExtractor(nn.Module):
    """A tap as a differentiable function of pixels.

    Args:
        tap: Where features are taken.
        device: `auto`, `cpu` or `cuda`.
        load: Makes the backbone; a test may give its own.
    """

    def __init__(self, tap: Tap, *, device: str = "auto", load: Loader = load_backbone) -> None:
        super().__init__()
        self.tap = tap
        self.backbone = load(
            tap.backbone,
            tap.layer,
            weights=tap.weights,
            seed=tap.seed,
            input_px=tap.input_px,
            device=device,
        )
        quicken(self.backbone.network)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.backbone.device

    @property
    def digest(self) -> str:
        """Sha256 of everything that decides the features, but for their last bits.

        Those depend on the processor, on torch, and on how the same function is computed.
        """
        return document_digest(
            {"backbone": self.backbone.digest, "grayscale": self.tap.grayscale, "luma": LUMA}
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → `(n, c, h', w')`; a layer past a pooling has 1 × 1."""
        return as_map(self.backbone.network(self.prepared(pixels)))

    def prepared(self, pixels: Tensor) -> Tensor:
        """`(n, 3, h, w)` float RGB in 0..1 → what the network is given."""
        if self.tap.grayscale:
            weights = torch.tensor(LUMA, dtype=pixels.dtype, device=pixels.device)
            pixels = torch.einsum("nchw,c->nhw", pixels, weights)[:, None].expand(-1, 3, -1, -1)
        return self.backbone.prepared(pixels)

    @torch.no_grad()
    def features(
        self,
        images: Images,
        *,
        batch_size: int | None = None,
        progress: Progress = silent,
        workers: int = 1,
    ) -> Tensor:
        """`(n, h, w, 3) uint8` → `(n, c, h', w')` float32 on the CPU; progress counts images.

        `workers` batches are computed at a time; what comes out does not depend on it. All batches
        have one size, so that an image's features do not depend on how many others there are.
        """
        check_images(images)
        size = batch_size or (64 if self.device.type == "cuda" else 8)
        n_done = 0

        @one_at_a_time
        def tell(n: int) -> None:
            nonlocal n_done
            n_done += n
            progress(n_done, len(images), self.tap.label)

        def batch(at: int) -> Tensor:
            some = images[at : at + size]
            padded = np.concatenate([some, np.repeat(some[-1:], size - len(some), axis=0)])
            with torch.no_grad():
                found: Tensor = self(pixels_of(padded, self.device)).float().cpu()[: len(some)]
            tell(len(some))
            return found

        batches = [partial(batch, at) for at in range(0, len(images), size)]
        return torch.cat(in_parallel(batches, workers)).contiguous()


def as_map(features: Tensor) -> Tensor:
    """`(n, c, h', w')` as it is; `(n, c)`, as of a layer past a pooling → `(n, c, 1, 1)`."""
    return features if features.ndim == 4 else features.flatten(1)[:, :, None, None]


class FeatureStore:
    """Features, each image's computed once at each tap.

    Args:
        folder: Where they are kept between runs; None keeps them in memory only.
        device: `auto`, `cpu` or `cuda`: where networks run.
        load: Makes backbones.
        workers: Batches of images that are computed at a time.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        device: str = "auto",
        load: Loader = load_backbone,
        workers: int = 1,
    ) -> None:
        self._folder, self._device, self._load = folder, device, load
        self._workers = workers
        self._extractors: dict[Tap, FeatureExtractor] = {}
        self._known: dict[str, dict[str, Tensor]] = {}

    def extractor(self, tap: Tap) -> FeatureExtractor:
        """The network of `tap`, loaded once."""
        if tap not in self._extractors:
            self._extractors[tap] = FeatureExtractor(tap, device=self._device, load=self._load)
        return self._extractors[tap]

    def features(self, tap: Tap, images: Images, *, progress: Progress = silent) -> Tensor:
        """`(n, h, w, 3) uint8` → `(n, c, h', w')` float32 on the CPU.

        Raises:
            DataError: If `images` has another shape or type.
        """
        check_images(images)
        extractor = self.extractor(tap)
        ids = [image_id(image) for image in images]
        known = self._known.setdefault(extractor.digest, {})
        if not known.keys() >= set(ids):
            known |= _kept(self._folder_of(extractor), set(ids) - known.keys())
        missing = {key: row for row, key in enumerate(ids) if key not in known}
        if missing:
            new = extractor.features(
                images[list(missing.values())], progress=progress, workers=self._workers
            )
            known |= zip(missing, new, strict=True)
            _keep(self._folder_of(extractor), list(missing), new)
        progress(len(images), len(images), tap.label)
        return torch.stack([known[key] for key in ids])

    def forget(self) -> None:
        """Free the memory; what is on disk stays."""
        self._known.clear()

    def _folder_of(self, extractor: FeatureExtractor) -> Path | None:
        return None if self._folder is None else self._folder / extractor.digest


def _kept(folder: Path | None, wanted: set[str]) -> dict[str, Tensor]:
    """The features of wanted images that are on disk; a damaged file counts as absent."""
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")) if folder and folder.is_dir() else ():
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                ids = about.get("images", "").split()
                if wanted.isdisjoint(ids):
                    continue
                features: Tensor = file.get_tensor("features")
        except (SafetensorError, OSError):
            continue
        if about.get("digest") == array_digest(features.numpy()) and len(features) == len(ids):
            found |= {key: row for key, row in zip(ids, features, strict=True) if key in wanted}
    return found


def _keep(folder: Path | None, ids: list[str], features: Tensor) -> None:
    """All of the file, or nothing: it gets its name when it is complete."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{combined_digest(ids)}.safetensors"
    part = path.with_suffix(f".part{os.getpid()}")
    about = {"images": " ".join(ids), "digest": array_digest(features.numpy())}
    save_file({"features": features.contiguous()}, part, about)
    replace_file(part, path)
