"""A published digital twin of a V4 neuron, scripted to a file, follows that neuron's recording."""

import numpy as np
import pytest
import torch

from benchmarks.twins import (
    IMAGE_PX,
    PIXEL_MEAN,
    SESSION,
    data_folder,
    load_twin,
    recorded_session,
)
from simulated_neurons.torch_file import TorchFilePopulation, TorchFileSettings

TWIN = data_folder() / "v4" / "compact_models" / f"compact_model_{SESSION}_neuron0.pt"

pytestmark = [
    pytest.mark.skipif(not TWIN.is_file(), reason=f"no V4 twin at {TWIN}"),
    pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning"),
]


def test_it_follows_the_recording(tmp_path):
    file = tmp_path / "twin.pt"
    torch.jit.save(torch.jit.script(load_twin(TWIN)), str(file))
    settings = TorchFileSettings(path=file, input_px=IMAGE_PX, mean=PIXEL_MEAN, gain=10)
    subject = TorchFilePopulation(settings)
    recorded = recorded_session(SESSION).of_images(np.arange(150))
    assert subject.site_ids == ("site-00",)
    assert np.corrcoef(subject.rates(recorded.images)[:, 0], recorded.means[:, 0])[0, 1] > 0.5
