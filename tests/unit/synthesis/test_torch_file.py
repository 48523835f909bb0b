"""A laboratory's own generator in a file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from protocols import plugins
from protocols.conformance import check_generator
from protocols.errors import DataError, SettingsError
from protocols.settings import PluginChoice
from synth_server.synthesis.image_space import GeneratorSpace


class Decoder(nn.Module):
    """A code of 6 × 1 × 1 → 24 px in -1..1: upsampled, as many GANs draw."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first = nn.ConvTranspose2d(6, 8, 6)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.ConvTranspose2d(8, channels, 4, stride=4)

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.last(torch.relu(self.norm(self.first(code)))))


class Columns(nn.Module):
    """Black on the left, white on the right, in 0..255; red rises with the first number."""

    def forward(self, code: torch.Tensor) -> torch.Tensor:
        image = torch.zeros(len(code), 3, 16, 16)
        image[:, :, :, 8:] = 255.0
        image[:, 0] = image[:, 0] + code[:, :1, None]
        return image


def scripted(folder, network, name="generator.pt"):
    path = folder / name
    torch.jit.script(network.eval()).save(str(path))
    return path


def made(path, **options):
    choice = PluginChoice(name="torch", options={"path": str(path), **options})
    return plugins.create("stimloop.generators", choice)


@pytest.fixture
def decoder(tmp_path):
    return scripted(tmp_path, Decoder())


def test_a_scripted_generator_keeps_the_contract(decoder):
    generator = made(decoder, code_shape=[6, 1, 1])
    assert (generator.code_dim, generator.image_size_px) == (6, 24)
    check_generator(generator)


def test_an_exported_generator_draws_the_same(tmp_path, decoder):
    path = tmp_path / "generator.pt2"
    torch.export.save(torch.export.export(Decoder().eval(), (torch.zeros(1, 6, 1, 1),)), path)
    scripts, exported = (made(each, code_shape=[6, 1, 1]) for each in (decoder, path))
    codes = scripts.sample_codes(3, np.random.default_rng(0))
    difference = scripts(codes).astype(int) - exported(codes).astype(int)
    assert np.abs(difference).max() <= 1
    assert scripts.digest != exported.digest


def test_output_range_and_orientation(tmp_path):
    path = scripted(tmp_path, Columns())
    generator = made(path, code_shape=[2], output_min=0, output_max=255)
    image = generator(np.array([[100.0, 0.0]], np.float32))[0]
    assert image[0, 0].tolist() == [100, 0, 0]
    assert image[0, 15].tolist() == [255, 255, 255], "beyond white is white"
    resized = made(path, code_shape=[2], output_min=0, output_max=255, size_px=32)
    assert resized(np.zeros((1, 2), np.float32)).shape == (1, 32, 32, 3)
    assert resized.digest != generator.digest


def test_first_codes_come_from_the_prior_or_from_examples(tmp_path, decoder):
    prior = made(decoder, code_shape=[6, 1, 1], prior_mean=2.0, prior_sd=0.5)
    codes = prior.sample_codes(4000, np.random.default_rng(0))
    assert codes.mean() == pytest.approx(2.0, abs=0.02)
    assert codes.std() == pytest.approx(0.5, abs=0.02)
    examples = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    np.save(tmp_path / "codes.npy", examples)
    given = made(decoder, code_shape=[6, 1, 1], example_codes=str(tmp_path / "codes.npy"))
    drawn = given.sample_codes(50, np.random.default_rng(0))
    assert {row.tobytes() for row in drawn} == {row.tobytes() for row in examples}
    assert given.digest != made(decoder, code_shape=[6, 1, 1]).digest


def test_it_can_be_climbed(decoder):
    generator = made(decoder, code_shape=[6, 1, 1], device="cpu")
    space = GeneratorSpace(generator)
    codes = space.initial(2, torch.Generator().manual_seed(0)).requires_grad_()
    (gradient,) = torch.autograd.grad(space.images(codes).mean(), codes)
    assert gradient.abs().sum() > 0


def test_the_digest_is_of_the_file_not_of_its_place(tmp_path, decoder):
    other = tmp_path / "elsewhere.pt"
    other.write_bytes(decoder.read_bytes())
    assert made(other, code_shape=[6, 1, 1]).digest == made(decoder, code_shape=[6, 1, 1]).digest


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"code_shape": [7, 1, 1]}, DataError, "does not take its code"),
        ({"code_shape": [6, 1, 1], "output_min": 2}, SettingsError, "output_max"),
        ({"code_shape": [6, 0]}, SettingsError, "at least 1"),
        ({}, SettingsError, "code_shape"),
        ({"code_shape": [6, 1, 1], "example_codes": "none.npy"}, SettingsError, "cannot be read"),
    ],
)
def test_what_does_not_fit_is_told_when_it_is_loaded(decoder, options, error, message):
    with pytest.raises(error, match=message):
        made(decoder, **options)


def test_files_that_are_no_generators_are_told(tmp_path):
    with pytest.raises(SettingsError, match="no such network file"):
        made(tmp_path / "none.pt", code_shape=[6])
    torch.save(Decoder().state_dict(), tmp_path / "state.pt")
    with pytest.raises(SettingsError, match="no network that torch can load"):
        made(tmp_path / "state.pt", code_shape=[6])
    gray = scripted(tmp_path, Decoder(channels=1), "gray.pt")
    with pytest.raises(DataError, match="no square colour image"):
        made(gray, code_shape=[6, 1, 1])
    np.save(tmp_path / "codes.npy", np.zeros((4, 5)))
    with pytest.raises(SettingsError, match="do not fit the network"):
        made(
            scripted(tmp_path, Decoder()),
            code_shape=[6, 1, 1],
            example_codes=str(tmp_path / "codes.npy"),
        )
