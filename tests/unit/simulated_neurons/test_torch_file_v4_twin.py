"""A published digital twin of a V4 neuron, scripted to a file, follows that neuron's recording."""

import io
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from simulated_neurons.torch_file import TorchFilePopulation, TorchFileSettings

PROJECT = Path(__file__).resolve().parents[3]
V4 = Path(os.environ.get("STIMLOOP_DATA", PROJECT.parent / "shared" / "data")) / "v4"
TWIN = V4 / "compact_models" / "compact_model_190923_neuron0.pt"
MEAN = (116.222, 109.270, 100.381)

pytestmark = [
    pytest.mark.skipif(not TWIN.is_file(), reason=f"no V4 twin at {TWIN}"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
]


class Twin(nn.Module):
    """A 5×5 convolution, four separable ones, and a linear readout (Cowley et al.)."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        steps: list[nn.Module] = [nn.Conv2d(3, widths[0], 5, padding=2)]
        for number in range(1, 5):
            inputs, is_strided = widths[number - 1], number < 3
            steps += [
                nn.BatchNorm2d(inputs),
                nn.ReLU(),
                nn.ZeroPad2d((1, 3, 1, 3) if is_strided else 2),
                nn.Conv2d(inputs, inputs, 5, 2 if is_strided else 1, groups=inputs, bias=False),
                nn.Conv2d(inputs, widths[number], 1),
            ]
        self.steps = nn.Sequential(*steps, nn.BatchNorm2d(widths[-1]), nn.ReLU())
        self.readout = nn.Linear(28 * 28 * widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.steps(x).permute(0, 2, 3, 1).flatten(1))


def scripted_twin(folder: Path) -> Path:
    widths = np.load(TWIN.with_name(f"{TWIN.stem}_nums_filters.npy")).tolist()
    state = torch.load(TWIN, weights_only=True)
    twin = Twin(widths).eval()
    twin.load_state_dict(dict(zip(twin.state_dict(), state.values(), strict=True)))
    path = folder / "twin.pt"
    torch.jit.save(torch.jit.script(twin), str(path))
    return path


def recorded(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The session's first `n` images, and neuron 0's mean count to each."""
    with zipfile.ZipFile(V4 / "images_190923.zip") as archive:
        names = [x for x in archive.namelist() if x.lower().endswith((".jpg", ".jpeg"))]
        names.sort(key=lambda name: int(re.findall(r"\d+", Path(name).name)[-1]))
        images = [
            np.asarray(Image.open(io.BytesIO(archive.read(x))).convert("RGB")) for x in names[:n]
        ]
    counts = np.load(V4 / "responses_repeat_averaged_190923.npy")[0, :n]
    return np.stack(images), counts


def test_it_follows_the_recording(tmp_path):
    settings = TorchFileSettings(path=scripted_twin(tmp_path), input_px=112, mean=MEAN, gain=10)
    subject = TorchFilePopulation(settings)
    images, counts = recorded(150)
    assert subject.site_ids == ("site-00",)
    assert np.corrcoef(subject.rates(images)[:, 0], counts)[0, 1] > 0.5
