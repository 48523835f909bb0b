"""Robust checkpoints as the field publishes them: wrapped, prefixed, with a copy inside the attacker."""

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from encoders.backbones import load_backbone
from encoders.backbones.weights import read_state_dict
from protocols.errors import SettingsError

NETWORK, MEAN, STD = "squeezenet1_1", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return torchvision.models.squeezenet1_1(weights=None)


class InputNormalize(nn.Module):
    """MadryLab/robustness, tools/helpers.py: buffers `(3, 1, 1)`."""

    def __init__(self, mean=MEAN, std=STD):
        super().__init__()
        self.register_buffer("new_mean", torch.tensor(mean)[..., None, None])
        self.register_buffer("new_std", torch.tensor(std)[..., None, None])


class Attacker(nn.Module):
    """MadryLab/robustness, attacker.py: a second reference to network and normalisation."""

    def __init__(self, model, normalize):
        super().__init__()
        self.normalize, self.model = normalize, model


class AttackerModel(nn.Module):
    def __init__(self, model, mean=MEAN, std=STD):
        super().__init__()
        self.normalizer = InputNormalize(mean, std)
        self.model = model
        self.attacker = Attacker(model, self.normalizer)


class RobustBenchNormalization(nn.Module):
    """RobustBench, model_zoo/architectures/utils_architectures.py: `Sequential(normalize, model)`."""

    def __init__(self, mean=MEAN, std=STD):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))


def robustbench(model, **convention):
    parts = {"normalize": RobustBenchNormalization(**convention), "model": model}
    whole = nn.Module()
    for name, part in parts.items():
        whole.add_module(name, part)
    return whole


def parallel(model):
    return {f"module.{name}": tensor for name, tensor in model.state_dict().items()}


def parallel_features(model):
    """pytorch/examples, imagenet/main.py: of AlexNet and VGG the features alone are parallel."""
    state = model.state_dict()
    return {k.replace("features.", "features.module.", 1): v for k, v in state.items()}


def averaged(model):
    """torch.optim.swa_utils.AveragedModel: `module.` and a counter."""
    return torch.optim.swa_utils.AveragedModel(model).state_dict()


def smoothing(model):
    """locuslab/smoothing: `Sequential(normalisation without buffers, DataParallel(network))`."""
    return {f"1.{name}": tensor for name, tensor in parallel(model).items()}


LAYOUTS = {
    "plain": lambda net: net.state_dict(),
    "data parallel, training script": lambda net: {"state_dict": parallel(net), "epoch": 90},
    "model.": lambda net: {f"model.{k}": v for k, v in net.state_dict().items()},
    "robustness": lambda net: {"model": parallel(AttackerModel(net)), "epoch": 105},
    "robustness, not parallel": lambda net: {"model": AttackerModel(net).state_dict()},
    "robustbench": lambda net: {"state_dict": robustbench(net).state_dict()},
    "wrapped twice": lambda net: {"model": {"state_dict": parallel(net)}},
    "parallel features": lambda net: {"state_dict": parallel_features(net), "arch": "alexnet"},
    "smoothing": lambda net: {"state_dict": smoothing(net), "arch": "resnet50"},
    "a sequence with the normalisation": lambda net: nn.Sequential(
        RobustBenchNormalization(), net
    ).state_dict(),
    "net": lambda net: {"net": parallel(net), "acc": 93.1, "epoch": 199},
    "another name": lambda net: {"ema_weights": net.state_dict(), "step": torch.tensor(3)},
    "averaged": lambda net: {"state_dict": averaged(net)},
    "compiled": lambda net: {
        "model": {f"_orig_mod.module.{k}": v for k, v in net.state_dict().items()}
    },
    "weights and their average": lambda net: {
        "model": net.state_dict(),
        "model_ema": {k: torch.zeros_like(v) for k, v in net.state_dict().items()},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": []},
    },
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_network_comes_out_of_every_layout(tmp_path, layout):
    path = tmp_path / "robust.pt"
    torch.save(LAYOUTS[layout](network()), path)
    backbone = load_backbone(NETWORK, "features.5", weights=str(path), device="cpu")
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network().eval().features[:6](backbone.preprocessing(pixels))
    torch.testing.assert_close(backbone(pixels), expected)
    assert set(read_state_dict(path)) == set(network().state_dict())


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "robust.safetensors"
    save_file({f"module.{k}": v for k, v in network().state_dict().items()}, path)
    assert set(read_state_dict(path)) == set(network().state_dict())
    path.write_bytes(b"no such thing")
    with pytest.raises(SettingsError, match="cannot be read"):
        read_state_dict(path)


def test_a_copy_that_differs_is_not_what_is_read(tmp_path):
    whole = AttackerModel(network())
    whole.attacker.model = torchvision.models.squeezenet1_1(weights=None)
    path = tmp_path / "robust.pt"
    torch.save({"model": parallel(whole)}, path)
    state = read_state_dict(path)
    assert torch.equal(state["features.0.weight"], network().features[0].weight)


def test_of_several_state_dicts_none_is_guessed(tmp_path):
    path = tmp_path / "two.pt"
    torch.save({"student": network().state_dict(), "teacher": network().state_dict()}, path)
    with pytest.raises(SettingsError, match=r"'student': .*Dict"):
        read_state_dict(path)


def sequence(net, **convention):
    return nn.Sequential(RobustBenchNormalization(**convention), net)


@pytest.mark.parametrize("wrapped", [AttackerModel, robustbench, sequence])
def test_another_normalisation_of_the_input_is_refused(tmp_path, wrapped):
    path = tmp_path / "cifar.pt"
    torch.save({"model": parallel(wrapped(network(), mean=(0.4914, 0.4822, 0.4465)))}, path)
    with pytest.raises(SettingsError, match="another normalisation") as raised:
        load_backbone(NETWORK, "features.5", weights=str(path))
    assert "0.4914" in str(raised.value)
    assert "0.485" in str(raised.value)


def test_names_that_belong_to_the_network_stay(tmp_path):
    """VOneNets have a part that is called `model`."""
    state = {"vone_block.x": torch.zeros(1), "model.layer1.weight": torch.zeros(1)}
    path = tmp_path / "vone.pth.tar"
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, path)
    assert set(read_state_dict(path)) == set(state)


class Schedule:
    """Any object."""


def test_objects_stay_refused_and_other_dicts_say_what_they_hold(tmp_path):
    path = tmp_path / "objects.pt"
    torch.save({"model": network().state_dict(), "schedule": Schedule()}, path)
    with pytest.raises(SettingsError, match="Python objects"):
        read_state_dict(path)
    torch.save({"epoch": 3, "lr": 0.1}, path)
    with pytest.raises(SettingsError, match="'epoch': int"):
        read_state_dict(path)
