import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from protocols.errors import DataError, SettingsError
from protocols.seeds import random_stream
from synth_server.synthesis.generators.decoder import wrapped
from synth_server.synthesis.generators.deep import DeepGenerator, DeepSettings
from synth_server.synthesis.generators.deep_weights import BUNDLED_CODE_DIM, bundled_file
from synth_server.synthesis.photographs import load_photographs


@pytest.fixture(scope="module")
def deep():
    return DeepGenerator(DeepSettings())


@pytest.fixture(scope="module")
def codes(deep):
    return deep.sample_codes(6, random_stream(0, "codes"))


@pytest.fixture(scope="module")
def photographs(deep):
    return load_photographs("embedded", 6, deep.image_size_px).images


def coarse(images):
    """The middle tile of 64 px, at 8 × 8."""
    pixels = torch.from_numpy(images[:, 32:96, 32:96]).permute(0, 3, 1, 2).float()
    return torch.nn.functional.avg_pool2d(pixels, 8).flatten(1).numpy()


def test_the_prior_looks_like_nature(deep):
    images = deep(deep.sample_codes(24, random_stream(1, "codes")))
    contrast = images.std((1, 2, 3)) / 255
    assert 0.08 < np.median(contrast) < 0.35
    assert 0.25 < images.mean() / 255 < 0.65
    gray = images.mean(3) - images.mean((1, 2, 3))[:, None, None]
    cycles = np.arange(2, 48, 2)
    amplitude = np.abs(np.fft.rfft2(gray)[:, 0, cycles]).mean(axis=0)
    slope = np.polyfit(np.log(cycles), np.log(amplitude), 1)[0]
    assert -2.2 < slope < -0.7, "amplitude of photographs falls about as 1/f"


def test_photographs_come_back_from_their_codes(deep, photographs):
    codes = deep.invert(photographs)
    assert codes.shape == (len(photographs), BUNDLED_CODE_DIM)
    agreement = np.corrcoef(coarse(photographs), coarse(deep(codes)))[: len(codes), len(codes) :]
    assert (agreement.argmax(axis=1) == np.arange(len(codes))).all()
    assert np.median(np.diag(agreement)) > 0.8


def test_an_image_repeats_around_a_whole_tile_in_the_middle(deep, codes):
    images = deep(codes)
    assert np.array_equal(images, np.roll(images, (64, 64), axis=(1, 2)))
    once = DeepGenerator(DeepSettings(tiles=1))(codes)
    middle = images[:, 32:96, 32:96].mean((1, 2))
    assert np.corrcoef(middle.ravel(), once.mean((1, 2)).ravel())[0, 1] > 0.95
    thrice = DeepGenerator(DeepSettings(tiles=3))(codes)
    assert np.array_equal(thrice[:, 42:], thrice[:, :-42])


def test_wrapping_is_circular_padding():
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), mode="circular")
    assert torch.equal(wrapped(x), padded)


def test_contrast_is_one_for_all_or_each_images_own(deep, codes):
    alike = deep(codes).std((1, 2, 3))
    own = DeepGenerator(DeepSettings(contrast=None))(codes).std((1, 2, 3))
    assert alike.max() / alike.min() < 1.25
    assert own.max() / own.min() > 1.25


def test_fewer_components_are_the_beginning_of_more(codes):
    few = DeepGenerator(DeepSettings(code_dim=64))
    padded = np.zeros_like(codes)
    padded[:, :64] = codes[:, :64]
    more = DeepGenerator(DeepSettings())(padded)
    assert np.abs(few(np.ascontiguousarray(codes[:, :64])).astype(int) - more).max() <= 1


def test_an_image_is_the_same_in_any_company(deep, codes):
    alone = np.concatenate([deep(code[None]) for code in codes])
    assert np.array_equal(alone, deep(codes))
    assert np.array_equal(alone[::-1], deep(np.ascontiguousarray(codes[::-1])))


def test_half_precision_differs_by_a_few_gray_levels(deep, codes):
    half = DeepGenerator(DeepSettings(precision="bfloat16"))
    difference = np.abs(half(codes).astype(int) - deep(codes))
    assert difference.mean() < 2
    assert half.digest != deep.digest


def test_decode_is_what_is_drawn_and_has_a_gradient(deep, codes):
    parameters = torch.from_numpy(codes).requires_grad_(True)
    images = deep.decode(parameters)
    drawn = (images.detach().permute(0, 2, 3, 1).numpy() * 255).round()
    assert np.abs(drawn - deep(codes)).max() <= 1
    torch.autograd.backward(images.mean())
    assert torch.isfinite(parameters.grad).all()
    assert parameters.grad.abs().max() > 0


def test_the_untrained_decoder_is_another_generator_of_some_contrast(deep, codes):
    untrained = DeepGenerator(DeepSettings(weights="untrained"))
    images = untrained(codes)
    assert 15 < images.std((1, 2, 3)).mean() < 90
    assert untrained.digest != deep.digest
    again = DeepGenerator(DeepSettings(weights="untrained", untrained_seed=1))
    assert not np.array_equal(again(codes), images)


def test_the_digest_is_of_the_weights_not_of_their_place(deep, tmp_path):
    copy = tmp_path / "copy.safetensors"
    with bundled_file() as path:
        copy.write_bytes(path.read_bytes())
    assert DeepGenerator(DeepSettings(weights=copy)).digest == deep.digest
    assert DeepGenerator(DeepSettings(code_dim=100)).digest != deep.digest


def test_the_file_is_small_enough_for_a_wheel():
    with bundled_file() as path:
        assert path.stat().st_size <= 25e6


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(SettingsError, match="not there"):
        DeepGenerator(DeepSettings(weights=tmp_path / "absent.safetensors"))
    with bundled_file() as path:
        whole, state = path.read_bytes(), load_file(path)
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        DeepGenerator(DeepSettings(weights=cut))
    other = tmp_path / "other.safetensors"
    save_file({**state, "decoder.last.bias": torch.zeros(5)}, other)
    with pytest.raises(DataError, match=r"decoder\.last\.bias"):
        DeepGenerator(DeepSettings(weights=other))
    with pytest.raises(SettingsError, match="fewer components"):
        DeepGenerator(DeepSettings(code_dim=100_000))
    with pytest.raises(DataError, match="codes have the wrong shape"):
        DeepGenerator(DeepSettings())(np.zeros((1, 3), np.float32))
