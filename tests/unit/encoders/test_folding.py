"""A quickened network is the same function, and its gradients are true."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from encoders.backbones import load_backbone
from encoders.backbones.folding import fold_batch_norms, quicken
from encoders.backbones.frozen import FrozenBatchNorm, freeze_batch_norms
from encoders.features import FeatureExtractor, Tap

FAMILIES = [
    ("efficientnet_lite0", "blocks.3", 0),
    ("torchvision:resnet18", "layer2", 0),
    ("torchvision:vgg11_bn", "features.10", 0),
    ("torchvision:mobilenet_v3_small", "features.4", 0),
    ("torchvision:densenet121", "features.denseblock1", 6),
    ("torchvision:shufflenet_v2_x0_5", "stage2", 0),
    ("cornet_s", "V4.t1", 0),
    ("vonenet:resnet50", "model.layer1", 0),
]
"""Network, layer, norms that follow no convolution and stay."""


def trained_like(name: str, layer: str) -> nn.Module:
    """In double precision, with norms whose statistics are not those of a fresh network."""
    network = load_backbone(name, layer, weights="random", device="cpu").network
    draw = torch.Generator().manual_seed(0)
    for norm in (part for part in network.modules() if isinstance(part, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.1, generator=draw)
        norm.running_var.uniform_(0.5, 1.5, generator=draw)
        norm.weight.data.uniform_(0.5, 1.5, generator=draw)
        norm.bias.data.normal_(0, 0.1, generator=draw)
    return network.double()


def features_and_gradient(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient is that of a sum of squares."""
    x = x.clone().requires_grad_()
    features = network(x)
    (gradient,) = torch.autograd.grad(features.square().sum(), x)
    return features.detach(), gradient


def norms_in(network: nn.Module) -> int:
    return sum(isinstance(part, FrozenBatchNorm | nn.BatchNorm2d) for part in network.modules())


def noise(n: int = 2, size_px: int = 48) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, size_px, size_px, generator=draw, dtype=torch.float64)


@pytest.mark.parametrize(("name", "layer", "n_left"), FAMILIES)
def test_features_and_gradients_are_those_of_the_unfolded_network(name, layer, n_left):
    unfolded, quick = trained_like(name, layer), trained_like(name, layer)
    freeze_batch_norms(unfolded)
    quicken(quick)
    assert norms_in(quick) == n_left < norms_in(unfolded)
    expected, found = (features_and_gradient(each, noise()) for each in (unfolded, quick))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], expected[1], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n", [1, 3])
def test_the_gradient_is_the_limit_of_differences(n):
    network = trained_like("efficientnet_lite0", "blocks.2")
    quicken(network)
    x = noise(n).contiguous(memory_format=torch.channels_last)
    _, gradient = features_and_gradient(network, x)
    step = 1e-6 * gradient / gradient.norm()
    with torch.no_grad():
        up, down = (network(moved).square().sum() for moved in (x + step, x - step))
    assert float((gradient * step).sum()) == pytest.approx(float(up - down) / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"])
def test_in_single_precision_only_last_bits_change(name):
    images = np.random.default_rng(0).integers(0, 256, (3, 80, 80, 3), dtype=np.uint8)
    before = load_backbone(name, "blocks.3", device="cpu").features(images)
    extractor = FeatureExtractor(Tap(backbone=name, layer="blocks.3", input_px=None), device="cpu")
    features = extractor.features(images)
    torch.testing.assert_close(features, before, rtol=1e-4, atol=1e-4)
    assert features.is_contiguous()


def test_nothing_that_is_left_asks_for_a_gradient():
    tap = Tap(backbone="cornet_s", layer="V4.t1", weights="random")
    weights = list(FeatureExtractor(tap, device="cpu").backbone.parameters())
    assert weights
    assert not any(weight.requires_grad for weight in weights)


class Branching(nn.Module):
    """A convolution and a norm that may have company."""

    def __init__(self, conv: type[nn.Conv2d] = nn.Conv2d) -> None:
        super().__init__()
        self.conv, self.norm = conv(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.norm.bias.data.fill_(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class SeenByAnother(Branching):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)


class UsedTwice(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.conv(x)


class WeightsReadElsewhere(Branching):
    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) * self.conv.weight.sum()


class Undecided(Branching):
    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y if x.mean() > 0.5 else self.norm(y)


class NegativeConv(nn.Conv2d):
    """Its bias does not do what a convolution's does."""

    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


@pytest.mark.parametrize(
    "make",
    [SeenByAnother, UsedTwice, WeightsReadElsewhere, Undecided, lambda: Branching(NegativeConv)],
)
def test_what_is_not_plainly_a_pair_stays_as_it_is(make):
    network = make().double().eval().requires_grad_(False)
    freeze_batch_norms(network)
    expected = network(noise())
    assert fold_batch_norms(network) == 0
    assert torch.equal(network(noise()), expected)


def test_a_plain_pair_is_folded_and_its_bias_with_it():
    network = Branching().double().eval().requires_grad_(False)
    expected = network(noise())
    freeze_batch_norms(network)
    assert fold_batch_norms(network) == 1
    assert isinstance(network.norm, nn.Identity)
    torch.testing.assert_close(network(noise()), expected)
