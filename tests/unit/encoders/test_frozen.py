import numpy as np
import pytest
import torch
from torch import nn

from encoders.backbones import load_backbone
from encoders.backbones.frozen import FrozenBatchNorm, freeze_batch_norms
from encoders.features import FeatureExtractor, Tap


def test_it_is_the_batch_norm_that_it_replaces():
    draw = torch.Generator().manual_seed(0)
    norm = nn.BatchNorm2d(5, eps=1e-3).eval()
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        tensor.data = torch.randn(5, generator=draw)
    norm.running_var = torch.rand(5, generator=draw) + 0.1
    features = torch.randn(2, 5, 3, 4, generator=draw)
    torch.testing.assert_close(FrozenBatchNorm(norm)(features), norm(features))


def test_none_is_left_in_what_an_encoder_climbs():
    before = load_backbone("torchvision:densenet121", "features.norm0", weights="random")
    assert [m for m in before.modules() if isinstance(m, nn.BatchNorm2d)]
    tap = Tap(backbone="torchvision:densenet121", layer="features.denseblock1", weights="random")
    extractor = FeatureExtractor(tap)
    assert not [m for m in extractor.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in extractor.backbone.modules() if isinstance(m, FrozenBatchNorm)]


def test_features_stay_what_they_were():
    backbone = load_backbone("efficientnet_lite0", "blocks.2", device="cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    before = backbone.features(images)
    freeze_batch_norms(backbone.network)
    torch.testing.assert_close(backbone.features(images), before, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2])
def test_gradients_are_true_for_an_image_alone_and_in_a_batch(n):
    """In the memory layout that gave torch's own batch norm away."""
    extractor = FeatureExtractor(Tap(backbone="efficientnet_lite0", layer="blocks.2"))
    draw = torch.Generator().manual_seed(1)
    pixels = torch.rand(n, 3, 64, 64, generator=draw).to(memory_format=torch.channels_last)
    weights: torch.Tensor | None = None

    def value(x: torch.Tensor) -> torch.Tensor:
        nonlocal weights
        features = extractor.backbone(x)
        if weights is None:
            weights = torch.randn(features.shape[1:], generator=draw)
        return torch.einsum("nchw,chw->n", features, weights).sum()

    x = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(x), x)
    direction = torch.randn(pixels.shape, generator=draw)
    step = 1e-3 * direction / direction.norm() * pixels.numel() ** 0.5
    with torch.no_grad():
        finite = (value(pixels + step) - value(pixels - step)) / 2
    assert float((gradient * step).sum()) == pytest.approx(float(finite), rel=0.1, abs=0.02)
