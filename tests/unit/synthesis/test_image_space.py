import numpy as np
import pytest
import torch

from synth_server.synthesis.generators.fourier import (
    OPPONENT_TO_RGB,
    FourierGenerator,
    FourierSettings,
)
from synth_server.synthesis.image_space import (
    NATURAL_MEAN,
    NATURAL_OPPONENT_CONTRAST,
    NATURAL_RMS_CONTRAST,
    FourierSpace,
    FourierSpaceSettings,
    GeneratorSpace,
    GeneratorSpaceSettings,
    PixelSpace,
    PixelSpaceSettings,
)

GENERATOR = FourierGenerator(FourierSettings(size_px=32))
SPACES = {
    "pixels": PixelSpace(PixelSpaceSettings(size_px=32)),
    "coloured pixels": PixelSpace(PixelSpaceSettings(size_px=32, colour=True)),
    "fourier": FourierSpace(FourierSpaceSettings(size_px=32)),
    "gray fourier": FourierSpace(FourierSpaceSettings(size_px=32, colour=False)),
    "odd fourier": FourierSpace(FourierSpaceSettings(size_px=33)),
    "generator": GeneratorSpace(GENERATOR),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=SPACES)
def space(request):
    return SPACES[request.param]


def test_images_are_rgb_in_range_and_differentiable(space):
    leaf = space.initial(3, seeded()).requires_grad_()
    images = space.images(leaf)
    assert images.shape == (3, 3, space.size_px, space.size_px)
    assert images.min() >= 0
    assert images.max() <= 1
    images[:, :, 3:9, 4:11].square().sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad.abs().sum() > 0


def test_starts_are_seeded_and_all_different(space):
    starts = space.initial(2, seeded(4))
    assert torch.equal(starts, space.initial(2, seeded(4)))
    assert not torch.equal(starts, space.initial(2, seeded(5)))
    assert not torch.equal(starts[0], starts[1])


def test_an_image_does_not_depend_on_its_batch(space):
    starts = space.initial(3, seeded())
    alone = torch.cat([space.images(start[None]) for start in starts])
    assert torch.allclose(space.images(starts), alone, atol=1e-6)


def test_projection_leaves_starts_alone(space):
    starts = space.initial(2, seeded())
    moved = starts.clone()
    space.project_(moved)
    assert torch.equal(starts, moved)


def test_pixel_noise_reaches_its_amplitude_and_is_clipped():
    space = PixelSpace(PixelSpaceSettings(size_px=16, initial_amplitude=0.3))
    start = space.initial(4, seeded())
    assert start.abs().amax((1, 2, 3)) == pytest.approx(0.3)
    start *= 10
    space.project_(start)
    assert start.abs().max() == 1


def test_fourier_starts_look_natural():
    space = FourierSpace(FourierSpaceSettings(size_px=64))
    images = space.images(space.initial(200, seeded()))
    unsquashed = (torch.logit(images.double()) / 4).numpy()
    centred = unsquashed - unsquashed.mean(axis=(2, 3), keepdims=True)
    assert np.sqrt((centred**2).mean()) == pytest.approx(NATURAL_RMS_CONTRAST, rel=0.05)
    opponent = np.einsum("ac,nchw->nahw", np.linalg.inv(np.array(OPPONENT_TO_RGB)), centred)
    contrast = opponent.std(axis=(0, 2, 3))
    assert contrast / contrast[0] == pytest.approx(NATURAL_OPPONENT_CONTRAST, rel=0.1)
    assert images.mean().item() == pytest.approx(NATURAL_MEAN, abs=0.02)


def test_fourier_starts_have_the_asked_slope():
    space = FourierSpace(FourierSpaceSettings(size_px=64, falloff=1.0, colour=False))
    planes = torch.logit(space.images(space.initial(200, seeded())).double())[:, 0].numpy()
    power = (np.abs(np.fft.fft2(planes)) ** 2).mean(axis=0)
    cycles = np.arange(2, 30)
    for along_axis in (power[0, cycles], power[cycles, 0]):
        slope, height = np.polyfit(np.log(cycles), np.log(along_axis), 1)
        assert slope == pytest.approx(-2, abs=0.15)
        assert height == pytest.approx(np.log(power[3, 4] * 25), abs=0.4)


def test_what_is_not_squashed_is_linear_in_its_parameters():
    space = FourierSpace(FourierSpaceSettings(size_px=32, squash=False))
    one, other = space.initial(2, seeded()).split(1)
    gray = space.images(0 * one)
    sum_of_both = space.images(one) + space.images(other) - gray
    assert torch.allclose(space.images(one + other), sum_of_both, atol=1e-5)
    assert gray.mean().item() == pytest.approx(NATURAL_MEAN)


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("size", [32, 33])
def test_any_image_can_be_written_in_fourier_space(size, squash):
    space = FourierSpace(FourierSpaceSettings(size_px=size, squash=squash))
    noise = 0.05 + 0.9 * torch.rand((2, 3, size, size), generator=seeded())
    again = space.images(space.parameters(noise))
    assert torch.allclose(again, noise, atol=1e-5)
    assert space.parameters(noise.round()).isfinite().all()


def test_written_in_luminance_an_image_loses_its_colour():
    space = FourierSpace(FourierSpaceSettings(size_px=32, colour=False, squash=False))
    image = torch.rand((1, 3, 32, 32), generator=seeded())
    written = space.images(space.parameters(image))
    assert torch.allclose(written, image.mean(dim=1, keepdim=True).expand_as(image), atol=1e-5)


def test_gray_spaces_are_gray():
    for name in ("pixels", "gray fourier"):
        images = SPACES[name].images(SPACES[name].initial(1, seeded()))
        assert torch.equal(images[:, 0], images[:, 2])


def test_long_codes_are_shortened():
    space = GeneratorSpace(GENERATOR, GeneratorSpaceSettings(max_rms=0.5))
    codes = space.initial(3, seeded())
    assert codes.square().mean(1).sqrt() == pytest.approx(0.5)
    short = codes / 2
    space.project_(short)
    assert torch.equal(short, codes / 2)


def test_a_generators_images_come_in_any_size():
    codes = torch.from_numpy(GENERATOR.sample_codes(2, np.random.default_rng(0)))
    own = GeneratorSpace(GENERATOR)
    small = GeneratorSpace(GENERATOR, GeneratorSpaceSettings(size_px=own.size_px // 2))
    assert small.digest == GENERATOR.digest
    pooled = torch.nn.functional.avg_pool2d(own.images(codes), 2)
    assert small.images(codes).shape == pooled.shape
    both = torch.stack([small.images(codes).flatten(), pooled.flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.95
    codes.requires_grad_()
    small.images(codes).sum().backward()
    assert codes.grad.abs().min(dim=1).values.max() > 0
