"""CORnet-S and the VOneNets: published weights files, layers, errors, gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from encoders.backbones import Backbone, load_backbone, published
from encoders.backbones.catalogue import catalogue
from encoders.features import FeatureExtractor, Tap
from protocols.errors import InstallationError, SettingsError
from tests.unit.encoders.published_layouts import LAYOUTS, Reference, made_up, write

FACTORIES = {
    "cornet_s": published.cornet_s,
    "vonenet:resnet50": published.vonenet_resnet50,
    "vonenet:alexnet": published.vonenet_alexnet,
    "vonenet:cornet_s": published.vonenet_cornet_s,
}
MILLIONS = {
    "cornet_s": 53.417,
    "vonenet:resnet50": 25.557 - 0.0094 - 0.0001 + 0.0328 + 1.92,
    "vonenet:alexnet": 76.662,
    "vonenet:cornet_s": 55.323,
}
"""CORnet-S is known for 53.4 M; VOneResNet50 is torchvision's ResNet-50 without its stem, with filters."""


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A published file of each network, CORnet-S in the container of 2018."""
    folder = tmp_path_factory.mktemp("published")
    paths = {name: folder / f"{name.replace(':', '_')}.pth.tar" for name in LAYOUTS}
    for name, path in paths.items():
        is_old = name == "cornet_s"
        write(path, made_up(LAYOUTS[name]), _use_new_zipfile_serialization=not is_old)
    return paths


def pixels(n: int = 1, size_px: int = 64) -> torch.Tensor:
    return torch.rand(n, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def loaded(name: str, layer: str, path: Path) -> Backbone:
    return load_backbone(name, layer, weights=str(path), device="cpu")


def untrained(name: str, layer: str, seed: int = 0) -> Backbone:
    return load_backbone(name, layer, weights="random", seed=seed, device="cpu")


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_networks_have_the_published_names_and_shapes(name):
    own = published.published_weights(FACTORIES[name].architecture())
    assert {key: tuple(tensor.shape) for key, tensor in own.items()} == LAYOUTS[name]


@pytest.mark.parametrize("name", LAYOUTS)
def test_they_have_the_known_number_of_weights(name):
    table = catalogue(name)
    assert table.parameters / 1e6 == pytest.approx(MILLIONS[name], abs=0.001)
    assert sum(row.parameters for row in table.layers) == table.parameters


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("cornet_s", ("V4.t2", "decoder")),
        ("vonenet:resnet50", ("model.layer1", "model.layer1.2", "model.layer2")),
        ("vonenet:alexnet", ("model.features.4", "model.features.5")),
        ("vonenet:cornet_s", ("model.V2.t1", "model.V4.t1")),
    ],
)
def test_features_from_a_published_file_are_those_of_the_formulas(files, name, layers):
    reference = Reference(made_up(LAYOUTS[name]))
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    if name != "cornet_s":
        mean = std = (0.5, 0.5, 0.5)
    x = (pixels(2) - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        expected = {
            "cornet_s": reference.cornet_s,
            "vonenet:resnet50": reference.resnet50,
            "vonenet:alexnet": reference.alexnet,
            "vonenet:cornet_s": lambda x: reference.areas(reference.bottleneck(x), "model."),
        }[name](x)
    for layer in layers:
        features = loaded(name, layer, files[name])(pixels(2))
        assert float(features.std()) > 1e-3
        scale = float(expected[layer].abs().max())
        torch.testing.assert_close(features, expected[layer], rtol=1e-3, atol=1e-5 * scale)


def test_v1_of_a_vonenet_is_that_of_its_file(files):
    reference = Reference(made_up(LAYOUTS["vonenet:resnet50"]))
    features = loaded("vonenet:resnet50", "vone_block", files["vonenet:resnet50"])(pixels())
    assert features.shape == (1, 512, 16, 16)
    torch.testing.assert_close(features, reference.v1(2 * pixels() - 1), rtol=1e-4, atol=1e-3)


def test_nothing_above_the_layer_is_kept(files):
    backbone = loaded("cornet_s", "V4.t1", files["cornet_s"])
    kept = {name for name, _ in backbone.network.named_modules()}
    assert "graph.V4.t1.norm3" in kept
    assert not [name for name in kept if "V4.t2" in name or "IT" in name or "decoder" in name]
    table = catalogue("cornet_s")
    below = [row for row in table.layers if row.name.startswith(("V1", "V2"))]
    v4 = [table.layer(f"V4.{part}") for part in ("conv_input", "t0", "t1")]
    weights = sum(weight.numel() for weight in backbone.parameters())
    assert weights == sum(row.parameters for row in (*below, *v4))


def test_the_last_time_step_is_the_area_and_steps_differ(files):
    last, area, first = (
        loaded("cornet_s", layer, files["cornet_s"])(pixels()) for layer in ("V2.t1", "V2", "V2.t0")
    )
    assert torch.equal(last, area)
    assert first.shape == last.shape
    assert not torch.allclose(first, last)


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("cornet_s", {"V1.relu2": (64, 4, 19), "V2.t0": (128, 8, 27), "V2.t1": (128, 8, 43),
                      "V4.t3": (256, 16, 155), "IT.t1": (512, 32, 251)}),
        ("vonenet:resnet50", {"vone_block.simple_conv_q0": (512, 4, 25), "bottleneck": (64, 4, 25),
                              "model.layer4": (2048, 32, 441)}),
        ("vonenet:alexnet", {"model.features": (256, 32, 185)}),
        ("vonenet:cornet_s", {"model.V4": (256, 16, 161)}),
    ],
)  # fmt: skip
def test_tables_tell_channels_stride_and_receptive_field(name, rows):
    table = catalogue(name)
    for layer, expected in rows.items():
        row = table.layer(layer)
        assert (row.channels, row.stride, row.receptive_field_px) == expected
        assert row.published_field_px is None
    assert table.note == FACTORIES[name].note


@pytest.mark.parametrize(
    ("name", "layer"), [("cornet_s", "V2.t1"), ("vonenet:resnet50", "model.layer1")]
)
def test_no_gradient_comes_from_outside_the_receptive_field(name, layer):
    field = catalogue(name).layer(layer).receptive_field_px
    assert field is not None
    x = pixels(size_px=128).requires_grad_()
    features = untrained(name, layer)(x)
    middle = features.shape[2] // 2
    features[0, :, middle, middle].sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(dim=(0, 1, 2)).nonzero()
    assert 0.8 * field <= int(touched.max() - touched.min()) + 1 <= field


@pytest.mark.parametrize(
    ("name", "layer"), [("cornet_s", "V4.t1"), ("vonenet:resnet50", "model.layer1")]
)
def test_frozen_batch_norms_leave_features_and_give_true_gradients(name, layer):
    extractor = FeatureExtractor(
        Tap(backbone=name, layer=layer, input_px=None, weights="random"), device="cpu"
    )
    assert not [m for m in extractor.backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    x, draw = pixels(size_px=48), torch.Generator().manual_seed(2)
    with torch.no_grad():
        expected = untrained(name, layer)(x)
    weights = torch.randn(expected.shape, generator=draw)
    x.requires_grad_()
    features = extractor(x)
    torch.testing.assert_close(features.detach(), expected, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad((features * weights).sum(), x)
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        finite = ((extractor(x + step) - extractor(x - step)) * weights).sum() / 2
    assert float((gradient * step).sum()) == pytest.approx(float(finite), rel=0.05)


def test_a_gray_image_has_no_gradient_of_nan():
    x = torch.full((1, 3, 48, 48), 0.5, requires_grad=True)
    untrained("vonenet:resnet50", "model.layer1")(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_random_weights_are_a_seeded_control_and_leave_torch_alone():
    before = torch.random.get_rng_state()
    one, same, other = (untrained("vonenet:resnet50", "vone_block", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.weights_digest == same.weights_digest != other.weights_digest
    assert torch.equal(one(pixels()), same(pixels()))
    assert not torch.allclose(one(pixels()), other(pixels()))


def test_default_looks_where_the_authors_packages_keep_their_files(files, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    places = {
        "cornet_s": ("V1", tmp_path / "checkpoints" / "cornet_s-1d3f7974.pth"),
        "vonenet:resnet50": ("bottleneck", tmp_path / ".vonenet" / "voneresnet50_e70.pth.tar"),
    }
    for name, (layer, place) in places.items():
        with pytest.raises(InstallationError) as raised:
            load_backbone(name, layer)
        for told in (str(place), "github.com/dicarlolab", "weights = '/path/to", "random"):
            assert told in str(raised.value)
        place.parent.mkdir()
        place.write_bytes(files[name].read_bytes())
        found = load_backbone(name, layer, device="cpu")
        assert found.weights_digest == loaded(name, layer, files[name]).weights_digest


def test_a_state_dict_alone_without_prefix_or_counters_will_do(files, tmp_path):
    state = {
        name.removeprefix("module."): tensor
        for name, tensor in made_up(LAYOUTS["vonenet:resnet50"]).items()
        if not name.endswith("num_batches_tracked")
    }
    extra = {f"vone_block.{div}.weight": torch.zeros(1) for div in ("div_u", "div_t")}
    torch.save(state | extra, tmp_path / "bare.pth")
    bare = loaded("vonenet:resnet50", "bottleneck", tmp_path / "bare.pth")
    whole = loaded("vonenet:resnet50", "bottleneck", files["vonenet:resnet50"])
    assert bare.weights_digest == whole.weights_digest


def test_a_file_of_another_network_is_refused_by_name(files, tmp_path):
    with pytest.raises(SettingsError) as raised:
        loaded("cornet_s", "V1", files["vonenet:cornet_s"])
    told = str(raised.value)
    assert str(files["vonenet:cornet_s"]) in told
    assert "missing: V1.conv1.weight" in told
    assert "unexpected: vone_block.simple_conv_q0.weight" in told
    assert "more" in told
    state = made_up(LAYOUTS["cornet_s"])
    state["module.V4.norm2_3.bias"] = torch.zeros(8)
    write(tmp_path / "wrong.pth", state)
    with pytest.raises(SettingsError, match=r"V4\.norm2_3\.bias \(8,\) instead of \(1024,\)"):
        loaded("cornet_s", "V1", tmp_path / "wrong.pth")
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    with pytest.raises(SettingsError, match="holds no state dict"):
        loaded("cornet_s", "V1", tmp_path / "empty.pth")


class Trap:
    """What a malicious file may hold: an object whose loading does something."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self):
        return Path.touch, (self.sprung,)


def test_objects_in_a_file_are_never_loaded(tmp_path):
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"state_dict": made_up(LAYOUTS["cornet_s"]), "flags": Trap(sprung)}, path)
    with pytest.raises(SettingsError, match=r"Python objects[^$]*torch\.save"):
        loaded("cornet_s", "V1", path)
    assert not sprung.exists()


@pytest.mark.parametrize("name", LAYOUTS)
def test_unknown_layers_list_the_known_ones(name):
    with pytest.raises(SettingsError, match=r"has no layer 'V9'[^$]*expected"):
        untrained(name, "V9")


def test_images_go_in_as_with_any_backbone(files):
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    backbone = load_backbone(
        "cornet_s", "V2", weights=str(files["cornet_s"]), input_px=64, device="cpu"
    )
    assert backbone.features(images, batch_size=2).shape == (3, 128, 8, 8)
