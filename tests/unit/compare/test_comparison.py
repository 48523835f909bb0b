"""Networks against a recording whose truth is known: sites that are mixtures of a layer's units."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from encoders.backbones.choice import NetworkChoice, network_choice
from encoders.backbones.one_thread import one_thread
from encoders.features import FeatureStore, Tap
from encoders.recording import Recording
from protocols.errors import DataError, SettingsError
from synth_server.cli import app
from synth_server.compare.comparison import compare
from synth_server.compare.documents import Comparison
from synth_server.compare.figure import draw_comparison
from synth_server.compare.layer_scores import CompareSettings
from synth_server.compare.networks import layers_of, patterns
from synth_server.synthesis.photographs import load_photographs

SIZE_PX, N_IMAGES, N_SITES = 48, 80, 40
LITE = NetworkChoice("efficientnet_lite0", "random")


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Random mixtures of all units of blocks.1, with noise, four trials."""
    images = load_photographs("embedded", N_IMAGES, SIZE_PX).images
    ((_, units),) = patterns(LITE, layers_of(LITE, SIZE_PX, ("blocks.1",)), images)
    random = np.random.default_rng(0)
    mixed = units @ random.normal(size=(units.shape[1], N_SITES))
    rates = 20 + 5 * mixed / mixed.std(0)
    trials = rates.T[:, :, None] + random.normal(scale=2, size=(N_SITES, N_IMAGES, 4))
    return Recording.of(images, trials, [f"s{i}" for i in range(N_SITES)])


@pytest.fixture(scope="module")
def found(recording) -> Comparison:
    return compare(
        recording,
        [LITE, NetworkChoice("efficientnet_lite0")],
        CompareSettings(n_splits=3),
        layers=("stem", "blocks.1", "blocks.5"),
    )


def test_the_layer_that_the_sites_are_of_is_found(found):
    truth = found.networks[0]
    by_layer = {each.layer: each for each in truth.layers}
    assert {choice.layer for choice in truth.best.values()} == {"blocks.1"}
    for other in ("stem", "blocks.5"):
        for measure in ("r_noise_corrected", "cka", "rsa"):
            assert getattr(by_layer["blocks.1"], measure) > getattr(by_layer[other], measure)
    assert truth.best["r_noise_corrected"].scored == pytest.approx(
        truth.best["r_noise_corrected"].chosen_on, abs=0.4
    )


def test_chance_is_about_zero_and_ceilings_are_shown_not_divided_by(found):
    for network in found.networks:
        for layer in network.layers:
            assert abs(layer.shuffled["cka"].mean) < 0.05
            assert abs(layer.shuffled["rsa"].mean) < 0.05
            assert layer.shuffled["r_noise_corrected"].high < 0.45
            assert layer.cka < found.ceilings["cka"].high
    assert 0.5 < found.ceilings["cka"].mean < 1
    assert set(found.ceilings) == {"cka", "rsa", "rsa_pearson"}


def test_the_two_predictivities_go_by_their_names(found):
    layer = found.networks[0].layers[1]
    assert layer.brain_score == pytest.approx(layer.r**2 / found.reliability)
    assert layer.r_noise_corrected > layer.r
    assert "Brain-Score" in found.measures["brain_score"]


def test_the_document_is_the_same_again_and_round_trips(found, recording):
    again = compare(recording, [LITE], CompareSettings(n_splits=3), layers=("blocks.1",))
    assert again.networks[0].layers[0] == found.networks[0].layers[1]
    assert Comparison.model_validate(json.loads(found.model_dump_json())) == found


def test_the_figure_is_drawn(found, tmp_path):
    draw_comparison(found, tmp_path / "comparison")
    assert (tmp_path / "comparison.png").stat().st_size > 20_000
    drawn = (tmp_path / "comparison.svg").read_text("utf-8")
    for text in ("CKA, debiased", "efficientnet_lite0 (random)", "images shuffled", "blocks.5"):
        assert text in drawn


def test_other_readouts_and_recordings_without_trials(recording):
    once = Recording.of(recording.images, recording.means.T, recording.site_ids)
    for readout in ("pls", "two_stage"):
        settings = CompareSettings(n_splits=1, readout=readout)
        found = compare(once, [LITE], settings, layers=("blocks.2",))
        layer = found.networks[0].layers[0]
        assert layer.r > 0.1
        assert layer.r_noise_corrected is None
        assert found.ceilings == {}
        assert found.networks[0].best["r_noise_corrected"].layer == "blocks.2"


def test_a_layer_that_is_too_wide_says_so(recording, monkeypatch, tmp_path):
    from synth_server.compare import networks

    monkeypatch.setattr(networks, "MAX_NUMBERS", 500_000)
    found = compare(recording, [LITE], CompareSettings(n_splits=1), layers=("stem", "blocks.3"))
    wide, other = found.networks[0].layers
    assert wide.note.startswith("too wide: 18,432 units × 80 images")
    assert wide.cka is None
    assert other.cka is not None
    draw_comparison(found, tmp_path / "comparison", formats=("png",))


def test_patterns_are_z_scored_channels_without_the_mean_image(recording):
    layers = layers_of(LITE, SIZE_PX, ("blocks.2",))
    ((_, units),) = patterns(LITE, layers, recording.images)
    assert units.mean(axis=0) == pytest.approx(0, abs=1e-9)
    tap = Tap(layer="blocks.2", input_px=None, weights="random")
    features = FeatureStore(device="cpu").features(tap, recording.images).double()
    deviation, mean = torch.std_mean(features, dim=(0, 2, 3), correction=0, keepdim=True)
    expected = ((features - mean) / deviation).flatten(1).numpy()
    np.testing.assert_allclose(units, expected - expected.mean(axis=0), atol=1e-4)


def test_few_sites_have_no_rsa(recording):
    """Over two sites every correlation is 1 or −1, and would look like a figure."""
    few = recording.of_sites(recording.site_ids[:2])
    found = compare(few, [LITE], CompareSettings(n_splits=1), layers=("blocks.3",))
    (layer,) = found.networks[0].layers
    assert layer.rsa is None
    assert layer.cka is not None
    assert set(found.ceilings) == {"cka"}
    assert set(found.networks[0].best) == {"r_noise_corrected", "cka"}


def test_sites_and_images_that_cannot_take_part_are_named(recording):
    trials = np.array(recording.trials).transpose(1, 0, 2).copy()
    trials[3] = 7.0
    trials[5, :10] = np.nan
    gaps = Recording.of(recording.images, trials, recording.site_ids)
    found = compare(gaps, [LITE], CompareSettings(n_splits=1), layers=("blocks.3",))
    assert found.left_out == {"s3": "always answers 7"}
    assert (found.n_images, found.n_images_left_out, found.n_sites) == (70, 10, 39)
    trials[5, :70] = np.nan
    with pytest.raises(DataError, match="too few images"):
        compare(Recording.of(recording.images, trials), [LITE])
    with pytest.raises(DataError, match="too few sites"):
        compare(recording.of_sites(["s1"]), [LITE])


def test_the_command(recording, tmp_path):
    """Arrays in, a table and a figure out; nothing of an earlier comparison is lost by accident."""
    np.save(tmp_path / "images.npy", recording.images)
    np.save(tmp_path / "responses.npy", np.transpose(recording.trials, (1, 0, 2)))
    asked = ["compare", "--images", tmp_path / "images.npy", "--responses",
             tmp_path / "responses.npy", "--axes", "sites,images,repeats", "--network",
             "efficientnet_lite0:random", "--layers", "blocks.1,blocks.5", "--splits", "2",
             "--out", tmp_path / "out"]  # fmt: skip
    done = CliRunner().invoke(app, [*map(str, asked), "--json"])
    assert done.exit_code == 0, done.output
    written = (tmp_path / "out" / "comparison.json").read_text("utf-8")
    assert done.stdout == written
    (network,) = Comparison.model_validate_json(written).networks
    assert {choice.layer for choice in network.best.values()} == {"blocks.1"}
    assert (tmp_path / "out" / "comparison.png").is_file()
    again = CliRunner().invoke(app, list(map(str, asked)))
    assert again.exit_code != 0
    assert (tmp_path / "out" / "comparison.json").read_text("utf-8") == written
    table = CliRunner().invoke(app, [*map(str, asked), "--overwrite"])
    assert table.exit_code == 0, table.output
    assert "blocks.1 *" in table.stdout
    assert "Chosen on one half of the images, scored on the other" in table.stdout


@pytest.mark.parametrize(
    ("text", "name", "weights"),
    [
        ("efficientnet_lite0", "efficientnet_lite0", "default"),
        ("efficientnet_lite0:robust", "efficientnet_lite0", "robust"),
        ("torchvision:alexnet", "torchvision:alexnet", "default"),
        ("alexnet:random", "alexnet", "random"),
        ("vonenet:resnet50:/weights/a:b.pt", "vonenet:resnet50", "/weights/a:b.pt"),
        ("resnet50:/weights/robust.pt", "resnet50", "/weights/robust.pt"),
    ],
)
def test_networks_are_named_with_their_weights(text, name, weights):
    assert network_choice(text) == (name, weights)


def test_wrong_names_are_told_before_work_begins(recording):
    with pytest.raises(SettingsError, match="no such network"):
        network_choice("efficientnet_lite9")
    with pytest.raises(SettingsError, match=r"expected: stem, blocks\.0"):
        layers_of(LITE, SIZE_PX, ("conv9",))
    with pytest.raises(SettingsError, match="no such weights file"):
        compare(recording, [NetworkChoice("efficientnet_lite0", "/nowhere.pt")])


def test_robust_networks_end_where_their_weights_end():
    robust = layers_of(NetworkChoice("efficientnet_lite0", "robust"), 112)
    whole = layers_of(NetworkChoice("efficientnet_lite0"), 112)
    assert [layer.name for layer in whole][-3:] == ["blocks.6", "head", "classifier"]
    assert robust == whole[: len(robust)]
    assert robust[-1].name == "blocks.4"
