"""An evolution's start and its test, driven by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from protocols.digests import image_id
from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import SettingsError
from protocols.experiments.final_test import (
    Candidates,
    Evolved,
    Generation,
    ScoredPhotographs,
    compared,
    final_block,
)
from protocols.experiments.warm_start import among
from protocols.interfaces import PhotographSet
from protocols.vocabulary import Outcome, Role, Timing
from synth_server.session.build import build_plans, new_session, resolved
from synth_server.session.equipment import Equipment
from synth_server.synthesis.generators.pixels import PixelGenerator, PixelSettings
from tests.playing import attach, made_up_responses, play

PIXELS = {"size_px": 16, "grid": 8}
START = {"n_images": 12, "repetitions": 2, "images_per_block": 8, "best": 3}
EVOLVE = {
    "n_generations": 3,
    "test_repetitions": 0,
    "n_references": 6,
    "generator": {"name": "pixels", "options": PIXELS},
    "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 5}},
    "objective": {"name": "site", "options": {"site": "site-00"}},
}
"""`site-00` likes brightness."""


def driven(settings, seed=0, respond=made_up_responses):
    """All blocks of an evolution."""
    thread = ThreadSettings(name="t", protocol="evolve", settings={**EVOLVE, **settings})
    session = resolved(SessionSettings(session_id="s", seed=seed, threads=(thread,)))
    plan = build_plans(session, Equipment())["t"]
    blocks = [next(plan).at(0, "t")]
    while True:
        try:
            blocks.append(plan.send(respond(blocks[-1])).at(len(blocks), "t"))
        except StopIteration:
            return blocks


def evolved_in(block):
    return block.stimulus_ids[:5], block.images[:5]


def roles(block):
    return Counter(stimulus.role for stimulus in block.stimuli)


# --- the start ---------------------------------------------------------------------------------


def test_a_start_shows_every_photograph_in_each_pass():
    blocks = driven({"start": START})
    start = [block for block in blocks if block.label == "start"]
    assert [len(block.order) for block in start] == [8, 4, 8, 4]
    assert all(roles(block).keys() == {Role.NATURAL} for block in start)
    assert all(block.generation is None for block in start)
    shown = Counter(name for block in start for name in block.stimulus_ids)
    assert (len(shown), set(shown.values())) == (12, {2})
    assert blocks[4].generation == 0


def test_the_first_population_begins_with_the_best_photographs():
    """The three brightest, brightest first."""
    blocks = driven({"start": START})
    natural = {
        name: image.mean()
        for block in blocks[:4]
        for name, image in zip(block.stimulus_ids, block.images, strict=True)
    }
    brightest = sorted(natural.values(), reverse=True)[:3]
    evolved = blocks[4].images[:5]
    assert evolved[:3].mean(axis=(1, 2, 3)) == pytest.approx(brightest, abs=8)
    cold = driven({})[0].images[:5]
    assert evolved.mean() > cold.mean() + 5


def test_what_was_never_measured_is_no_start():
    def none_completed(block):
        responses = made_up_responses(block)
        if block.label != "start":
            return responses
        lost = {"outcome": Outcome.ABORTED, "spike_counts": None}
        presentations = tuple(p.model_copy(update=lost) for p in responses.presentations)
        return responses.model_copy(update={"presentations": presentations})

    blocks = driven({"start": START}, respond=none_completed)
    assert np.array_equal(blocks[4].codes, driven({})[0].codes)


def test_seeds_give_other_starts_and_one_seed_the_same():
    digests = [[b.digest for b in driven({"start": START}, seed)] for seed in (1, 1, 2)]
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]


def test_codes_lie_among_those_found(random):
    generator = PixelGenerator(PixelSettings(**PIXELS))
    found = generator.sample_codes(4, random) + 10
    sample = among(found, generator.sample_codes, 0.5)
    drawn = sample(200, np.random.default_rng(1))
    assert np.array_equal(drawn[:4], found)
    assert drawn.dtype == np.float32
    assert drawn[4:].mean() == pytest.approx(np.sqrt(0.75) * 10, abs=0.1)
    assert np.array_equal(sample(3, random), found[:3])
    assert np.array_equal(drawn, sample(200, np.random.default_rng(1)))


def test_codes_drawn_among_normal_ones_are_as_long_as_those(random):
    generator = PixelGenerator(PixelSettings(**PIXELS))
    sample = among(generator.sample_codes(20, random), generator.sample_codes, 0.5)
    assert sample(300, random)[20:].std() == pytest.approx(1, abs=0.03)


def test_a_child_takes_numbers_from_two_parents(random):
    found = np.stack([np.zeros(1000), np.ones(1000)]).astype(np.float32)
    drawn = among(found, lambda n, _: np.zeros((n, 1000), np.float32), 0)(30, random)[2:]
    assert set(np.unique(drawn)) == {0, 1}
    shares = drawn.mean(axis=1)
    assert ((shares > 0.4) & (shares < 0.6)).sum() in range(8, 22), "half have equal parents"


# --- references and gray -----------------------------------------------------------------------


def test_gray_is_shown_where_it_is_the_baseline():
    blocks = driven({"normalisation": {"baseline": "blank", "n_blanks": 3}})
    for block in blocks:
        assert roles(block) == {Role.EVOLVED: 5, Role.REFERENCE: 6, Role.CONTROL: 1}
        assert Counter(block.order)[11] == 3
        assert (block.images[11] == 128).all()


def test_normalised_fitness_reaches_the_optimizer():
    """A site that dies away leaves the normalised evolution as it would have been."""

    def fading(block):
        responses = made_up_responses(block)
        factor = 0.5**block.index
        presentations = tuple(
            p.model_copy(update={"spike_counts": (factor * p.spike_counts[0], p.spike_counts[1])})
            for p in responses.presentations
        )
        return responses.model_copy(update={"presentations": presentations})

    weights = {"weights": {"site-00": 1.0, "site-01": -0.9}}
    raw = {"objective": {"name": "weighted_sites", "options": weights}}
    settings = {**raw, "normalisation": {"scale": "mean", "window_blocks": 1}}
    steady, faded = driven(settings), driven(settings, respond=fading)
    assert [b.digest for b in steady] == [b.digest for b in faded]
    assert driven(raw)[-1].digest != driven(raw, respond=fading)[-1].digest


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_references": 0, "normalisation": {"scale": "mean"}}, "n_references of at least 1"),
        ({"n_references": 1, "normalisation": {"scale": "sd"}}, "n_references of at least 2"),
        ({"n_references": 0, "test_repetitions": 5}, "a test needs natural images"),
        ({"start": {"best": 0}}, "start.best"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        driven(settings)


# --- the test ----------------------------------------------------------------------------------


def test_the_last_block_is_a_test():
    blocks = driven({"test_repetitions": 4, "n_test_images": 3, "n_test_natural": 2})
    assert [block.label for block in blocks[:-1]] == [f"generation {n}" for n in range(3)]
    test = blocks[-1]
    assert (test.label, test.generation) == ("test", None)
    assert roles(test) == {Role.EVOLVED: 3, Role.BEST_NATURAL: 2, Role.REFERENCE: 2}
    passes = np.array(test.order).reshape(4, 7)
    assert (np.sort(passes, axis=1) == np.arange(7)).all()
    assert len({tuple(each) for each in passes}) == 4
    generator = PixelGenerator(PixelSettings(**PIXELS))
    assert np.array_equal(generator(test.codes), test.images[:3])
    evolved = {name for b in blocks[:-1] for name in b.stimulus_ids[:5]}
    references = set(blocks[0].stimulus_ids[5:])
    assert set(test.stimulus_ids[:3]) <= evolved
    assert set(test.stimulus_ids[3:]) <= references


def test_the_best_are_tested():
    blocks = driven({"test_repetitions": 1, "n_test_images": 3, "n_test_natural": 2})
    test = blocks[-1]
    seen = {
        name: image.mean() for b in blocks[:-1] for name, image in zip(*evolved_in(b), strict=True)
    }
    tested = test.images[:3].mean((1, 2, 3))
    assert sorted(tested)[0] >= sorted(seen.values())[-6]
    references = blocks[0].images[5:].mean((1, 2, 3))
    best = test.images[list(test.indices(Role.BEST_NATURAL))].mean((1, 2, 3))
    others = test.images[list(test.indices(Role.REFERENCE))].mean((1, 2, 3))
    assert min(best) > max(others)
    assert len(best) + len(others) < len(references)


def test_the_best_photographs_of_the_start_are_tested_too():
    settings = {"start": START, "test_repetitions": 2, "n_test_natural": 2, "n_references": 0}
    blocks = driven(settings)
    test = blocks[-1]
    assert roles(test) == {Role.EVOLVED: 10, Role.BEST_NATURAL: 2}
    started = {name for block in blocks[:4] for name in block.stimulus_ids}
    assert {test.stimulus_ids[i] for i in test.indices(Role.BEST_NATURAL)} <= started


def generation(number, images, fitness):
    codes = images[:, 0, 0, :1].astype(np.float32)
    scores, of_references = np.array(fitness), np.array([1.0, np.nan])
    return Generation(
        number, codes, images, scores, of_references, scores[:, None], of_references[:, None]
    )


def flat(*levels):
    return np.stack([np.full((4, 4, 3), level, np.uint8) for level in levels])


def test_one_lucky_count_does_not_beat_what_was_seen_often():
    candidates = Candidates()
    for number in range(4):
        candidates.add(generation(number, flat(1, 10 + number), [8.0, 1.0]))
    candidates.add(generation(4, flat(1, 90), [8.0, 9.0]))
    best = candidates.evolved(2)
    assert best.codes[:, 0].tolist() == [1, 90]
    assert best.labels == ("generation 4, fitness 8", "generation 4, fitness 9")
    assert candidates.reference_scores()[0] == 1
    assert np.isnan(candidates.reference_scores()[1])


def test_only_the_last_generations_are_candidates():
    candidates = Candidates()
    for number in range(6):
        candidates.add(generation(number, flat(number), [10.0 - number]))
    assert candidates.evolved(10).codes[:, 0].tolist() == [1, 2, 3, 4, 5]


def test_what_was_not_measured_is_no_candidate():
    candidates = Candidates()
    candidates.add(generation(0, flat(1, 2), [np.nan, 3.0]))
    assert candidates.evolved(5).codes[:, 0].tolist() == [2]
    nothing = Candidates()
    nothing.add(generation(0, flat(1), [np.nan]))
    assert len(nothing.evolved(5).images) == 0


def test_other_references_are_drawn_at_random_and_differ_from_the_best(random):
    natural = PhotographSet(flat(*range(20)), tuple(f"n{i}" for i in range(20)))
    references = ScoredPhotographs(natural, np.arange(20.0))
    start = ScoredPhotographs(PhotographSet(flat(17, 30), ("n17", "s")), np.array([1.0, 2.0]))
    evolved = Evolved(flat(200), np.ones((1, 2), np.float32), ("e",))
    drawn = set()
    for seed in range(5):
        chosen = compared(evolved, references, start, 3, np.random.default_rng(seed)).all()
        assert chosen.labels[:6] == ("e", "n19", "n18", "n17", "s", chosen.labels[5])
        assert Counter(chosen.roles)[Role.REFERENCE] == 3
        assert not {"n17", "n18", "n19"} & set(chosen.labels[5:])
        drawn.add(chosen.labels[5:])
        block = final_block(chosen, evolved.codes, 2, random, Timing())
        assert block.stimulus_ids[0] == image_id(evolved.images[0])
    assert len(drawn) > 1


def test_a_test_of_nothing_is_left_out():
    def never(block):
        responses = made_up_responses(block)
        lost = {"outcome": Outcome.ABORTED, "spike_counts": None}
        presentations = tuple(p.model_copy(update=lost) for p in responses.presentations)
        return responses.model_copy(update={"presentations": presentations})

    start = {**START, "repetitions": 1}
    settings = {"start": start, "n_references": 0, "test_repetitions": 2}
    assert [b.label for b in driven(settings, respond=never)][-1] == "generation 2"
    with_references = driven({"test_repetitions": 2}, respond=never)[-1]
    assert roles(with_references) == {Role.REFERENCE: 5}


# --- the day after -----------------------------------------------------------------------------


def test_an_evolution_goes_on_from_the_population_of_a_log(tmp_path):
    path = tmp_path / "monday.sqlite"
    thread = ThreadSettings(name="t", protocol="evolve", settings=EVOLVE)
    session = new_session(SessionSettings(session_id="s", seed=1, threads=(thread,)), path)
    attach(session)
    play(session)
    last = session.block(session.n_proposed - 1)
    session.log.close()
    blocks = driven({"continued": {"session": str(path)}, "n_generations": 1}, seed=2)
    assert evolved_in(blocks[0])[0] == evolved_in(last)[0]
    other = {"size_px": 16, "grid": 4}
    with pytest.raises(SettingsError, match="another generator"):
        driven(
            {"continued": {"session": str(path)}, "generator": {"name": "pixels", "options": other}}
        )
    with pytest.raises(SettingsError, match="no such evolution"):
        driven({"continued": {"session": str(path), "thread": "other"}})
