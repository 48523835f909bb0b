import numpy as np
import pytest
import torch

from encoders.backbones import load_backbone
from encoders.backbones.one_thread import one_thread
from encoders.backbones.weights import write_half_precision
from synth_server.synthesis.photographs import load_photographs
from synth_server.training.robust_networks.distillation import Distillation, DistillationSettings
from synth_server.training.robust_networks.disturbance import worst_disturbance

SETTINGS = DistillationSettings(
    layers=("blocks.0", "blocks.1"), n_steps=16, n_sharp=2, n_small=2, sizes_px=(48,), rate=0.01
)


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    """A training of 16 steps, and where it was saved after eight."""
    path = tmp_path_factory.mktemp("training") / "checkpoint.pt"
    training = Distillation(SETTINGS, photographs)
    losses = []

    def told(n_done, loss):
        losses.append(loss)
        if n_done == 8:
            training.save(path)

    with one_thread():
        training.run(told)
    return training, path, losses


def test_the_worst_disturbance_does_less_than_before(trained, photographs):
    found = trained[0].damages(photographs, 8)
    assert 0 < found.undisturbed < found.worst < 0.9 * found.worst_before_training


def test_taken_up_again_it_ends_at_the_same_weights(trained, photographs):
    training, path, losses = trained
    again = Distillation(SETTINGS, photographs)
    again.load(path)
    assert again.n_done == 8
    later = []
    with one_thread():
        again.run(lambda _, loss: later.append(loss))
    assert later == losses[8:]
    for one, other in zip(again.student.parameters(), training.student.parameters(), strict=True):
        assert torch.equal(one, other)


def test_before_training_an_undisturbed_image_is_not_damaged(photographs):
    found = Distillation(SETTINGS, photographs).damages(photographs, 8)
    assert found.undisturbed == 0
    assert found.worst == pytest.approx(found.worst_before_training, rel=0.2)


def test_what_it_writes_fills_the_same_network(trained, tmp_path):
    from safetensors.torch import load_file

    network = trained[0].student.backbone.network
    write_half_precision(path := tmp_path / "trunk.safetensors", network)
    state = load_file(path)
    assert state.keys() == network.state_dict().keys()
    for name, value in network.state_dict().items():
        assert torch.allclose(state[name].float(), value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("radius", [0.3, 2.0])
def test_a_disturbance_goes_uphill_to_the_edge_of_its_ball(radius):
    """The damage is a plane: the worst place is known."""
    random = torch.Generator().manual_seed(0)
    slope = torch.randn(3, 5, 5, generator=random)
    images = torch.rand(4, 3, 5, 5, generator=random)
    found = worst_disturbance(
        lambda x: (x * slope).flatten(1).sum(1), images, radius, random, n_steps=20
    )
    assert torch.allclose(found, (radius * slope / slope.norm()).expand(4, -1, -1, -1), atol=1e-3)


def test_a_disturbance_begins_within_its_ball():
    images = torch.zeros(50, 3, 4, 4)
    found = worst_disturbance(
        lambda x: x.flatten(1).sum(1), images, 1.0, torch.Generator().manual_seed(1), n_steps=0
    )
    lengths = found.flatten(1).norm(dim=1).numpy()
    assert lengths.max() <= 1
    assert np.ptp(lengths) > 0.5


def test_robust_and_pretrained_networks_see_photographs_alike_and_disturbances_otherwise():
    images = load_photographs("embedded", 8, 96).images
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    plain, robust = (
        load_backbone("efficientnet_lite0", "blocks.3", weights=weights, device="cpu")
        for weights in ("default", "robust")
    )
    with torch.no_grad():
        meant = plain(pixels)
        spread = meant.std((0, 2, 3), keepdim=True)

    def damage(network):
        def of(x):
            return ((network(x) - meant) / spread).square().mean((1, 2, 3))

        return of

    random = torch.Generator().manual_seed(0)
    moved = {
        name: pixels + worst_disturbance(damage(network), pixels, 3.0, random, n_steps=5)
        for name, network in (("plain", plain), ("robust", robust))
    }
    with torch.no_grad():
        assert damage(robust)(pixels).mean() < 0.5
        assert damage(robust)(moved["robust"]).mean() < 0.5 * damage(plain)(moved["plain"]).mean()
