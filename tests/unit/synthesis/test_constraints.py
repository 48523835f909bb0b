import numpy as np
import pytest
import torch

from protocols.errors import DataError, SettingsError
from synth_server.synthesis.constraints import (
    ApertureSettings,
    Constraints,
    ConstraintSettings,
    NaturalDistance,
    TransformSettings,
    aperture_mask,
    draw_transforms,
    total_variation,
    transformed,
)
from synth_server.synthesis.image_space import FourierSpace, FourierSpaceSettings
from synth_server.synthesis.photographs import load_photographs

SIZE = 48
NATURAL = {"mean": 0.44, "rms_contrast": 0.22}


def streams(n, seed=0):
    return [torch.Generator().manual_seed(seed + i) for i in range(n)]


@pytest.fixture(scope="module")
def noise():
    """Natural-looking, 1/f, and of contrasts from faint to mostly clipped."""
    space = FourierSpace(FourierSpaceSettings(size_px=SIZE))
    images = space.images(space.initial(8, streams(1)[0]))
    gain = torch.logspace(-1.5, 1, 8)[:, None, None, None]
    return (0.5 + gain * (images - 0.5)).clamp(-1, 2)


def moments(levels, weights=None):
    values = levels / 255
    weights = np.ones((SIZE, SIZE)) if weights is None else weights
    weights = weights / (3 * weights.sum())
    mean = np.einsum("nhwc,hw->n", values, weights)
    return mean, np.sqrt(
        np.einsum("nhwc,hw->n", (values - mean[:, None, None, None]) ** 2, weights)
    )


@pytest.mark.parametrize("mean", [0.3, 0.44, 0.6])
@pytest.mark.parametrize("rms", [0.02, 0.1, 0.22, 0.35])
@pytest.mark.parametrize("grayscale", [False, True])
def test_mean_and_contrast_hold_within_one_percent(noise, mean, rms, grayscale):
    settings = ConstraintSettings(mean=mean, rms_contrast=rms, grayscale=grayscale)
    many_valued = 7 if rms < 0.1 else 8  # the last is nearly binary: 5 gray levels round by 2 %
    levels = Constraints(settings, SIZE).levels(noise[:many_valued]).numpy()
    assert levels.dtype == np.uint8
    means, contrasts = moments(levels)
    assert means == pytest.approx(mean, rel=0.01)
    assert contrasts == pytest.approx(rms, rel=0.01)
    assert (levels[..., 0] == levels[..., 2]).all() == grayscale


def test_behind_an_aperture_they_hold_for_what_is_seen(noise):
    aperture = ApertureSettings(diameter=0.7, edge=0.2, background=0.5)
    levels = Constraints(ConstraintSettings(**NATURAL, aperture=aperture), SIZE).levels(noise)
    mask = aperture_mask(aperture, SIZE).numpy()
    means, contrasts = moments(levels.numpy(), mask)
    assert means == pytest.approx(0.44, rel=0.01)
    assert contrasts == pytest.approx(0.22, rel=0.01)
    assert (levels[:, mask == 0] == 128).all()
    assert 0.15 < (mask == 1).mean() < np.pi * 0.7**2 / 4 < (mask > 0).mean()


@pytest.mark.parametrize("free", ["mean", "rms_contrast"])
def test_what_is_not_asked_stays(noise, free):
    images = 0.5 + 0.2 * (noise[3:6] - 0.5)
    asked = {name: value for name, value in NATURAL.items() if name != free}
    levels = Constraints(ConstraintSettings(**asked), SIZE).levels(images).numpy()
    own = moments(images.permute(0, 2, 3, 1).numpy() * 255)
    place = 0 if free == "mean" else 1
    assert moments(levels)[place] == pytest.approx(own[place], rel=0.01)
    assert moments(levels)[1 - place] == pytest.approx(next(iter(asked.values())), rel=0.01)


def test_a_mean_is_free_within_its_range_and_is_brought_back_to_it(noise):
    settings = ConstraintSettings(mean_within=(0.3, 0.6), rms_contrast=0.15)
    for own, wanted in ((-0.2, 0.3), (0.4, 0.4), (0.9, 0.6)):
        centred = noise - noise.mean((1, 2, 3), keepdim=True) + own
        means, contrasts = moments(Constraints(settings, SIZE).levels(centred).numpy())
        assert means == pytest.approx(wanted, rel=0.02)
        assert contrasts == pytest.approx(0.15, rel=0.02)


@pytest.mark.parametrize("own", [0.2, 0.5])
def test_an_image_beyond_the_range_of_means_finds_back(noise, own):
    images = (noise[3:4] - noise[3:4].mean() + own).requires_grad_()
    settings = ConstraintSettings(mean_within=(0.3, 0.6), rms_contrast=0.1)
    Constraints(settings, SIZE)(images).mean().backward()
    assert images.grad.sum().item() == pytest.approx(1, rel=0.05)


def test_no_constraint_only_clips(noise):
    levels = Constraints(ConstraintSettings(), SIZE).levels(noise)
    expected = (noise.clamp(0, 1) * 255).round().permute(0, 2, 3, 1)
    assert torch.equal(levels.float(), expected)


def test_a_row_does_not_depend_on_its_batch(noise):
    constraints = Constraints(ConstraintSettings(**NATURAL), SIZE)
    alone = torch.cat([constraints(image[None]) for image in noise])
    assert torch.allclose(constraints(noise), alone, atol=1e-6)


def test_no_gradient_along_mean_and_contrast_unless_they_are_free(noise):
    def slope(settings, change):
        parameter = torch.tensor(1.0, requires_grad=True)
        images = change(0.5 + 0.1 * (noise[3:4] - 0.5), parameter)
        Constraints(settings, SIZE)(images)[0, 0, 5, 7].backward()
        return abs(parameter.grad.item())

    def brighter(images, parameter):
        return images + parameter - 1

    def stronger(images, parameter):
        return images.mean() + parameter * (images - images.mean())

    for change in (brighter, stronger):
        assert slope(ConstraintSettings(**NATURAL), change) < 1e-4
    assert slope(ConstraintSettings(rms_contrast=0.1), brighter) == pytest.approx(1, rel=1e-3)
    assert slope(ConstraintSettings(mean=0.5), stronger) > 1e-4


def test_blank_images_stay_finite():
    constraints = Constraints(ConstraintSettings(**NATURAL), SIZE)
    blank = torch.full((1, 3, SIZE, SIZE), 0.3, requires_grad=True)
    result = constraints(blank)
    result.sum().backward()
    assert torch.isfinite(result).all()
    assert torch.isfinite(blank.grad).all()


@pytest.mark.parametrize(
    "wrong", [{"mean": 0.4}, {"mean_within": (0.6, 0.3)}, {"rms_contrast": 0.45}]
)
def test_impossible_ranges_of_means_are_refused(wrong):
    with pytest.raises(ValueError, match="mean"):
        ConstraintSettings(**{"mean_within": (0.3, 0.6), **wrong})


def test_impossible_constraints_are_refused():
    with pytest.raises(ValueError, match=r"a mean of 0\.1 allows an RMS contrast of 0\.285"):
        ConstraintSettings(mean=0.1, rms_contrast=0.3)
    with pytest.raises(SettingsError, match="shows nothing"):
        Constraints(ConstraintSettings(aperture=ApertureSettings(diameter=0.001, edge=0.001)), SIZE)


def test_total_variation_is_that_of_the_study(noise):
    x = 2 * noise.numpy() - 1
    halves = [0.5 * (np.diff(x, axis=axis) ** 2).sum((1, 2, 3)) for axis in (2, 3)]
    assert total_variation(noise).numpy() == pytest.approx(sum(halves) / x[0].size, rel=1e-4)


@pytest.fixture(scope="module")
def natural():
    return load_photographs("embedded", 24, SIZE).images


def as_pixels(images):
    return torch.from_numpy(images / np.float32(255)).permute(0, 3, 1, 2)


def test_natural_images_are_natural_and_noise_is_not(natural, noise):
    distance = NaturalDistance(natural)
    photographs = distance(as_pixels(natural))
    white = torch.rand((4, 3, SIZE, SIZE), generator=streams(1)[0])
    assert photographs.mean().item() == pytest.approx(1, abs=1e-3)
    assert distance(white).min() > photographs.max()
    matched = Constraints(ConstraintSettings(**NATURAL), SIZE)(noise)
    assert distance(matched)[:5].max() < photographs.max()


def test_the_distance_can_be_descended(natural):
    distance = NaturalDistance(natural)
    leaf = torch.rand((2, 3, SIZE, SIZE), generator=streams(1)[0]).requires_grad_()
    before = distance(leaf)
    optimizer = torch.optim.Adam([leaf], lr=0.02)
    for _ in range(30):
        optimizer.zero_grad()
        distance(leaf).sum().backward()
        assert torch.isfinite(leaf.grad).all()
        optimizer.step()
    assert (distance(leaf) < 0.6 * before).all()


def test_natural_images_of_another_size_are_refused(natural):
    with pytest.raises(DataError, match="differ in size"):
        NaturalDistance(natural)(torch.zeros(1, 3, 32, 32))


def test_draws_are_within_reach_and_each_from_its_own_stream():
    settings = TransformSettings(jitter_px=5, scale=0.1, rotate_deg=10)
    rows = draw_transforms(settings, streams(400))
    reach = torch.tensor([5, 5, 0.1, np.deg2rad(10)])
    offsets = (rows - torch.tensor([0, 0, 1, 0])).abs()
    assert (offsets <= reach).all()
    assert (offsets.amax(0) > 0.9 * reach).all()
    assert torch.equal(rows[7:9], draw_transforms(settings, streams(2, seed=7)))


def test_jitter_alone_rolls(noise):
    settings = TransformSettings(jitter_px=19)
    moves = torch.tensor([[3.0, -2.0, 1.0, 0.0]])
    assert torch.equal(
        transformed(noise[:1], moves, settings), noise[:1].roll((-2, 3), dims=(2, 3))
    )
    assert transformed(noise, moves, TransformSettings()) is noise


def test_shift_scale_and_turn_move_as_they_say():
    y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    spot = torch.exp(-((x - 34.0) ** 2 + (y - 23.5) ** 2) / 8)[None, None]  # 10.5 right of centre

    def centre(right, down, scale, degrees):
        moves = torch.tensor([[right, down, scale, np.deg2rad(degrees)]], dtype=torch.float32)
        moved = transformed(spot, moves, TransformSettings(scale=0.5, rotate_deg=90))[0, 0]
        weights = moved / moved.sum()
        return (weights * x).sum().item() - 23.5, (weights * y).sum().item() - 23.5

    assert centre(0, 0, 1, 0) == pytest.approx((10.5, 0), abs=0.05)
    assert centre(4, -3, 1, 0) == pytest.approx((14.5, -3), abs=0.05)
    assert centre(0, 0, 1.2, 0) == pytest.approx((12.6, 0), abs=0.05)
    assert centre(0, 0, 1, 90) == pytest.approx((0, -10.5), abs=0.05)
