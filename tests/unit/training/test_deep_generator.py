import numpy as np
import pytest
import torch

from encoders.backbones.one_thread import one_thread
from protocols.seeds import random_stream
from synth_server.synthesis.generators.decoder import BACKBONE, IMAGE_SIZE_PX, LAYER
from synth_server.synthesis.generators.deep import DeepGenerator, DeepSettings
from synth_server.synthesis.generators.deep_weights import write_weights
from synth_server.training.deep_generator.adversary import (
    discrimination_loss,
    persuasion_loss,
)
from synth_server.training.deep_generator.training import Training, TrainingSettings
from synth_server.training.features import FeatureStack

SETTINGS = TrainingSettings(
    n_steps=3, n_sharp=1, n_small=1, n_prior=1, code_dim=24, n_whitening=64, n_without_adversary=1
)


@pytest.fixture(scope="module")
def trained(photographs, tmp_path_factory):
    """A training of three steps, and where it was saved after two."""
    path = tmp_path_factory.mktemp("training") / "checkpoint.pt"
    training = Training(SETTINGS, photographs)
    training.prepare()
    losses = []

    def told(n_done, step_losses):
        losses.append(step_losses)
        if n_done == 2:
            training.save(path)

    with one_thread():
        training.run(told)
    return training, path, losses


def test_it_learns_all_losses_finite_and_weights_moved(trained):
    training, _, losses = trained
    assert len(losses) == 3
    assert all(np.isfinite(list(each.values())).all() for each in losses)
    start = Training(SETTINGS, training._photographs).decoder
    moved = [
        (now - then).abs().max() > 0
        for now, then in zip(training.decoder.parameters(), start.parameters(), strict=True)
    ]
    assert all(moved)


def test_taken_up_again_it_ends_at_the_same_weights(trained, photographs):
    training, path, losses = trained
    again = Training(SETTINGS, photographs)
    again.load(path)
    assert again.n_done == 2
    later = []
    with one_thread():
        again.run(lambda _, step_losses: later.append(step_losses))
    assert later == losses[2:]
    for one, other in zip(again.averaged.parameters(), training.averaged.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_basis_whitens_photographs(trained, photographs):
    basis = trained[0].basis
    images = photographs.batch(48, 48, random_stream(3, "other photographs"))
    with torch.no_grad():
        codes = basis.codes(FeatureStack(BACKBONE, [LAYER])(images)[LAYER])
    assert torch.allclose(
        basis.directions @ basis.directions.T, torch.eye(basis.code_dim), atol=1e-4
    )
    spread = codes[:, :8].std(0)
    assert ((spread > 0.4) & (spread < 2.5)).all()
    assert (basis.deviations[:-1] >= basis.deviations[1:]).all()


def test_what_it_writes_is_a_generator(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, trained[0].basis, trained[0].averaged)
    generator = DeepGenerator(DeepSettings(weights=path, code_dim=16))
    assert generator(generator.sample_codes(2, random_stream(0, "x"))).shape == (2, 128, 128, 3)


def test_batches_are_sharp_crops_then_small_ones(photographs):
    random = random_stream(0, "batch")
    images = photographs.batch(3, 2, random)
    assert images.shape == (5, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX)
    assert images.min() >= 0
    assert images.max() <= 1
    again = photographs.batch(3, 2, random_stream(0, "batch"))
    assert torch.equal(images, again)


def test_the_adversary_gains_where_it_tells_them_apart():
    real, made = [torch.full((2, 1, 4, 4), 2.0)], [torch.full((2, 1, 4, 4), -2.0)]
    assert discrimination_loss(real, made) == 0
    assert discrimination_loss(made, real) == 6
    assert persuasion_loss(real) == -2
