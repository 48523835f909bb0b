"""The plan that maps receptive fields, driven by sites whose fields are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import SettingsError
from protocols.experiments.textures import textures
from protocols.fields import FieldMap, FieldPlace, SiteField
from protocols.vocabulary import BlockResponses, Outcome, Placement
from synth_server.session.build import build_plans, resolved
from synth_server.session.equipment import Equipment
from synth_server.session.products import Products

SITES = ("left", "near", "flat", "off")
CENTRES = np.array([(-3.0, 2.0), (-2.0, 1.0), (0.0, 0.0), (0.0, 0.0)])
SMALL = {
    "coarse": {"showings": 6, "most_showings": 6},
    "fine": {"showings": 6, "most_showings": 6},
    "image_size_px": 32,
    "enough": 0.5,
    "estimate": {"n_permutations": 400, "n_bootstrap": 3},
}


def counted(block, random):
    """Poisson counts; `off` is silent, `flat` does not care where."""
    shown = []
    for cue in block.cues():
        stimulus = block.stimuli[cue.stimulus_index]
        at = np.array((stimulus.place.x_deg, stimulus.place.y_deg))
        near = np.exp(
            -((at - CENTRES) ** 2).sum(axis=1) / (2 * (1 + stimulus.place.size_deg / 4) ** 2)
        )
        is_patch = stimulus.label.startswith("texture")
        expected = 0.6 + 5 * is_patch * near * (1, 1, 0, 0)
        expected[3] = 0
        counts = tuple(float(c) for c in random.poisson(expected))
        shown.append(cue.presentation(onset_s=0, outcome=Outcome.COMPLETED, spike_counts=counts))
    return BlockResponses(block_index=block.index, site_ids=SITES, presentations=tuple(shown))


def mapped(settings, folder, seed=0):
    """Blocks of a whole mapping, and its fields.json."""
    thread = ThreadSettings(name="t", protocol="map_fields", settings=settings)
    session = resolved(SessionSettings(session_id="s", seed=seed, threads=(thread,)))
    plan = build_plans(session, Equipment(Products(folder)))["t"]
    random, blocks = np.random.default_rng(1), []
    block = next(plan)
    while block is not None:
        blocks.append(block.at(len(blocks), "t"))
        try:
            block = plan.send(counted(blocks[-1], random))
        except StopIteration:
            block = None
    return blocks, FieldMap.model_validate(json.loads((folder / "fields.json").read_text()))


@pytest.fixture(scope="module")
def mapping(tmp_path_factory):
    return mapped(SMALL, tmp_path_factory.mktemp("products"))


def test_a_pass_shows_every_place_once_and_gray_among_them(mapping):
    blocks, _ = mapping
    first = blocks[0]
    assert len(blocks) == 12
    assert len(first.stimuli) == 82
    assert len(first.order) == 89
    assert sorted(first.order) == [*range(81), *[81] * 8]
    assert first.order != tuple(sorted(first.order))
    assert {each.place.size_deg for each in first.stimuli} == {4.0}
    xs = sorted({each.place.x_deg for each in first.stimuli})
    assert xs == list(range(-8, 9, 2))


def test_the_same_pixels_at_many_places_are_one_image(mapping):
    blocks, _ = mapping
    assert len(blocks[0].distinct_images()) == 7


def test_each_place_sees_the_textures_in_turn(mapping):
    blocks, _ = mapping
    labels = np.array([[each.label for each in block.stimuli[:81]] for block in blocks[:6]])
    assert all(len(set(column)) == 6 for column in labels.T)


def test_the_fine_grid_lies_around_the_median_centre(mapping):
    blocks, _ = mapping
    places = [each.place for each in blocks[-1].stimuli]
    assert {place.size_deg for place in places} == {2.0}
    centre = np.mean([(place.x_deg, place.y_deg) for place in places[:49]], axis=0)
    np.testing.assert_allclose(centre, (-2.5, 1.5), atol=0.6)


def test_fields_are_found_where_they_are_and_nowhere_else(mapping):
    _, found = mapping
    left, near, flat, off = found.fields
    assert (left.x_deg, left.y_deg) == pytest.approx((-3, 2), abs=0.4)
    assert (near.x_deg, near.y_deg) == pytest.approx((-2, 1), abs=0.4)
    assert left.x_interval[0] <= left.x_interval[1]
    assert left.reliability > 0.5
    assert flat.x_deg is None
    assert flat.p > found.alpha
    assert (off.p, off.sigma_deg) == (1, None)
    place = found.place(("left", "near"))
    assert (place.x_deg, place.y_deg) == pytest.approx((-2.5, 1.5), abs=0.4)
    assert place.size_deg >= 2 * (0.5 + 2 * min(left.sigma_deg, near.sigma_deg)) - 0.8


def test_too_few_showings_say_nothing(tmp_path):
    few = {**SMALL, "coarse": {"showings": 4, "most_showings": 4}}
    blocks, found = mapped(few, tmp_path)
    assert len(blocks) == 4
    assert all(each.p is None and each.x_deg is None for each in found.fields)
    with pytest.raises(SettingsError, match="no receptive field"):
        found.place()


def test_more_is_shown_where_few_sites_have_a_field(tmp_path):
    more = {
        **SMALL,
        "enough": 0.9,
        "coarse": {"showings": 5, "most_showings": 7},
        "fine": {"showings": 0},
    }
    blocks, _ = mapped(more, tmp_path)
    assert [block.label for block in blocks][-1] == "coarse grid, showing 6"


def test_one_seed_gives_one_mapping(tmp_path, mapping):
    again, found = mapped(SMALL, tmp_path)
    assert [block.digest for block in again] == [block.digest for block in mapping[0]]
    assert found == mapping[1]


def field(site, x, y, sigma, **more):
    return SiteField(site=site, n=100, p=0.001, x_deg=x, y_deg=y, sigma_deg=sigma, **more)


def test_a_centre_at_the_edge_is_never_used_to_place(tmp_path):
    found = FieldMap(
        alpha=0.005,
        count_window_s=(0.07, 0.17),
        grid_deg=(-8, -8, 8, 8),
        fields=(field("a", 1, 1, 1), field("b", 9, 9, 1, at_edge=True), field("c", 2, 1, 0.5)),
    )
    assert found.place() == Placement(x_deg=1.5, y_deg=1, size_deg=5)
    assert found.place(("a", "b")) == found.place(("a",)) == Placement(x_deg=1, y_deg=1, size_deg=4)
    with pytest.raises(SettingsError, match="grid's edge"):
        found.place(("b",))
    with pytest.raises(SettingsError, match="not mapped"):
        found.place(("a", "z"))
    path = tmp_path / "fields.json"
    path.write_text(found.text())
    thread = ThreadSettings(
        name="t",
        protocol="map_responses",
        place=FieldPlace(fields=str(path), sites=("a",)),
    )
    (placed,) = resolved(SessionSettings(session_id="s", seed=0, threads=(thread,))).threads
    assert placed.place == Placement(x_deg=1, y_deg=1, size_deg=4)
    assert placed.placed_by == thread.place
    again = ThreadSettings.model_validate(placed.model_dump(mode="json"))
    assert again == placed


def test_a_file_that_holds_no_fields_is_refused(tmp_path):
    path = tmp_path / "fields.json"
    for content in ("", "{}", "[1"):
        path.write_text(content)
        with pytest.raises(SettingsError, match="mapped fields cannot be read"):
            FieldPlace(fields=str(path)).read()
    with pytest.raises(SettingsError, match="No such file"):
        FieldPlace(fields=str(tmp_path / "none.json")).read()


def test_textures_are_round_patches_on_gray():
    made = textures(6, 64, 4.0, 0.5, seed=0)
    assert np.all(made[:, 0, 0] == 128)
    assert np.all(made[:, [0, -1], 32] <= 130)
    middle = made[:, 20:44, 20:44].astype(float)
    assert middle.std(axis=(1, 2, 3)).min() > 30
    assert len({each.tobytes() for each in made}) == 6
    assert np.array_equal(made, textures(6, 64, 4.0, 0.5, seed=0))
