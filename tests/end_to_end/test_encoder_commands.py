"""From recorded responses to images, by command: fit, evaluate, synthesize."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from encoders.checkpoint import load_encoder, read_checkpoint
from synth_server import cli
from synth_server.synthesis.photographs import load_photographs
from tests.end_to_end.processes import synth_server

SETTINGS = ("n_steps=6", "n_candidates=4", "refinement={ n_steps = 2 }")
QUICKLY = [part for setting in SETTINGS for part in ("--set", setting)]


class Done(NamedTuple):
    """How a command ended, and what it said."""

    returncode: object
    stdout: str
    stderr: str


def command(*arguments: object) -> Done:
    """What the console script does, in this process: torch is loaded once for all."""
    out, told, status = io.StringIO(), io.StringIO(), None
    line = mock.patch.object(sys, "argv", ["synth-server", *map(str, arguments)])
    with line, contextlib.redirect_stdout(out), contextlib.redirect_stderr(told):
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
    return Done(status or 0, out.getvalue(), told.getvalue())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites that answer to redness and to brightness, of 32 photographs."""
    folder = tmp_path_factory.mktemp("recorded")
    images = load_photographs("embedded", None, 64).images
    means = images.astype(float).mean(axis=(1, 2))
    responses = np.stack([means[:, 0] - means[:, 2], means.mean(axis=1)])
    np.save(folder / "images.npy", images)
    np.save(folder / "responses.npy", responses - responses.min(axis=1, keepdims=True))
    return folder


def fitted(recorded: Path, name: str, *options: str) -> Path:
    """An encoder of one early layer, fitted by command."""
    path = recorded / f"{name}.safetensors"
    data = ["--images", recorded / "images.npy", "--responses", recorded / "responses.npy"]
    network = ["--backbone", "efficientnet_lite0", "--layer", "blocks.2"]
    done = command("fit", *data, *network, *options, "--out", path)
    assert done.returncode == 0, done.stderr
    assert ("held-out images, 2 sites" in done.stderr) is ("0" not in options)
    return path


@pytest.fixture(scope="module")
def encoder(recorded: Path) -> Path:
    return fitted(recorded, "encoder", "--held-out", "0.2")


def test_scores_of_held_out_images_and_weights_of_all(encoder: Path, recorded: Path) -> None:
    refitted = fitted(recorded, "refitted", "--held-out", "0.2", "--refit-on-all")
    everything = fitted(recorded, "everything", "--held-out", "0", "--refit-on-all")
    scored, part = read_checkpoint(encoder)
    about, all_of_it = read_checkpoint(refitted)
    before, after = scored.provenance, about.provenance
    assert (before.refit_on_all, after.refit_on_all) == (False, True)
    assert (before.n_trained, after.n_trained) == (26, 32)
    assert after.split == before.split
    assert before.scores is not None
    assert after.scores is not None
    assert after.scores.median("r") == pytest.approx(before.scores.median("r"), abs=1e-3)
    assert after.natural is not None
    assert after.natural.n_images == 32
    to_all, weights = read_checkpoint(everything)
    assert not to_all.provenance.refit_on_all, "there was nothing to fit again"
    for name, tensor in all_of_it.items():
        assert torch.allclose(tensor, weights[name], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(all_of_it["members.0.masks"], part["members.0.masks"], rtol=0.01)
    data = ["--images", recorded / "images.npy", "--responses", recorded / "responses.npy"]
    done = command("evaluate", refitted, *data, "--size-px", "64")
    assert "fitted to 32 of the 32 images of this recording" in " ".join(done.stderr.split())


@pytest.mark.thorough
def test_the_networks_weights_can_be_chosen_and_the_file_knows_them(
    encoder: Path, recorded: Path
) -> None:
    robust = fitted(recorded, "robust", "--held-out", "0.2", "--weights", "robust")
    (pretrained,), (chosen,) = (read_checkpoint(path)[0].members for path in (encoder, robust))
    assert (pretrained.tap.weights, chosen.tap.weights) == ("default", "robust")
    assert pretrained.weights_digest != chosen.weights_digest
    assert load_encoder(robust)[0].site_ids == ("0", "1")
    auto = fitted(recorded, "auto", "--layer", "auto", "--held-out", "0.2")
    assert {member.tap.weights for member in read_checkpoint(auto)[0].members} == {"robust"}


def test_scores_are_one_json_document(encoder: Path, recorded: Path) -> None:
    data = ["--images", recorded / "images.npy", "--responses", recorded / "responses.npy"]
    done = command("evaluate", encoder, *data, "--size-px", "64", "--json")
    assert done.returncode == 0, done.stderr
    sites = json.loads(done.stdout)["sites"]
    assert [site["site"] for site in sites] == ["0", "1"]
    assert all(site["r"] > 0.5 for site in sites)
    assert all(0 < site["receptive_field"]["diameter_px"] < 70 for site in sites)
    assert "fitted to 26 of the 32 images of this recording" in " ".join(done.stderr.split())


def test_the_figure_is_drawn_and_fields_are_told_in_degrees(
    encoder: Path, recorded: Path, tmp_path: Path
) -> None:
    data = ["--images", recorded / "images.npy", "--responses", recorded / "responses.npy"]
    figure = tmp_path / "figure.png"
    done = command("evaluate", encoder, *data, "--px-per-deg", "8", "--figure", figure)
    assert done.returncode == 0, done.stderr
    assert "receptive fields: median diameter" in done.stderr
    assert "°" in done.stderr
    with Image.open(figure) as drawn:
        assert drawn.width > 1000
    refused = command(
        "fit", *data, "--out", tmp_path / "e", "--held-out", 0, "--figure", tmp_path / "f.png"
    )
    assert refused.returncode == 1
    assert "a figure needs held-out images" in refused.stderr


@pytest.mark.thorough
def test_other_objectives_and_settings(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    made = ["synthesize", encoder, "--out", out, "--seeds", "1", "--size-px", "64", "--json"]
    made.append("--overwrite")
    asked = [*QUICKLY, "--set", "constraints.grayscale=true"]
    rates = {}
    for objective in ("stretch", "suppress"):
        done = command(*made, *asked, "--sites", "1", "--objective", objective)
        assert done.returncode == 0, done.stderr
        rates[objective] = json.loads(done.stdout)[0]["predicted"]
        image = np.load(out / "images.npy")[0]
        assert np.array_equal(image[..., 0], image[..., 2])
    assert rates["suppress"] < rates["stretch"]
    pattern = ["--objective", "target-pattern", "--option", "pattern={0=1.0,1=-1.0}"]
    done = command(*made, *asked, *pattern)
    assert [row["site"] for row in json.loads(done.stdout)] == ["target-pattern"]
    for wrong, told in (
        (["--sites", "7"], "the encoder does not predict these sites"),
        (["--objective", "strech"], "no such objective"),
        (["--set", "n_stepz=3"], "n_stepz"),
        (["--recipe", "lucid"], "no such recipe"),
    ):
        refused = command(*made, *wrong)
        assert refused.returncode == 1
        assert told in refused.stderr


def test_one_hot_scores_compare_sites_by_what_is_natural_to_them(encoder: Path) -> None:
    natural = read_checkpoint(encoder)[0].provenance.natural
    assert natural is not None
    assert natural.predicted_sd.keys() == natural.predicted_mean.keys() == {"0", "1"}
    assert 0.2 < natural.mean < 0.7


def test_images_for_every_site_and_seed(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ["--seeds", "2", "--size-px", "64", *QUICKLY]
    done = command("synthesize", encoder, "--out", out, *asked, "--json")
    assert done.returncode == 0, done.stderr
    index = json.loads(done.stdout)
    assert index == json.loads((out / "index.json").read_text())
    assert [(row["site"], row["seed"]) for row in index] == [("0", 0), ("0", 1), ("1", 0), ("1", 1)]
    images = np.load(out / "images.npy")
    assert (images.shape, images.dtype) == ((4, 64, 64, 3), np.uint8)
    for image, row in zip(images, index, strict=True):
        assert np.array_equal(np.asarray(Image.open(out / row["file"])), image)


def test_bad_input_is_named(encoder: Path, recorded: Path, tmp_path: Path) -> None:
    responses = np.load(recorded / "responses.npy")
    np.save(tmp_path / "fewer.npy", responses[:, :-1])
    cut = tmp_path / "cut.zip"
    cut.write_bytes(b"PK\x03\x04 and no more")
    images, good = recorded / "images.npy", recorded / "responses.npy"
    for wrong_images, wrong_responses in ((images, tmp_path / "fewer.npy"), (cut, good)):
        data = ["--images", wrong_images, "--responses", wrong_responses]
        done = command("fit", *data, "--out", tmp_path / "e.safetensors")
        assert done.returncode == 1
        assert "error:" in done.stderr
        assert "Traceback" not in done.stderr
    half = tmp_path / "half.safetensors"
    half.write_bytes(encoder.read_bytes()[:-100])
    done = synth_server("synthesize", half, "--out", tmp_path / "x", folder=tmp_path)
    assert done.returncode == 1
    assert "half.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_lectures_table_of_vgg16() -> None:
    done = command("backbones", "vgg16")
    assert done.returncode == 0, done.stderr
    assert "138.4 M parameters" in done.stdout
    assert "efficientnet_lite0" in command("backbones").stdout


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 photographs, five trials each as 300 rows; counts that have nothing to do with them."""
    folder = tmp_path_factory.mktemp("noise")
    different = load_photographs("embedded", 60, 64).images
    random = np.random.default_rng(0)
    mean = random.gamma(2.0, 3.0, 60)
    rows = random.permutation(np.repeat(np.arange(60), 5))
    np.save(folder / "images.npy", different[rows])
    np.save(folder / "responses.npy", random.poisson(mean[rows])[None].astype(float))
    return folder


def test_rows_of_one_image_are_never_both_trained_on_and_held_out(noise: Path) -> None:
    data = ["--images", noise / "images.npy", "--responses", noise / "responses.npy"]
    network = ["--backbone", "efficientnet_lite0", "--layer", "blocks.2"]
    out = noise / "encoder.safetensors"
    done = command("fit", *data, *network, "--held-out", "0.3", "--out", out)
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stderr.split())
    assert "1 sites (0); 60 images; 5 repetitions of each; 240 equal images taken as" in told
    assert "18 held-out images" in told
    about = read_checkpoint(out)[0].provenance
    assert about.scores is not None
    r = about.scores.sites[0].r
    assert r is not None
    assert abs(r) < 0.45, "the truth is 0; of 18 images, |r| is above 0.45 in 6 % of all cases"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--layer", "blocks.2"], "--layer need a network"),
        (["--weights", "robust"], "--weights need a network"),
        (["--figure", "fit.pdf"], "a name that ends with .png"),
        (["--window-ms", "170,70"], "this is no window"),
        (["--axes", "images,sides"], "this is no axis of responses"),
        (["--site-names", "a,a"], "two sites have the same name"),
        (["--site-names", "a,b,c"], "no axis is as long as there are names"),
        (["--session", "s.sqlite"], "a recording is one file"),
    ],
)
def test_options_that_would_be_ignored_or_cannot_be_meant(
    recorded: Path, tmp_path: Path, options: list[str], says: str
) -> None:
    data = ["--images", recorded / "images.npy", "--responses", recorded / "responses.npy"]
    done = command("fit", *data, *options, "--out", tmp_path / "e.safetensors")
    assert done.returncode == 1
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_outputs_are_checked_before_the_work(encoder: Path, recorded: Path, tmp_path: Path) -> None:
    """A fit of minutes, or a synthesis, never ends in a place that can't be written."""
    data = ["--images", recorded / "none.npy", "--responses", recorded / "none.npy"]
    (tmp_path / "file").write_text("mine")
    for out, says in (
        (encoder, "--overwrite"),
        (tmp_path, "this is a folder"),
        (tmp_path / "file" / "e.safetensors", "this place cannot be written"),
    ):
        done = command("fit", *data, "--out", out)
        assert says in done.stderr, done.stderr
        assert "none.npy" not in done.stderr, "refused before the images are even looked for"
    before = encoder.read_bytes()
    assert encoder.read_bytes() == before
    done = command("synthesize", encoder, "--out", tmp_path / "file")
    assert "this is a file" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_images_of_two_syntheses_are_never_mixed(encoder: Path, tmp_path: Path) -> None:
    few = [*QUICKLY, "--size-px", "64"]
    assert command("synthesize", encoder, "--seeds", 2, *few, "--out", tmp_path).returncode == 0
    (tmp_path / "notes.txt").write_text("mine")
    refused = command("synthesize", encoder, "--seeds", 1, *few, "--out", tmp_path)
    assert "the folder holds earlier results" in refused.stderr
    assert len(list(tmp_path.glob("*.png"))) == 4
    done = command("synthesize", encoder, "--seeds", 1, *few, "--out", tmp_path, "--overwrite")
    assert done.returncode == 0, done.stderr
    named = {row["file"] for row in json.loads((tmp_path / "index.json").read_text())}
    assert named == {path.name for path in tmp_path.glob("*.png")}
    assert len(named) == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
