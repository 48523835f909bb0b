import time

import numpy as np
import pytest

from protocols.errors import DataError, SettingsError, StimloopError
from protocols.seeds import random_stream
from protocols.settings import validated
from synth_server.synthesis.optimizers.genetic import PRESETS, GeneticAlgorithm, GeneticSettings
from synth_server.synthesis.optimizers.random_search import RandomSearch, RandomSearchSettings

DIM = 16


def sample(n, random):
    return random.standard_normal((n, DIM), dtype=np.float32)


def genetic(seed=0, **options):
    return GeneticAlgorithm(GeneticSettings(**options), sample, random_stream(seed, "genetic"))


def climb(optimizer, n_generations):
    best = []
    for _ in range(n_generations):
        codes = optimizer.ask()
        fitness = -np.square(codes - 1.5).mean(axis=1).astype(np.float64)
        best.append(fitness.max())
        optimizer.tell(codes, fitness)
    return best


def test_presets_are_the_published_ones():
    published = ("xdream", "poncelab", "wang_ponce")
    xdream, rig, baseline = (GeneticSettings(preset=name) for name in published)
    assert {xdream.mutation_decay, rig.mutation_decay, baseline.mutation_decay} == {1.0}
    assert (xdream.population, xdream.n_conserve, xdream.temperature) == (20, 1, 0.5)
    assert (rig.population, rig.n_conserve, rig.temperature) == (30, 10, 2.0)
    assert (baseline.population, baseline.mutation_rate, baseline.mutation_size) == (40, 0.25, 0.75)


def test_default_is_the_default_preset():
    assert GeneticSettings() == GeneticSettings(preset=GeneticSettings().preset)


def test_an_option_overrides_its_preset_only():
    chosen = validated(GeneticSettings, {"preset": "xdream", "population": 25}, where="test")
    assert (chosen.population, chosen.mutation_rate) == (25, 0.5)
    assert GeneticSettings.model_validate(chosen.model_dump()) == chosen


@pytest.mark.parametrize(
    "options", [{"preset": "nonesuch"}, {"n_conserve": 30}, {"mutation_rate": 1.5}, {"pop": 3}]
)
def test_wrong_settings_are_refused(options):
    with pytest.raises(SettingsError):
        validated(GeneticSettings, options, where="test")


@pytest.mark.parametrize("preset", PRESETS)
def test_it_climbs_where_random_search_does_not(preset):
    evolved = climb(genetic(preset=preset), 60)
    control = RandomSearch(RandomSearchSettings(population=30), sample, random_stream(0, "control"))
    assert evolved[-1] > max(climb(control, 60)) > evolved[0] - 1


def test_selection_is_exponential_in_clipped_fitness():
    optimizer = genetic(preset="poncelab", population=5, n_conserve=0)
    scores = np.array([4.0, 3.0, 2.0, 1.0, 0.0])
    chances = optimizer._chances(scores)
    clipped = np.minimum(scores, np.percentile(scores, 95))
    kt = 2.0 * scores.std()
    assert chances == pytest.approx(np.exp(clipped / kt) / np.exp(clipped / kt).sum())


def test_unmeasured_codes_come_first_and_the_best_next():
    optimizer = genetic(population=6, n_conserve=2)
    codes = optimizer.ask()
    optimizer.tell(codes, np.array([np.nan, 5.0, 1.0, 9.0, np.nan, 2.0]))
    after = optimizer.ask()
    assert {row.tobytes() for row in after[:2]} == {codes[0].tobytes(), codes[4].tobytes()}
    assert np.array_equal(after[2:4], codes[[3, 1]])


def test_nothing_measured_asks_the_same_again():
    optimizer = genetic()
    codes = optimizer.ask()
    optimizer.tell(codes, np.full(len(codes), np.nan))
    assert np.array_equal(optimizer.ask(), codes)


def test_one_measured_code_fathers_all():
    optimizer = genetic(population=4, n_conserve=1, mutation_rate=0.0)
    codes = optimizer.ask()
    optimizer.tell(codes, np.array([np.nan, np.nan, 3.0, np.nan]))
    after = optimizer.ask()
    assert sorted(map(bytes, after)) == sorted(map(bytes, codes))


def test_annealing_shrinks_mutations_down_to_a_floor():
    optimizer = genetic(mutation_decay=0.5)
    sizes = []
    for _ in range(4):
        sizes.append(optimizer._annealing)
        optimizer.tell(optimizer.ask(), np.arange(30.0))
    assert sizes == pytest.approx([1.0, 0.5, 0.25, 0.2])


def test_mutation_has_the_rate_and_size_of_the_settings():
    optimizer = GeneticAlgorithm(
        GeneticSettings(preset="poncelab", population=40, n_conserve=0),
        lambda n, random: np.zeros((n, 4096), np.float32),
        random_stream(0, "genetic"),
    )
    optimizer.tell(optimizer.ask(), np.arange(40.0))
    children = optimizer.ask()
    assert np.mean(children != 0) == pytest.approx(0.25, abs=0.01)
    assert children[children != 0].std() == pytest.approx(0.75, abs=0.01)


def test_order_and_answers_are_guarded():
    optimizer = genetic()
    with pytest.raises(StimloopError, match="before ask"):
        optimizer.tell(np.zeros((30, DIM), np.float32), np.zeros(30))
    codes = optimizer.ask()
    with pytest.raises(StimloopError, match="twice"):
        optimizer.ask()
    with pytest.raises(DataError, match="not the codes asked for"):
        optimizer.tell(codes + 1, np.zeros(30))
    with pytest.raises(DataError, match="infinite"):
        optimizer.tell(codes, np.full(30, np.inf))
    with pytest.raises(DataError, match="wrong shape"):
        optimizer.tell(codes[:5], np.zeros(5))
    optimizer.tell(codes, np.zeros(30))


def test_changing_what_was_asked_changes_nothing_inside():
    optimizer, untouched = genetic(), genetic()
    codes = optimizer.ask()
    kept = codes.copy()
    codes[:] = 7
    optimizer.tell(kept, np.arange(30.0))
    untouched.tell(untouched.ask(), np.arange(30.0))
    assert np.array_equal(optimizer.ask(), untouched.ask())


def test_a_generation_of_fc6_codes_is_bred_quickly():
    optimizer = GeneticAlgorithm(
        GeneticSettings(preset="wang_ponce"),
        lambda n, random: random.standard_normal((n, 4096), dtype=np.float32),
        random_stream(0, "genetic"),
    )
    started = time.perf_counter()
    for _ in range(5):
        optimizer.tell(optimizer.ask(), np.arange(40.0))
    assert (time.perf_counter() - started) / 5 < 0.25
