"""Plans, driven by hand."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import SettingsError
from protocols.vocabulary import BlockResponses, Outcome, Role
from synth_server.session.build import build_plans, resolved
from synth_server.session.equipment import Equipment
from tests.playing import made_up_responses


def _plan(protocol, settings, seed=0):
    thread = ThreadSettings(name="t", protocol=protocol, settings=settings)
    session = SessionSettings(session_id="s", seed=seed, threads=(thread,))
    return build_plans(resolved(session), Equipment())["t"]


EVOLVE = {
    "n_generations": 2,
    "test_repetitions": 0,
    "n_references": 3,
    "generator": {"name": "pixels", "options": {"size_px": 16}},
    "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 5}},
    "objective": {"name": "mean_of_sites"},
}


def _without(responses, stimulus_ids):
    """The same responses, but these stimuli were never completed."""
    presentations = tuple(
        shown.model_copy(update={"outcome": Outcome.FIXATION_BREAK, "spike_counts": None})
        if shown.stimulus_id in stimulus_ids
        else shown
        for shown in responses.presentations
    )
    return BlockResponses(
        block_index=responses.block_index,
        site_ids=responses.site_ids,
        presentations=presentations,
    )


def test_every_generation_shows_references_among_the_evolved():
    plan = _plan("evolve", EVOLVE)
    first = next(plan).at(0, "t")
    second = plan.send(made_up_responses(first)).at(1, "t")
    for number, block in enumerate((first, second)):
        assert len(block.indices(Role.EVOLVED)) == 5
        assert len(block.indices(Role.REFERENCE)) == 3
        assert sorted(block.order) == list(range(8))
        assert block.order != tuple(range(8))
        assert block.generation == number
    assert first.stimulus_ids[5:] == second.stimulus_ids[5:]
    with pytest.raises(StopIteration):
        plan.send(made_up_responses(second))


def test_unmeasured_images_are_carried_over():
    plan = _plan("evolve", EVOLVE)
    first = next(plan).at(0, "t")
    missing = first.stimulus_ids[2]
    second = plan.send(_without(made_up_responses(first), {missing}))
    assert missing in second.stimulus_ids


def test_unmeasured_images_are_shown_again_if_asked():
    plan = _plan("evolve", {**EVOLVE, "unmeasured": "reshow", "max_reshows": 2})
    first = next(plan).at(0, "t")
    missing = set(first.stimulus_ids[1:3])
    again = plan.send(_without(made_up_responses(first), missing)).at(1, "t")
    assert set(again.stimulus_ids) == missing
    assert again.generation == 0
    second = plan.send(made_up_responses(again))
    assert second.generation == 1


def test_an_image_that_is_never_seen_does_not_hold_the_session_up():
    plan = _plan("evolve", {**EVOLVE, "unmeasured": "reshow", "max_reshows": 2})
    block = next(plan).at(0, "t")
    never = block.stimulus_ids[0]
    shown_again = 0
    while block.generation == 0:
        block = plan.send(_without(made_up_responses(block), {never})).at(block.index + 1, "t")
        shown_again += 1
    assert shown_again == 3
    assert never in block.stimulus_ids


def test_one_seed_gives_one_session():
    digests = {next(_plan("evolve", EVOLVE, seed)).digest for seed in (1, 1, 2)}
    assert len(digests) == 2


def test_mapping_shows_every_image_once_before_any_again():
    settings = {"n_images": 5, "image_size_px": 16, "repetitions": 3, "images_per_block": 2}
    plan = _plan("map_responses", settings)
    blocks = []
    block = next(plan)
    while True:
        blocks.append(block)
        try:
            block = plan.send(made_up_responses(block.at(len(blocks) - 1, "t")))
        except StopIteration:
            break
    shown = [name for block in blocks for name in block.stimulus_ids]
    assert len(shown) == 15
    passes = [shown[start : start + 5] for start in (0, 5, 10)]
    assert len({frozenset(one) for one in passes}) == 1
    assert all(len(set(one)) == 5 for one in passes)
    assert len({tuple(one) for one in passes}) == 3


def test_two_threads_of_one_name_are_refused(evolve_settings):
    twice = evolve_settings.model_copy(update={"threads": evolve_settings.threads[:1] * 2})
    with pytest.raises(SettingsError, match="two threads"):
        resolved(twice)


def test_mean_counts_reach_the_optimizer_by_image_and_not_by_place():
    """Brighter images get more spikes, in any order of showing: brightness must rise."""
    plan = _plan("evolve", {**EVOLVE, "n_generations": 15})
    block = next(plan).at(0, "t")
    first = block.images[:5].mean()
    while block.generation < 14:
        block = plan.send(made_up_responses(block)).at(block.index + 1, "t")
    assert np.mean(block.images[:5]) > first + 3
