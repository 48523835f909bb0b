"""A subject that sees the screen: where its fields are, and nothing else."""

import numpy as np
import pytest
from pydantic import ValidationError

from benchmarks.placed_evolution import TRUE, story
from protocols.conformance import check_population
from protocols.errors import DataError
from protocols.experiments.textures import textures
from protocols.interfaces import SessionInfo
from protocols.placed_population import PlacedPopulation
from protocols.plugins import create
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Placement, Role
from rig_client.display.headless import HeadlessDisplay, HeadlessSettings
from simulated_neurons.photographs import natural_patches
from simulated_neurons.placed import GRAY, PlacedSettings, PlacedSubject, View, seen

FIELDS = ((4.0, 3.0, 0.8), (-5.0, -2.0, 1.0))
GABOR = PluginChoice(name="gabor_energy", options={"n_sites": 2})


@pytest.fixture(scope="module")
def subject():
    return PlacedSubject(PlacedSettings(population=GABOR, fields_deg=FIELDS))


@pytest.fixture(scope="module")
def patch():
    return textures(1, 64, 4.0, 0.5, seed=0)


def at(subject, patch, x, y, size=4.0):
    return subject.rates_on_screen(patch, [Placement(x_deg=x, y_deg=y, size_deg=size)])[0]


def test_each_site_answers_at_its_own_field_only(subject, patch):
    assert isinstance(subject, PlacedPopulation)
    gray = at(subject, np.full_like(patch, GRAY), 0, 0)
    for site, (x, y, _) in enumerate(FIELDS):
        here = at(subject, patch, x, y)
        assert here[site] > gray[site] + 3
        assert here[1 - site] == gray[1 - site]
    assert np.array_equal(at(subject, patch, 20, 20), gray)


def test_where_it_answers_most_is_where_its_field_is(subject, patch):
    """The rate-weighted mean place of small patches, above what gray gives."""
    gray = at(subject, np.full_like(patch, GRAY), 0, 0)
    for site, (x, y, sigma) in enumerate(FIELDS):
        steps = np.arange(-3, 3.1, 0.5)
        rates = np.array(
            [[at(subject, patch, x + a, y + b, 1.0)[site] for a in steps] for b in steps]
        )
        weight = rates - gray[site]
        centre = (weight.sum(0) @ steps / weight.sum(), weight.sum(1) @ steps / weight.sum())
        assert np.hypot(*centre) < 0.4 * sigma


def test_the_screen_is_composed_pixel_for_pixel():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = 255
    view = View(left=-4, top=4, side=8)
    whole = seen(image, Placement(x_deg=0, y_deg=0, size_deg=8), view, 8)
    assert np.array_equal(whole, image)
    corner = seen(image, Placement(x_deg=2, y_deg=2, size_deg=4), view, 16)
    assert np.array_equal(corner[:8, 8:], image)
    assert np.all(corner[8:] == GRAY)
    assert np.all(corner[:, :8] == GRAY)
    half = seen(image, Placement(x_deg=4, y_deg=0, size_deg=8), view, 8)
    assert np.all(half[:, 4:] == 0)
    assert np.all(half[:, :4] == GRAY)


def test_the_recorder_tells_it_where_images_are(patch):
    choice = PluginChoice(
        name="simulated",
        options={
            "noise": "none",
            "subject": {
                "name": "placed",
                "options": {"population": GABOR.model_dump(), "fields_deg": FIELDS},
            },
        },
    )
    session = SessionInfo(session_id="s", seed=0)
    recorder = create("stimloop.acquisitions", choice, session)
    display = HeadlessDisplay(HeadlessSettings(position_deg=FIELDS[0][:2]), session)
    recorder.watch_on(display)
    there = Placement(x_deg=FIELDS[1][0], y_deg=FIELDS[1][1], size_deg=4)
    images = np.concatenate([patch, patch])
    block = Block.of(images, roles=Role.CONTROL, places=[None, there]).at(0, "t")
    recorder.stage(block)
    counts = []
    for cue in block.cues():
        recorder.mark(cue, 0.0, 1)
        counts.append(recorder.spike_counts(cue, (0.07, 0.17)).counts)
    assert counts[0][0] > counts[1][0]
    assert counts[1][1] > counts[0][1]


def test_it_keeps_the_contract_of_a_population():
    made = create(
        "stimloop.subjects",
        PluginChoice(name="placed", options={"population": GABOR.model_dump(), "n_sites": 3}),
    )
    assert len(made.site_ids) == 3
    check_population(made, natural_patches(64)[:4])


def test_wrong_fields_are_refused():
    with pytest.raises(ValidationError, match="above 0"):
        PlacedSettings(fields_deg=((0, 0, 0),))
    with pytest.raises(DataError, match="a field for each site"):
        PlacedSubject(PlacedSettings(population=GABOR, fields_deg=FIELDS[:1]))


def test_a_site_that_looks_into_a_corner_gains_at_the_mapped_place_only(tmp_path):
    """Mapping and two evolutions through the whole loop; fields.json places the second one."""
    told = story(tmp_path, 1, showings=5, generations=8, population=10)
    (field,) = told.found.fields
    assert np.hypot(field.x_deg - TRUE[0], field.y_deg - TRUE[1]) < 0.7
    gain = {where: np.mean(curve[-3:]) - np.mean(curve[:1]) for where, curve in told.curves.items()}
    assert np.mean(told.curves["screen's centre"]) < 0.5
    assert gain["mapped place"] > 1
    assert np.mean(told.curves["mapped place"][-3:]) > 4 * np.mean(told.curves["screen's centre"])
