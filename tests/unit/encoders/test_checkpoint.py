"""Checkpoints: what comes back is what was saved, or a refusal that says why."""

import json
from importlib.metadata import version

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders.backbones import load_backbone
from encoders.checkpoint import Provenance, Split, load_encoder, read_checkpoint, save_encoder
from encoders.encoder import TwoStageEncoder
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureStore, Tap
from encoders.fitting import FitSettings, fit
from encoders.recording import Recording
from encoders.two_stage import Penalties
from encoders.validation import evaluate
from protocols.errors import DataError

TAPS = tuple(Tap(layer=f"blocks.{n}", input_px=None, weights="random") for n in (0, 1))


@pytest.fixture(scope="module")
def recording() -> Recording:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (30, 16, 24, 3), dtype=np.uint8)
    return Recording.of(images, random.poisson(5, (3, 30, 4)).astype(float), ["a", "b", "c"])


@pytest.fixture(scope="module")
def settings() -> FitSettings:
    return FitSettings(taps=TAPS, penalties=(Penalties(),), n_folds=2, max_sweeps=1)


@pytest.fixture(scope="module")
def ensemble(recording, settings):
    encoder = fit(recording, settings, FeatureStore(device="cpu")).encoder
    assert isinstance(encoder, EnsembleEncoder)
    return encoder


@pytest.fixture
def saved(ensemble, tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, ensemble.members[0], Provenance())
    return path


def rewritten(path, change_tensors=lambda t: t, change_about=lambda a: a):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["stimloop"])
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    about = json.dumps(change_about(about))
    save_file(change_tensors(tensors), path, {"stimloop": about})


@pytest.mark.parametrize("is_ensemble", [True, False])
def test_an_encoder_comes_back_with_its_provenance(
    ensemble, recording, settings, tmp_path, is_ensemble
):
    encoder = ensemble if is_ensemble else ensemble.members[1]
    provenance = Provenance(
        data_digest=recording.digest,
        split=Split(train=(0, 2), held_out=(1,)),
        settings=settings,
        scores=evaluate(encoder, recording, np.random.default_rng(0)),
    )
    path = tmp_path / "new folder" / "encoder.safetensors"
    save_encoder(path, encoder, provenance)
    loaded, about = load_encoder(path, device="cpu")
    assert isinstance(loaded, EnsembleEncoder if is_ensemble else TwoStageEncoder)
    assert loaded.site_ids == ("a", "b", "c")
    assert np.array_equal(loaded.predict(recording.images), encoder.predict(recording.images))
    assert about.provenance == provenance
    assert about.members[0].tap == (TAPS[0] if is_ensemble else TAPS[1])
    assert about.versions["torch"] == version("torch")
    assert [file.name for file in path.parent.iterdir()] == ["encoder.safetensors"]


@pytest.mark.parametrize("cut", [0, 5, 200, -1])
def test_truncated_files_are_refused(saved, cut):
    saved.write_bytes(saved.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"missing or damaged(?s:.*)encoder\.safetensors"):
        load_encoder(saved)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="missing or damaged"):
        load_encoder(tmp_path / "none.safetensors")
    save_file({"x": torch.ones(2)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="no encoder of stimloop"):
        load_encoder(tmp_path / "other.safetensors")


def test_another_version_is_refused(saved):
    rewritten(saved, change_about=lambda a: a | {"checkpoint_version": 99})
    with pytest.raises(DataError, match=r"another version(?s:.*)got: 99"):
        load_encoder(saved)


def test_damaged_metadata_are_refused(saved):
    rewritten(saved, change_about=lambda a: a | {"site_ids": 3})
    with pytest.raises(DataError, match="metadata are damaged"):
        load_encoder(saved)


def test_other_weights_of_the_same_network_are_refused(saved):
    def other(name, layer, **options):
        return load_backbone(name, layer, **(options | {"seed": 1}))

    with pytest.raises(DataError, match="weights of efficientnet_lite0 are not those"):
        load_encoder(saved, load=other, device="cpu")


def test_another_preprocessing_is_refused(saved):
    def other(name, layer, **options):
        return load_backbone(name, layer, **(options | {"input_px": 32}))

    with pytest.raises(DataError, match="no longer gives the features"):
        load_encoder(saved, load=other, device="cpu")


@pytest.mark.parametrize(
    "name", ["members.0.masks", "members.0.mixing", "members.0.channels.scale"]
)
def test_missing_misshapen_and_infinite_weights_are_refused(saved, name):
    whole = saved.read_bytes()
    for spoil in (
        lambda t: {k: v for k, v in t.items() if k != name},
        lambda t: t | {name: torch.ones(7)},
        lambda t: t | {name: t[name] * float("inf")},
    ):
        saved.write_bytes(whole)
        rewritten(saved, change_tensors=spoil)
        with pytest.raises(DataError, match=f"no sound {name}"):
            load_encoder(saved, device="cpu")


def test_images_behind_the_weights_are_counted():
    split = Split(train=(0, 2), held_out=(1,))
    assert Provenance(split=split).n_trained == 2
    assert Provenance(split=split, refit_on_all=True).n_trained == 3


def test_files_from_before_the_refit_are_read(saved):
    def older(about):
        provenance = {k: v for k, v in about["provenance"].items() if k != "refit_on_all"}
        return about | {"provenance": provenance}

    rewritten(saved, change_about=older)
    assert not read_checkpoint(saved)[0].provenance.refit_on_all


def test_metadata_are_read_without_a_network(saved):
    about, tensors = read_checkpoint(saved)
    assert about.site_ids == ("a", "b", "c")
    assert tensors["members.0.masks"].shape == (3, 8, 12)
