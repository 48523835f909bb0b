import numpy as np
import pytest
import torch

from protocols.errors import DataError, SettingsError
from protocols.seeds import random_stream
from synth_server.synthesis.generators.deepsim import DeePSiMGenerator, DeePSiMSettings
from synth_server.synthesis.generators.deepsim_weights import LAYOUT_B


@pytest.fixture(scope="module")
def random_generator():
    return DeePSiMGenerator(DeePSiMSettings(weights="random"))


@pytest.fixture(scope="module")
def state(random_generator):
    return random_generator._network.state_dict()


@pytest.fixture(scope="module")
def codes(random_generator):
    return random_generator.sample_codes(2, random_stream(0, "codes"))


def without_zero_biases(state):
    return {k: v for k, v in state.items() if not (k.endswith(".bias") and "conv" in k)}


def layout_a(state):
    return without_zero_biases(state)


def layout_b(state):
    to_b = {a: b for b, a in LAYOUT_B.items()}
    renamed = {}
    for key, value in state.items():
        layer, kind = key.split(".")
        nested = ".1." if layer in ("fc5", "tconv4_0") else "."
        renamed[f"{to_b[layer]}{nested}{kind}"] = value
    return renamed


def test_it_is_the_published_network(random_generator, state):
    assert len(layout_a(state)) == 15
    assert sum(v.numel() for v in layout_a(state).values()) == pytest.approx(56.1e6, rel=0.01)
    assert random_generator.code_dim == 4096


def test_images_have_contrast_and_follow_the_code(random_generator, codes):
    images = random_generator(codes)
    assert images.shape == (2, 256, 256, 3)
    assert images.std() > 10
    assert np.abs(images[0].astype(int) - images[1]).mean() > 3


def test_decode_turns_bgr_less_its_mean_into_rgb(random_generator, codes, monkeypatch):
    raw = torch.zeros(1, 3, 256, 256)
    raw[:, 0] = 300.0
    monkeypatch.setattr(random_generator, "_network", lambda _: raw)
    rgb = random_generator.decode(torch.zeros(1, 4096))[0, :, 0, 0]
    assert rgb.tolist() == pytest.approx([123 / 255, 117 / 255, 1.0])


@pytest.mark.parametrize("layout", [layout_a, layout_b])
def test_both_public_layouts_draw_the_same(random_generator, state, codes, layout, tmp_path):
    path = tmp_path / "generator.pt"
    torch.save(layout(state), path)
    loaded = DeePSiMGenerator(DeePSiMSettings(weights=path))
    path.unlink()
    assert loaded.digest == random_generator.digest
    assert np.array_equal(loaded(codes[:1]), random_generator(codes[:1]))


def test_safetensors_draw_the_same(random_generator, state, codes, tmp_path):
    writer = pytest.importorskip("safetensors.torch")
    path = tmp_path / "generator.safetensors"
    writer.save_file(layout_a(state), path)
    loaded = DeePSiMGenerator(DeePSiMSettings(weights=path))
    path.unlink()
    assert np.array_equal(loaded(codes[:1]), random_generator(codes[:1]))


def test_a_missing_file_says_where_to_look(tmp_path):
    with pytest.raises(SettingsError, match="public copies"):
        DeePSiMGenerator(DeePSiMSettings(weights=tmp_path / "nowhere.pt"))


def test_wrong_keys_are_listed(tmp_path):
    path = tmp_path / "other.pt"
    torch.save({"fc7.weight": torch.zeros(2, 2), "extra.bias": torch.zeros(1)}, path)
    with pytest.raises(DataError) as raised:
        DeePSiMGenerator(DeePSiMSettings(weights=path))
    for part in (
        "fc5.bias",
        "unexpected: extra.bias",
        r"fc7.weight (2, 2) instead of (4096, 4096)",
    ):
        assert part in str(raised.value)


def test_a_pickled_object_is_not_run(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(DeePSiMSettings(weights="random"), path)
    with pytest.raises(DataError, match=r"state_dict\(\)"):
        DeePSiMGenerator(DeePSiMSettings(weights=path))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04 cut off"])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(DataError):
        DeePSiMGenerator(DeePSiMSettings(weights=path))
