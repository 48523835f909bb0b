"""What is computed on several cores has the bits of one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from encoders.encoder import Scaling
from encoders.ensemble import EnsembleEncoder
from encoders.features import FeatureExtractor, FeatureStore, Tap
from encoders.fitting import FitSettings, fit
from encoders.parallel import in_parallel, n_cores
from encoders.recording import Recording
from protocols.errors import DataError
from tests.encoder_files import SITES, TAP, small_encoder

TAPS = (TAP, TAP.model_copy(update={"layer": "blocks.1"}), TAP.model_copy(update={"seed": 1}))


@pytest.fixture
def pictures(random):
    return random.integers(0, 256, (19, 32, 32, 3)).astype(np.uint8)


def test_results_come_in_the_order_of_the_tasks_and_all_at_once():
    """Each task waits for the other two: one after another they would wait for ever."""
    barrier = threading.Barrier(3, timeout=60)
    threads: list[int] = []

    def task(number: int) -> int:
        barrier.wait()
        threads.append(torch.get_num_threads())
        return number

    tasks = [lambda n=n: task(n) for n in range(3)]
    assert in_parallel(tasks, 3) == [0, 1, 2]
    assert threads == [1, 1, 1]
    assert n_cores() >= 1


def test_the_first_error_is_raised_and_what_has_not_begun_is_left():
    begun: list[int] = []

    def task(number: int) -> None:
        begun.append(number)
        raise DataError(f"task {number}")

    with pytest.raises(DataError, match="task"):
        in_parallel([lambda n=n: task(n) for n in range(200)], 2)
    assert len(begun) < 200


def test_torch_has_its_threads_again():
    before = torch.get_num_threads()
    in_parallel([lambda: None] * 4, 2)
    assert torch.get_num_threads() == before


def test_features_do_not_depend_on_workers_nor_on_company(pictures):
    extractor = FeatureExtractor(TAP, device="cpu")
    alone = extractor.features(pictures)
    assert torch.equal(extractor.features(pictures, workers=3), alone)
    for row in (0, 9, 18):
        assert torch.equal(extractor.features(pictures[row : row + 1])[0], alone[row])


def test_a_fit_does_not_depend_on_workers(pictures, random):
    counts = random.poisson(8.0, (3, len(pictures))).astype(float)
    recording = Recording.of(pictures, counts, SITES)
    settings = FitSettings(taps=TAPS, max_sweeps=3)
    one, two = (
        fit(recording, settings, FeatureStore(device="cpu", workers=n), workers=n) for n in (1, 2)
    )
    assert one.candidates == two.candidates
    assert np.array_equal(one.encoder.predict(pictures), two.encoder.predict(pictures))


def test_an_image_with_emphasis_is_fitted_better(pictures, random):
    counts = random.poisson(8.0, (3, len(pictures))).astype(float)
    counts[0, 4] = 60
    recording = Recording.of(pictures, counts, SITES)
    settings = FitSettings(taps=(TAP,), max_sweeps=3, penalties=FitSettings().penalties[:1])
    emphasis = np.ones((len(pictures), 3))
    emphasis[4, 0] = 50
    plain = fit(recording, settings).encoder.predict(pictures)
    heavy = fit(recording, settings, emphasis=emphasis).encoder.predict(pictures)
    assert abs(heavy[4, 0] - 60) < 0.5 * abs(plain[4, 0] - 60)
    assert np.allclose(heavy[:, 2], plain[:, 2], atol=0.2)


def test_the_parts_of_an_ensemble_are_its_networks_and_their_mean_is_it(pictures):
    members = [
        small_encoder(seed=0),
        small_encoder(seed=1),
        small_encoder(seed=2),
    ]
    other = FeatureExtractor(Tap(**{**TAP.model_dump(), "seed": 3}), device="cpu")
    members[2].extractor = other
    scales = [Scaling(torch.full((3,), n), torch.full((3,), 2.0 + n)) for n in range(3)]
    ensemble = EnsembleEncoder(members, scales, Scaling(torch.zeros(3), torch.ones(3)))
    assert ensemble.n_parts == 2
    pixels = torch.from_numpy(pictures[:4] / np.float32(255)).permute(0, 3, 1, 2)
    with torch.no_grad():
        parts = [ensemble.rates_of_part(pixels, number) for number in (0, 1, 2)]
        whole = ensemble.rates(pixels)
    assert torch.equal(parts[0], parts[2]), "the first comes again"
    assert torch.allclose((2 * parts[0] + parts[1]) / 3, whole, atol=1e-4)
