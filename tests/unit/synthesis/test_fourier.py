import numpy as np
import pytest
import torch

from protocols.errors import DataError
from protocols.seeds import random_stream
from synth_server.synthesis.generators.fourier import FourierGenerator, FourierSettings


@pytest.fixture(scope="module")
def generator():
    return FourierGenerator(FourierSettings())


@pytest.fixture(scope="module")
def codes(generator):
    return generator.sample_codes(40, random_stream(0, "codes"))


def unsquashed(generator, codes):
    """`(n, 3, size, size)`: what the sigmoid is given, in units of the full range."""
    return (torch.logit(generator.decode(torch.from_numpy(codes)).double()) / 4).numpy()


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_an_image_is_the_same_in_any_batch(generator, codes, n):
    assert np.array_equal(generator(codes)[:n], generator(codes[:n]))


def test_every_image_has_the_same_contrast(generator, codes):
    planes = unsquashed(generator, codes * np.float32(5))
    rms = (planes - planes.mean(axis=(2, 3), keepdims=True)).std(axis=(1, 2, 3))
    assert rms == pytest.approx(FourierSettings().contrast, rel=1e-3)


def test_the_length_of_a_code_changes_only_the_mean_and_the_tilt(generator, codes):
    codes = codes.copy()
    codes[:, :4] = 0
    difference = generator(codes).astype(int) - generator(codes * np.float32(3))
    assert np.abs(difference).max() <= 1


def test_nothing_above_the_band(generator, codes):
    power = np.abs(np.fft.fft2(unsquashed(generator, codes))) ** 2
    cycles = np.fft.fftfreq(128, 1 / 128)
    frequency = np.hypot(cycles[:, None], cycles[None, :])
    above = power[..., frequency > FourierSettings().max_cycles + 0.5].sum()
    assert above / power.sum() < 1e-6


def test_a_single_gene_draws_its_grating():
    settings = FourierSettings(size_px=32, tiles=1, max_cycles=1, max_colour_cycles=1)
    generator = FourierGenerator(settings)
    code = np.zeros((1, generator.code_dim), np.float32)
    code[0, 4] = 1
    plane = unsquashed(generator, code)[0]
    assert plane[0] == pytest.approx(plane[2], abs=1e-5)
    fy, fx = (int(axis[0]) for axis in (generator._bands[0].fy, generator._bands[0].fx))
    y, x = np.mgrid[:32, :32] / 32
    grating = FourierSettings().contrast * np.sqrt(2) * np.cos(2 * np.pi * (fx * x + fy * y))
    assert plane[0] == pytest.approx(grating, abs=1e-4)


def test_the_image_repeats(generator, codes):
    images = generator(codes)
    half = images.shape[1] // 2
    difference = images[:, :half].astype(int) - images[:, half:]
    assert np.abs(difference).max() <= 1
    assert images[:, :half, :half].std() > 10


def test_one_gene_tilts_the_spectrum(generator, codes):
    def high_part(tilt):
        tilted = codes.copy()
        tilted[:, 3] = tilt
        power = np.abs(np.fft.fft2(unsquashed(generator, tilted))) ** 2
        cycles = np.fft.fftfreq(128, 1 / 128)
        frequency = np.hypot(cycles[:, None], cycles[None, :])
        return power[..., frequency > 8].sum() / power[..., frequency > 0].sum()

    assert high_part(-2) < high_part(0) < high_part(2)


def test_bands_too_narrow_for_the_tiles_are_refused():
    with pytest.raises(ValueError, match="tiles = 3 needs"):
        FourierSettings(tiles=3, max_colour_cycles=2)


def test_decode_has_gradients(generator, codes):
    leaf = torch.from_numpy(codes[:2]).requires_grad_()
    generator.decode(leaf)[:, :, 40:60, 40:60].sum().backward()
    assert leaf.grad.abs().sum() > 0
    assert torch.isfinite(leaf.grad).all()


def test_a_code_of_zeros_is_gray(generator):
    images = generator(np.zeros((1, generator.code_dim), np.float32))
    assert np.abs(images.astype(int) - 128).max() <= 1


def test_wrong_codes_are_refused(generator, codes):
    with pytest.raises(DataError, match="wrong shape"):
        generator(codes[:, 1:])
    with pytest.raises(DataError, match="NaN"):
        generator(np.full_like(codes, np.nan))
