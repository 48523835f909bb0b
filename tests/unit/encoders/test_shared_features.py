"""Several taps in one pass: the same features and gradients, and nothing computed twice."""

import pytest
import torch
from torch import Tensor, nn

from encoders.backbones import Backbone, Preprocessing
from encoders.encoder import Scaling, TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureExtractor, Tap
from encoders.shared_features import SharedFeatures
from encoders.two_stage import Readout
from protocols.errors import PluginError

EARLY = Tap(layer="blocks.1", input_px=32, weights="random")
LATE = EARLY.model_copy(update={"layer": "blocks.2"})
LARGER = EARLY.model_copy(update={"input_px": 48})
GRAY = EARLY.model_copy(update={"grayscale": True})
SEEDED = EARLY.model_copy(update={"seed": 1})
RESNET = Tap(backbone="resnet18", layer="layer1", input_px=32, weights="random")


def extractors(*taps: Tap) -> list[FeatureExtractor]:
    return [FeatureExtractor(tap, device="cpu") for tap in taps]


def pixels(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 40, 40, generator=torch.Generator().manual_seed(0))


def calls_of_first_layers(each: list[FeatureExtractor]) -> list[int]:
    """A list that grows by one whenever a network's first convolution is computed."""
    calls: list[int] = []
    for number, extractor in enumerate(each):
        first = next(m for m in extractor.modules() if isinstance(m, nn.Conv2d))
        first.register_forward_hook(lambda *_, number=number: calls.append(number))
    return calls


@pytest.mark.parametrize(
    ("taps", "n_passes"),
    [
        ((EARLY, LATE), 1),
        ((LATE, EARLY, LATE), 1),
        ((EARLY, LATE, LARGER), 2),
        ((EARLY, GRAY), 2),
        ((EARLY, SEEDED), 2),
        ((RESNET, EARLY, RESNET), 2),
    ],
)
def test_each_gets_what_it_would_compute_alone(taps, n_passes):
    each = extractors(*taps)
    x = pixels().requires_grad_()
    expected = [extractor(x) for extractor in each]
    (gradient,) = torch.autograd.grad(sum(f.square().sum() for f in expected), x)
    calls = calls_of_first_layers(each)
    found = SharedFeatures(each)(x)
    assert len(calls) == n_passes
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    (shared,) = torch.autograd.grad(sum(f.square().sum() for f in found), x)
    assert float((shared - gradient).norm() / gradient.norm()) < 1e-4


def test_a_layer_past_a_pooling_is_a_map_of_one_place():
    each = extractors(EARLY.model_copy(update={"layer": "classifier"}), EARLY)
    assert [tuple(f.shape[1:]) for f in SharedFeatures(each)(pixels())] == [
        (1000, 1, 1),
        (24, 8, 8),
    ]


def encoder_at(tap: Tap) -> TwoStageEncoder:
    (extractor,) = extractors(tap)
    channels, height, width = extractor(pixels(1)).shape[1:]
    draw = torch.Generator().manual_seed(channels)
    readout = Readout(
        torch.randn(2, height, width, generator=draw),
        torch.randn(2, channels, generator=draw),
        torch.zeros(2),
    )
    unscaled = Scaling(torch.zeros(channels), torch.ones(channels))
    rates = Scaling(torch.zeros(2), torch.ones(2))
    return TwoStageEncoder(extractor, unscaled, readout, rates, ("a", "b"))


class Constant:
    """An encoder of another kind."""

    site_ids = ("a", "b")
    device = torch.device("cpu")

    def rates(self, pixels: Tensor) -> Tensor:
        return torch.full((len(pixels), 2), 3.0)

    def predict(self, images, store=None):
        raise NotImplementedError


def test_an_ensemble_predicts_what_its_members_do():
    members = [encoder_at(LATE), Constant(), encoder_at(EARLY), encoder_at(LARGER)]
    plain = Scaling(torch.zeros(2), torch.ones(2))
    scales = [plain._replace(scale=plain.scale * (n + 1)) for n in range(len(members))]
    ensemble = EnsembleEncoder(members, scales, plain)
    alone = torch.stack([m.rates(pixels()) / (n + 1) for n, m in enumerate(members)]).mean(0)
    calls = calls_of_first_layers([m.extractor for m in members if not isinstance(m, Constant)])
    torch.testing.assert_close(ensemble.rates(pixels()), alone)
    assert len(calls) == 2


def test_only_a_sequence_can_be_a_chain():
    with pytest.raises(PluginError, match="only a sequence can be a chain"):
        Backbone(
            name="ours",
            layer="all",
            network=nn.Conv2d(3, 3, 1),
            preprocessing=Preprocessing(mean=(0, 0, 0), std=(1, 1, 1)),
            weights_digest="",
            device=torch.device("cpu"),
            is_chain=True,
        )
