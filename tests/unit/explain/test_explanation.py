"""A page of sites whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import (
    Loaded,
    Provenance,
    encoder_digest,
    image_marks,
    load_encoder,
    save_encoder,
)
from encoders.recording import Recording
from protocols.errors import DataError
from synth_server.cli import app
from synth_server.explain.documents import Explanation
from synth_server.explain.explanation import ExplainSettings, explain
from synth_server.explain.figure import lit
from synth_server.explain.made import ShownImage, chosen_of, of_session, photographs_of
from synth_server.explain.subject import subject_of
from synth_server.synthesis.photographs import load_photographs
from tests.control_log import SITES as CONTROL_SITES
from tests.control_log import write_control_log
from tests.encoder_files import SITES, SIZE_PX, small_encoder, write_small_encoder

QUIET = ExplainSettings(synthesis=False)


@pytest.fixture(scope="module", autouse=True)
def one_torch_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def recording() -> Recording:
    """What the encoder predicts, with noise; the last site answers with noise alone."""
    images = load_photographs("embedded", 40, SIZE_PX).images
    random = np.random.default_rng(0)
    rates = small_encoder().predict(images).T.copy()
    rates[2] = rates[2].mean()
    trials = rates[:, :, None] + random.normal(size=(3, 40, 6)) * rates[:2].std()
    return Recording.of(images, trials, SITES)


@pytest.fixture(scope="module")
def page(recording, tmp_path_factory) -> tuple[Path, Explanation]:
    folder = tmp_path_factory.mktemp("explained")
    file = write_small_encoder(folder / "encoder.safetensors")
    found = explain(
        load_encoder(file, device="cpu"), encoder_digest(file), recording, folder, QUIET
    )
    return folder, found


def test_a_row_a_site_with_its_scores(page):
    _, found = page
    good, _, noise = found.sites
    assert [site.site for site in found.sites] == list(SITES)
    assert good.r_noise_corrected > 0.8
    assert noise.is_weak
    assert not good.is_weak
    assert good.field_diameter_px > 0
    assert {each.site for each in good.alike} <= set(SITES) - {good.site}


def test_images_are_chosen_on_one_half_and_valued_on_the_other(page, recording):
    _, found = page
    noise = found.sites[2]
    lowest, highest = noise.ranked[0], noise.ranked[-1]
    spread = np.nanstd(recording.means[:, 2])
    assert highest.chosen_by - lowest.chosen_by > 4 * spread
    assert abs(highest.measured - lowest.measured) < 0.8 * (highest.chosen_by - lowest.chosen_by)
    assert [each.rank for each in noise.ranked][::4] == ["minimum", "maximum"]
    chosen = [each.chosen_by for each in found.sites[0].ranked]
    assert chosen == sorted(chosen)


def test_channels_are_the_readouts_heaviest_and_patches_lie_in_the_image(page):
    _, found = page
    mixing = small_encoder().readout.mixing[0].numpy()
    used = found.sites[0].channels
    assert [each.channel for each in used] == np.argsort(-mixing)[:2].tolist()
    for patch in (patch for each in used for patch in each.patches):
        assert 0 <= patch.x_px <= SIZE_PX
        assert 0 < patch.side_px <= SIZE_PX / 2


def test_the_page_is_whole_and_the_same_again(page, recording, tmp_path):
    folder, found = page
    html = (folder / "explain.html").read_text("utf-8")
    assert html.count("data:image/png;base64,") == 3
    assert html.count('class="weak"') == 1
    assert 'src="http' not in html
    assert Explanation.model_validate(json.loads((folder / "explain.json").read_text())) == found
    file = folder / "encoder.safetensors"
    explain(load_encoder(file, device="cpu"), encoder_digest(file), recording, tmp_path, QUIET)
    for name in ("explain.html", "explain.json", *(site.figure for site in found.sites)):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_some_sites_and_no_trials(page, recording, tmp_path):
    folder, _ = page
    loaded = load_encoder(folder / "encoder.safetensors", device="cpu")
    once = Recording.of(recording.images, recording.means.T, SITES)
    settings = QUIET._replace(sites=(SITES[1],))
    found = explain(loaded, "", once, tmp_path, settings)
    assert [site.site for site in found.sites] == [SITES[1]]
    assert found.sites[0].ranked[0].measured is None
    assert "too extreme" in found.values_are_of
    with pytest.raises(DataError, match="does not predict"):
        explain(loaded, "", once, tmp_path, QUIET._replace(sites=("nobody",)))
    with pytest.raises(DataError, match="no recorded site"):
        explain(loaded, "", once.of_sites(SITES[:1]), tmp_path, QUIET)


def test_scores_are_of_images_that_the_weights_never_saw(recording, tmp_path):
    """Whatever recording they come in: by the images themselves."""
    file = tmp_path / "encoder.safetensors"
    for n_seen, said in (
        (25, "the 15 images that the encoder was not fitted to"),
        (35, "too good"),
        (40, "too good"),
    ):
        marks = image_marks(recording.images[:n_seen])
        save_encoder(file, small_encoder(), Provenance(trained_on=marks))
        subject = subject_of(load_encoder(file, device="cpu"), recording, 0)
        assert said in subject.scored_on
    other = np.ascontiguousarray(255 - recording.images)
    save_encoder(file, small_encoder(), Provenance(trained_on=image_marks(other)))
    subject = subject_of(load_encoder(file, device="cpu"), recording, 0)
    assert subject.scored_on == "all images; the encoder was fitted to other ones"


def test_the_command_and_sites_whose_names_no_file_can_have(recording, tmp_path):
    names = ("a/b", "a_b", "a:b")
    file = write_small_encoder(tmp_path / "encoder.safetensors", names)
    np.save(tmp_path / "images.npy", recording.images)
    np.save(tmp_path / "responses.npy", np.transpose(recording.trials, (1, 0, 2)))
    asked = ["explain", file, "--images", tmp_path / "images.npy", "--responses",
             tmp_path / "responses.npy", "--axes", "sites,images,repeats", "--site-names",
             ",".join(names), "--no-synthesis", "--steps", "2", "--out", tmp_path / "out"]  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, asked)))
    assert done.exit_code == 0, done.output
    assert "drawn gray, predicted too badly: a:b" in done.stdout
    found = Explanation.model_validate_json((tmp_path / "out" / "explain.json").read_text("utf-8"))
    figures = [(tmp_path / "out" / site.figure).read_bytes() for site in found.sites]
    assert len(set(figures)) == 3
    again = CliRunner().invoke(app, list(map(str, asked)))
    assert "--overwrite" in str(again.exception)


def test_the_best_of_what_was_made_is_not_valued_by_its_luck():
    steady = ShownImage("s", "s", "evolved", {"a"}, [[20.0], [20.0], [20.0], [20.0]])
    lucky = ShownImage("l", "l", "evolved", {"a"}, [[50.0], [10.0], [50.0], [10.0]])
    once = [ShownImage(str(n), "", "evolved", {"a"}, [[90.0 - n]]) for n in range(9)]
    chosen = chosen_of([*once, steady, lucky], 0)
    assert [(each.id, each.valued(0)) for each in chosen] == [("l", 10.0), ("s", 20.0)]
    assert [each.id for each in chosen_of(once, 0)] == ["4", "5", "6", "7", "8"]


def test_what_a_session_made_is_read_with_what_it_drew(tmp_path):
    write_control_log(tmp_path / "s.sqlite")
    subject: Any = SimpleNamespace(
        site_ids=CONTROL_SITES,
        recording=SimpleNamespace(images=np.zeros((1, 8, 8, 3), np.uint8)),
        encoder=SimpleNamespace(predict=lambda images: np.full((len(images), 2), 7.0)),
    )
    made = of_session(tmp_path / "s.sqlite", subject, CONTROL_SITES)
    for site in CONTROL_SITES:
        assert [line.kind for line in made[site].about] == ["stretch", "stretch"]
        assert [line.measured for line in made[site].about] == pytest.approx([90.0, 90.0])
        assert bool((made[site].images[..., 1] == 200).all())
    assert len(photographs_of(tmp_path / "s.sqlite")) == 6 + 2


def test_units_are_not_explained(recording, tmp_path):
    units = load_encoder(Path("units:efficientnet_lite0:random/blocks.1@32"), device="cpu")
    with pytest.raises(DataError, match="not fitted to a recording"):
        explain(Loaded(*units), "", recording, tmp_path, QUIET)


def test_only_what_drives_is_lit():
    image = np.full((64, 64, 3), 200, np.uint8)
    attribution = np.zeros((64, 64))
    attribution[20:40, 20:40], attribution[50:60, 50:60] = 1.0, -1.0
    shown = lit(image, attribution)
    assert shown[30, 30, 0] == 200
    assert shown[55, 55, 0] == shown[5, 5, 0] == 50


def test_a_map_of_images_where_neighbours_look_alike(tmp_path):
    pytest.importorskip("sklearn")
    from synth_server.explain.atlas import atlas_of
    from synth_server.explain.atlas_figure import draw_atlas

    images = load_photographs("embedded", 60, SIZE_PX).images
    light = images.mean(axis=(1, 2, 3))[:, None]
    measured = np.where(np.arange(60)[:, None] < 50, light, np.nan)
    made = {"light": (images[:2], ("stretch", "stretch"))}
    drawn = atlas_of(images, measured, light, ("light",), made)
    atlas = drawn.atlas
    assert (atlas.n_images, atlas.n_held_out, atlas.side) == (60, 6, 3)
    assert sum(cell.n_images for cell in atlas.cells) == 54
    assert len(atlas.points) == 2
    assert all(0 <= point.x <= 1 for point in atlas.points)
    assert atlas.lands_mean_rank < 0.5
    again = atlas_of(images, measured, light, ("light",), made)
    assert again.atlas == atlas
    draw_atlas(drawn, ("light",), tmp_path / "atlas.png")
    assert (tmp_path / "atlas.png").stat().st_size > 10_000
    with pytest.raises(DataError, match="too few photographs"):
        atlas_of(images[:10], measured[:10], light[:10], ("light",))
