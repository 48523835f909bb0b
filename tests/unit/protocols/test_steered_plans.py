"""Plans that are told something while they run: control experiments, mappings, a check."""

from __future__ import annotations

import json

import numpy as np
import pytest

from protocols.amendments import DropSite, Finish, Retarget
from protocols.experiments.map_responses import map_responses
from protocols.experiments.one_hot_population import one_hot_population
from protocols.experiments.rounds import round_of
from protocols.experiments.stretch import stretch
from protocols.experiments.warm_start import among
from protocols.vocabulary import Role
from tests.unit.protocols.test_control_plans import (
    SITES,
    BrightnessEncoder,
    MadeUpApparatus,
    answers,
    stimuli,
)
from tests.unit.protocols.test_rounds import SETTINGS, LearningApparatus

FINISH = Finish(thread="t")
CANDIDATES = {"left": ("photograph 1",), "right": ("photograph 2",)}


def told(experiment, apparatus, amendments=None, **changes):
    """All blocks; `amendments`: the number of a block → what comes with the responses to it."""
    plan = experiment(experiment.Settings(**{**SETTINGS, **changes}), apparatus)
    blocks = [next(plan).at(0, "t")]
    while True:
        coming = (amendments or {}).get(len(blocks) - 1, ())
        try:
            responses = answers(blocks[-1]).with_amendments(coming)
            blocks.append(plan.send(responses).at(0, "t"))
        except StopIteration:
            return blocks


def phases(blocks):
    return list(dict.fromkeys(block.label.split(",")[0] for block in blocks))


def made_for(blocks):
    """Targets of images that were made, over `blocks`."""
    return {
        site
        for each in stimuli(blocks).values()
        if each.role in (Role.STRETCH, Role.ONE_HOT_POPULATION)
        for site in each.targets
    }


def test_a_mapping_that_is_finished_still_shows_every_image():
    apparatus = LearningApparatus()
    blocks = told(stretch, apparatus, {0: [FINISH]})
    assert phases(blocks) == ["mapping", "test"]
    mapping = [block for block in blocks if block.label.startswith("mapping")]
    assert len(stimuli(mapping)) == len(apparatus.natural.images)
    assert sum(len(block.order) for block in mapping) == len(apparatus.natural.images)
    assert len([b for b in blocks if b.label.startswith("test")]) > 3, "all its passes"


def test_a_reliability_needs_two_passes():
    blocks = told(
        stretch,
        LearningApparatus(),
        {0: [FINISH]},
        targets={"best": 1, "least_reliability": 0.5},
        mapping={"repetitions": 5, "images_per_block": 9},
    )
    assert [block.label.split(",")[0] for block in blocks][:3] == ["mapping", "mapping", "test"]


def test_rounds_that_are_finished_end_with_the_block():
    whole = told(stretch, LearningApparatus())
    first = next(n for n, block in enumerate(whole) if round_of(block.label) == 1)
    blocks = told(stretch, LearningApparatus(), {first: [FINISH]})
    assert phases(blocks) == ["mapping", "round 1", "test"]
    assert sum(round_of(block.label) == 1 for block in blocks) == 1


@pytest.mark.parametrize(
    "amendment",
    [DropSite(thread="t", site="left"), Retarget(thread="t", sites=("right",))],
    ids=["drop", "retarget"],
)
def test_other_targets_hold_from_the_next_round(amendment):
    apparatus = LearningApparatus()
    whole = told(stretch, LearningApparatus())
    last = max(n for n, block in enumerate(whole) if round_of(block.label) == 1)
    blocks = told(stretch, apparatus, {last: [amendment]})
    assert made_for(b for b in blocks if round_of(b.label) == 1) == set(SITES)
    assert made_for(b for b in blocks if round_of(b.label) in (2, 3)) == {"right"}
    assert made_for(b for b in blocks if b.label.startswith("test")) == {"right"}
    _, rates, names, emphasis = apparatus.fitted[-1]
    fitted = ("right",) if isinstance(amendment, DropSite) else SITES
    assert names == fitted
    assert len(rates) == len(emphasis) == len(fitted)


def test_images_of_a_dropped_site_leave_the_running_test():
    whole = told(stretch, MadeUpApparatus(), learning={"rounds": 0})
    first = next(n for n, block in enumerate(whole) if block.label.startswith("test"))
    drop = DropSite(thread="t", site="left")
    blocks = told(stretch, MadeUpApparatus(), {first: [drop]}, learning={"rounds": 0})
    later = [b for b in blocks if b.label.startswith(("test, repetition 1", "test, repetition 2"))]
    assert later
    assert all(each.targets != ("left",) for each in stimuli(later).values())


def test_without_any_target_the_thread_ends():
    drops = [DropSite(thread="t", site=site) for site in SITES]
    blocks = told(stretch, MadeUpApparatus(), {0: drops[:1], 1: drops[1:]}, learning={"rounds": 0})
    assert phases(blocks) == ["mapping"]


def test_a_population_of_one_is_none():
    drop = DropSite(thread="t", site="left")
    blocks = told(one_hot_population, LearningApparatus(), {6: [drop]})
    assert "test" not in phases(blocks)


def test_other_targets_that_nothing_can_be_made_for_change_nothing():
    apparatus = MadeUpApparatus()
    other = Retarget(thread="t", sites=("elsewhere",))
    blocks = told(stretch, apparatus, {0: [other]}, learning={"rounds": 0})
    assert made_for(blocks) == set(SITES)


def test_map_responses_ends_with_the_block():
    apparatus = MadeUpApparatus()
    plan = map_responses(map_responses.Settings(n_images=9, images_per_block=4), apparatus)
    block = next(plan).at(0, "t")
    with pytest.raises(StopIteration):
        plan.send(answers(block).with_amendments([FINISH]))


# --- an encoder of another day -----------------------------------------------------------------


class HalfForgotten(BrightnessEncoder):
    """Predicts what `right` does, and nothing of `left`."""

    site_ids = ("left", "right", "gone")

    def predict(self, images):
        rates = super().predict(images)
        return np.stack([-rates[:, 0], rates[:, 1], rates[:, 0]], axis=1)


@pytest.fixture
def forgotten():
    apparatus = MadeUpApparatus()
    apparatus.encoder = lambda file: HalfForgotten()
    return apparatus


def checked(apparatus, **changes):
    values = {
        "encoder": "yesterday.safetensors",
        "candidates": CANDIDATES,
        "targets": SITES,
        "check": {"n_images": 6, "repetitions": 2},
        "learning": {"rounds": 0},
    }
    return told(stretch, apparatus, **{**values, **changes})


def test_a_target_that_is_not_predicted_any_more_is_left_out(forgotten):
    blocks = checked(forgotten)
    assert phases(blocks) == ["check", "test"]
    check = [block for block in blocks if block.label.startswith("check")]
    assert len(stimuli(check)) == 6
    assert made_for(blocks) == {"right"}
    said = json.loads(forgotten.published["check.json"])
    assert said["kept"] == ["right"]
    assert said["r"]["left"] < 0 < 0.9 < said["r"]["right"]
    assert forgotten.required[:2] == list(SITES), "the other sites may be gone"


def test_if_none_is_left_the_thread_ends(forgotten):
    assert phases(checked(forgotten, targets=("left",))) == ["check"]


def test_without_candidates_the_check_comes_before_the_mapping(forgotten):
    assert phases(checked(forgotten, candidates=None)) == ["check", "mapping", "test"]


def test_the_best_of_an_encoders_sites_are_among_those_recorded(forgotten):
    blocks = checked(forgotten, candidates=None, targets={"best": 2, "least_reliability": 0.5})
    assert forgotten.required[0] in SITES, "no site is required beforehand"
    assert made_for(blocks) == {"right"}


def test_a_population_must_be_recorded_whole(forgotten):
    plan = one_hot_population(
        one_hot_population.Settings(
            encoder="yesterday.safetensors", candidates=CANDIDATES, targets=("left",)
        ),
        forgotten,
    )
    next(plan)
    assert set(forgotten.required) >= {"left", "right", "gone"}


def test_a_check_needs_an_encoder():
    with pytest.raises(ValueError, match="a check needs an encoder"):
        stretch.Settings(check={})
    with pytest.raises(ValueError, match="two ways"):
        stretch.Settings(encoder="a", sessions=("b",))


def test_codes_of_yesterday_come_first(random):
    found = random.standard_normal((4, 3)).astype(np.float32)
    sample = among(found, lambda n, r: r.standard_normal((n, 3), dtype=np.float32), 0.5)
    np.testing.assert_array_equal(sample(6, random)[:4], found)
