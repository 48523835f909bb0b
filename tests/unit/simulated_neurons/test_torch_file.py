"""Networks from files: both formats, the input they are given, and what they may not return."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from protocols.errors import DataError, SettingsError
from simulated_neurons.torch_file import TorchFilePopulation, TorchFileSettings

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")

SIZE = 16


class MeanOfChannels(nn.Module):
    """The input itself: `(n, 3, h, w)` → `(n, 3)` means."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class OneSite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(1, 2, 3))


class FeatureMap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class NaNForWhite(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3))
        return torch.where(means > 254, torch.full_like(means, float("nan")), means)


def scripted(module: nn.Module, folder) -> str:
    path = folder / "network.pt"
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def exported(module: nn.Module, folder) -> str:
    path = folder / "network.pt2"
    torch.export.save(torch.export.export(module, (torch.zeros(1, 3, SIZE, SIZE),)), path)
    return path


def population(path, **settings) -> TorchFilePopulation:
    return TorchFilePopulation(TorchFileSettings(path=path, input_px=SIZE, **settings))


def plain(*rgb: tuple[int, int, int]) -> np.ndarray:
    return np.array(rgb, dtype=np.uint8).reshape(-1, 1, 1, 3).repeat(32, axis=1).repeat(32, axis=2)


@pytest.mark.parametrize("saved", [scripted, exported])
def test_both_formats_see_rgb_minus_mean_over_scale(saved, tmp_path):
    subject = population(saved(MeanOfChannels(), tmp_path), mean=(10, 20, 30), scale=2, gain=3)
    assert subject.site_ids == ("site-00", "site-01", "site-02")
    images = plain((10, 40, 90), (20, 0, 255))
    expected = [[0, 30, 90], [15, 0, 337.5]]
    np.testing.assert_allclose(subject.rates(images), expected, atol=1e-3)
    assert np.array_equal(subject.rates(images[1:]), subject.rates(images)[1:])


def test_one_site_may_come_as_a_vector_and_be_cut_off(tmp_path):
    subject = population(scripted(OneSite(), tmp_path), rate_max=100)
    rates = subject.rates(plain((30, 30, 30), (200, 200, 200)))
    np.testing.assert_allclose(rates, [[30], [100]], atol=1e-3)


def test_nan_is_an_error(tmp_path):
    subject = population(scripted(NaNForWhite(), tmp_path))
    with pytest.raises(DataError, match="no numbers"):
        subject.rates(plain((255, 255, 255)))


def test_outputs_of_the_wrong_shape_are_refused_at_once(tmp_path):
    with pytest.raises(DataError, match=r"\(1, 3, 16, 16\)"):
        population(scripted(FeatureMap(), tmp_path))


def test_a_network_for_another_input_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="does not take its input"):
        population(scripted(nn.Conv2d(4, 1, 3), tmp_path))
    with pytest.raises(DataError, match="does not take its input"):
        TorchFilePopulation(
            TorchFileSettings(path=exported(MeanOfChannels(), tmp_path), input_px=2 * SIZE)
        )


@pytest.mark.parametrize("name", ["network.pt", "network.pt2"])
def test_files_that_hold_no_network(tmp_path, name):
    with pytest.raises(SettingsError, match="no such network file"):
        population(tmp_path / name)
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / name)
    with pytest.raises(SettingsError, match="script or export"):
        population(tmp_path / name)
