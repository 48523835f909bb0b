"""Digital twins of 33 macaque V4 neurons, as subjects (Cowley, Stan, Pillow & Smith).

Made by others from far more data than a session holds, they answer to any image. They are used to
test synthesis: no encoder may see them. The files are not part of the project; they are looked for
where `data_folder` says.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from encoders.backbones import pixels_of
from encoders.recording import Recording
from protocols.errors import DataError
from protocols.vocabulary import Images, Rates
from synth_server.synthesis.photographs import load_photographs

SESSION = "190923"
IMAGE_PX = 112
PIXEL_MEAN = (116.222, 109.270, 100.381)
"""Of R, G, B in 0..255: subtracted before a twin sees them."""


class Twin(nn.Module):
    """A 5 × 5 convolution, four separable ones, a linear readout: one neuron.

    Args:
        widths: Channels of the five layers.
    """

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, padding=2)]
        for number in range(1, len(widths)):
            inputs, is_strided = widths[number - 1], number < 3
            steps += [
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
                nn.ZeroPad2d((1, 3, 1, 3) if is_strided else 2),
                nn.Conv2d(inputs, inputs, 5, 2 if is_strided else 1, groups=inputs, bias=False),
                nn.Conv2d(inputs, widths[number], 1),
            ]
        self.steps = nn.Sequential(*steps, nn.BatchNorm2d(widths[-1]), nn.ReLU())
        side = IMAGE_PX // 4
        self.readout = nn.Linear(side * side * widths[-1], 1)

    def forward(self, values: Tensor) -> Tensor:
        """`(n, 3, 112, 112)`, RGB less `PIXEL_MEAN` → `(n, 1)`: the response as a z-score."""
        features: Tensor = self.steps(values)
        responses: Tensor = self.readout(features.permute(0, 2, 3, 1).flatten(1))
        return responses


class TwinPopulation:
    """All twins of the session; the n-th twin is the n-th site of its recording."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob(f"compact_model_{SESSION}_neuron*.pt"), key=_number)
        if not paths:
            raise DataError("there are no twins", where=str(folder))
        self._twins = [load_twin(path) for path in paths]

    @property
    def site_ids(self) -> tuple[str, ...]:
        """ "0" …, as the recording's rows are called."""
        return tuple(str(number) for number in range(len(self._twins)))

    def twin(self, number: int) -> Twin:
        """The n-th twin itself."""
        return self._twins[number]

    @torch.no_grad()
    def rates_of(self, number: int, images: Images) -> NDArray[np.float64]:
        """`(n, 112, 112, 3) uint8` → `(n,)`: z-scores of the n-th twin alone."""
        values = seen_by_twin(pixels_of(images, torch.device("cpu")))
        rows = [self._twins[number](batch)[:, 0] for batch in torch.split(values, 16)]
        return torch.cat(rows).numpy().astype(np.float64)

    @torch.no_grad()
    def rates(self, images: Images) -> Rates:
        """`(n, 112, 112, 3) uint8` → `(n, 33)`, z-scores."""
        values = seen_by_twin(pixels_of(images, torch.device("cpu")))
        rows = [
            torch.cat([twin(batch) for twin in self._twins], dim=1)
            for batch in torch.split(values, 16)
        ]
        return torch.cat(rows).numpy().astype(np.float64)


def seen_by_twin(pixels: Tensor) -> Tensor:
    """`(n, 3, 112, 112)` RGB in 0..1 → what a twin is given."""
    return 255 * pixels - torch.tensor(PIXEL_MEAN)[:, None, None]


def load_twin(path: Path) -> Twin:
    """One neuron's twin; its file of widths lies beside `path`."""
    widths = np.load(path.with_name(f"{path.stem}_nums_filters.npy"), allow_pickle=False)
    state = torch.load(path, weights_only=True, map_location="cpu")
    twin = Twin([int(width) for width in widths]).eval()
    twin.load_state_dict(dict(zip(twin.state_dict(), state.values(), strict=True)))
    return twin


def data_folder() -> Path:
    """`STIMLOOP_DATA`, or the folder beside the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("STIMLOOP_DATA", beside))


def recorded_session(name: str, *, repeats: bool = False) -> Recording:
    """A session of `v4/`: mean counts in 100 ms, or each repetition's."""
    folder = data_folder() / "v4"
    kind = "raw" if repeats else "repeat_averaged"
    responses = np.load(folder / f"responses_{kind}_{name}.npy", allow_pickle=False)
    images = load_photographs(str(folder / f"images_{name}.zip"), None, IMAGE_PX).images
    return Recording.of(images, responses.astype(np.float64))


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", path.stem)[-1])
