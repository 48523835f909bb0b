"""Attribution: against captum, complete, and about the right place; parts of images."""

import numpy as np
import pytest
import torch

from encoders.attribution import integrated_gradients, mean_colour
from encoders.backbones import pixels_of
from encoders.parts import best_part, disc, kept, random_patch, removed
from protocols.errors import DataError
from synth_server.synthesis.photographs import load_photographs
from tests.encoder_files import SITES, SIZE_PX, small_encoder

IMAGES = load_photographs("embedded", 3, SIZE_PX).images
ENCODER = small_encoder()


@pytest.mark.parametrize("n_steps", [8, 12])
def test_it_is_captums(n_steps):
    captum = pytest.importorskip("captum.attr", reason="pip install 'stimloop[test]'")
    method = captum.IntegratedGradients(ENCODER.rates)
    pixels = pixels_of(IMAGES, torch.device("cpu"))
    expected = method.attribute(
        pixels, mean_colour(pixels), target=1, n_steps=n_steps, method="gausslegendre"
    )
    found = integrated_gradients(ENCODER, IMAGES, [SITES[1]] * 3, n_steps=n_steps)
    np.testing.assert_allclose(found, expected.sum(1).detach().numpy(), atol=1e-5, rtol=1e-4)
    assert np.abs(found).max() > 1e-3


def test_the_shares_sum_to_the_whole():
    pixels = pixels_of(IMAGES, torch.device("cpu"))
    with torch.no_grad():
        whole = (ENCODER.rates(pixels) - ENCODER.rates(mean_colour(pixels))).numpy()
    strongest = np.abs(whole).argmax(axis=1)
    maps = integrated_gradients(ENCODER, IMAGES, [SITES[i] for i in strongest], n_steps=64)
    for row, column in enumerate(strongest):
        assert abs(whole[row, column]) > 0.1
        assert maps[row].sum() == pytest.approx(float(whole[row, column]), rel=0.02)


class LeftHalf:
    """A site that counts light on the left."""

    site_ids = ("left",)
    device = torch.device("cpu")

    def rates(self, pixels):
        return pixels[:, :, :, : pixels.shape[3] // 2].square().sum((1, 2, 3))[:, None]


def test_what_does_not_count_has_no_share():
    (found,) = integrated_gradients(LeftHalf(), IMAGES[:1], ["left"])
    assert np.all(found[:, SIZE_PX // 2 :] == 0)
    assert np.abs(found[:, : SIZE_PX // 2]).max() > 0


def test_sites_must_be_predicted():
    with pytest.raises(DataError, match="not predicted: nobody"):
        integrated_gradients(ENCODER, IMAGES[:1], ["nobody"])
    with pytest.raises(DataError, match="needs a site"):
        integrated_gradients(ENCODER, IMAGES, [SITES[0]])


def test_parts_have_their_share_and_soft_edges():
    attribution = np.zeros((64, 64))
    attribution[10:30, 40:60] = 1.0
    random = np.random.default_rng(0)
    parts = {
        "best": best_part(attribution, 0.1),
        "disc": disc((20.0, 44.0), (64, 64), 0.1),
        "corner": disc((0.0, 0.0), (64, 64), 0.1),
        "random": random_patch((64, 64), 0.1, random),
    }
    for mask in parts.values():
        assert mask.mean() == pytest.approx(0.1, abs=0.02)
        assert mask.max() <= 1
        assert np.abs(np.diff(mask, axis=0)).max() < 0.6
    assert parts["best"][15:25, 45:55].mean() > 0.9
    assert parts["disc"][44, 20] == pytest.approx(1, abs=0.02)
    assert parts["corner"][0, 0] == pytest.approx(1, abs=0.05)


def test_what_is_not_kept_is_the_mean_colour():
    mask = np.zeros((1, SIZE_PX, SIZE_PX))
    mask[0, :8, :8] = 1
    image = IMAGES[:1]
    mean = np.rint(image.mean(axis=(1, 2)))[0]
    assert np.array_equal(kept(image, mask)[0, :8, :8], image[0, :8, :8])
    assert np.array_equal(kept(image, mask)[0, 20, 20], mean)
    assert np.array_equal(removed(image, mask)[0, 20, 20], image[0, 20, 20])
    assert np.array_equal(removed(image, mask)[0, 3, 3], mean)
    with pytest.raises(DataError, match="share of the image"):
        best_part(np.zeros((8, 8)), 1.0)
    with pytest.raises(DataError, match="needs a centre"):
        disc((float("nan"), 1.0), (8, 8), 0.1)
