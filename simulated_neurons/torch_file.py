"""Any torch network in a file as ground truth, such as a published digital twin of a neuron.

The file is TorchScript (`torch.jit.save`) or an exported program (`torch.export.save`, ending in
`.pt2`). The network must take a float32 tensor `(n, 3, input_px, input_px)`: channels R, G, B, row 0
at the top, values `(p - mean) / scale` of pixels p in 0..255; and return `(n, n_sites)`, or `(n,)`
for one site. What it returns times `gain` is the rate in spikes/s: negative values count as 0, NaN or
infinity is an error. It is shown one image at a time, so it may be exported for a batch of one.

A network can do what its file says: load only files from people you trust.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from encoders.backbones.network_file import Asked, load_network
from encoders.backbones.one_thread import one_thread
from encoders.backbones.preprocessing import pixels_of, resized
from protocols.settings import Frozen
from protocols.vocabulary import Images, Rates, check_images
from simulated_neurons.sites import site_names

DECIMALS = 3
CPU = torch.device("cpu")
REMEDY = "see the file's requirements at the top of simulated_neurons/torch_file.py"


class TorchFileSettings(Frozen):
    """A file, what its network expects, and how its output becomes spikes/s."""

    path: Path
    input_px: int = Field(default=112, ge=1, le=2048, description="images are resized to this")
    mean: tuple[float, float, float] = Field(
        default=(0.0, 0.0, 0.0), description="subtracted from R, G, B in 0..255"
    )
    scale: float = Field(default=1, gt=0, description="divides what is left")
    gain: float = Field(default=1, gt=0, description="spikes/s for each unit of output")
    rate_max: float | None = Field(default=None, gt=0, description="spikes/s, cut off above")


class TorchFilePopulation:
    """The network of a file, as ground truth on the CPU."""

    Settings = TorchFileSettings

    def __init__(self, settings: TorchFileSettings) -> None:
        self._settings = settings
        self._asked = Asked(load_network(settings.path), settings.path, "input", REMEDY)
        gray = np.full((settings.input_px, settings.input_px, 3), 128, dtype=np.uint8)
        with one_thread(), torch.no_grad():
            self._n_sites = self._outputs(gray).shape[0]

    @property
    def site_ids(self) -> tuple[str, ...]:
        """`site-00` …, one an output of the network."""
        return site_names(self._n_sites)

    def rates(self, images: Images) -> Rates:
        """`(n, h, h, 3) uint8` → `(n, n_sites)` spikes/s, a multiple of 0.001.

        Raises:
            DataError: If the images have another shape or type, or the network returns NaN.
        """
        check_images(images)
        with one_thread(), torch.no_grad():
            outputs = np.stack([self._outputs(image) for image in images])
        rates = np.clip(outputs * self._settings.gain, 0, self._settings.rate_max)
        return np.round(rates, DECIMALS)

    def _outputs(self, image: NDArray[np.uint8]) -> NDArray[np.float64]:
        """`(h, h, 3)` → `(n_sites,)`, checked."""
        outputs = self._asked.answer(self._input(image))
        if not isinstance(outputs, Tensor) or outputs.ndim not in (1, 2) or len(outputs) != 1:
            got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise self._asked.wrong("returns no rates", "(1, n_sites) or (1,) for one image", got)
        values = outputs.reshape(-1).double().numpy()
        if not np.isfinite(values).all():
            raise self._asked.wrong(
                "returns rates that are no numbers", "finite values", values[:8]
            )
        return np.asarray(values, dtype=np.float64)

    def _input(self, image: NDArray[np.uint8]) -> Tensor:
        """`(h, h, 3) uint8` → `(1, 3, input_px, input_px)` as the network expects it."""
        pixels = resized(pixels_of(image[None], CPU), self._settings.input_px) * 255
        mean = torch.tensor(self._settings.mean).view(1, 3, 1, 1)
        return (pixels - mean) / self._settings.scale
