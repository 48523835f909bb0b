"""Gains of synthesised images, from sessions whose counts are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from protocols.documents import EventKind
from protocols.seeds import random_stream
from protocols.vocabulary import Block, BlockResponses, Outcome, Role
from synth_server.readers.control.gains import summaries
from synth_server.readers.control.gains_table import print_control
from synth_server.readers.figures.control import draw_control
from synth_server.readers.log.synthesised_images import ControlRecord, ControlThread
from synth_server.readers.statistics import bootstrap
from synth_server.readers.statistics.bootstrap import (
    ImageSample,
    Sampled,
    mean_over,
    median_over,
    ratio,
)

SITES = ("a", "b", "c")


def events(shown, aim, seed=3):
    """The events of a session that showed `shown`: (role, targets, counts `(n_reps, 3)`) each."""
    thread = {"name": "t", "protocol": aim, "settings": {}}
    settings = {"session_id": "s", "seed": seed, "threads": [thread]}
    start = {"log_version": 2, "wire_version": 4, "settings": settings}
    start |= {"equipment": {}, "versions": {}, "device": "cpu"}
    images = np.random.default_rng(0).integers(0, 256, (len(shown), 8, 8, 3), dtype=np.uint8)
    block = Block.of(
        images,
        roles=[role for role, _, _ in shown],
        labels=[f"{role} {n}" for n, (role, _, _) in enumerate(shown)],
        targets=[targets for _, targets, _ in shown],
        order=[n for n, (_, _, counts) in enumerate(shown) for _ in counts],
    ).at(0, "t")
    presentations = tuple(
        cue.presentation(
            onset_s=0,
            outcome=Outcome.COMPLETED,
            spike_counts=tuple(shown[cue.stimulus_index][2][cue.repetition]),
        )
        for cue in block.cues()
    )
    answer = BlockResponses(block_index=0, site_ids=SITES, presentations=presentations)
    documents = (
        (EventKind.SESSION_STARTED, start),
        (EventKind.BLOCK_PROPOSED, block.document()),
        (EventKind.RESPONSES_RECEIVED, answer.model_dump(mode="json")),
    )
    return block, [SimpleNamespace(kind=kind, document=values) for kind, values in documents]


def summary_of(shown, aim="stretch", seed=3):
    record = ControlRecord()
    for event in events(shown, aim, seed)[1]:
        record.feed(event)
    (found,) = summaries(record)
    return found, record


def constant(*rates, n=4):
    return np.tile(np.array(rates, float), (n, 1))


NATURAL = [(Role.NATURAL, (), constant(2 + i, 4 - i, 3 + i % 2, n=2)) for i in range(3)]
KNOWN = [
    *NATURAL,
    (Role.STRETCH, ("a",), constant(10, 1, 3)),
    (Role.STRETCH, ("a",), constant(14, 1, 3)),
    (Role.STRETCH, ("b",), constant(3, 2, 3)),
    (Role.BEST_NATURAL, ("a", "b"), constant(4, 5, 3)),
    (Role.BEST_NATURAL, ("a",), constant(6, 9, 3)),
    (Role.CONTRAST_ENHANCED, ("a",), constant(7, 0, 3)),
    (Role.NOISE, ("a", "b"), constant(1, 1, 1)),
]


def test_gains_are_what_the_counts_say():
    found, _ = summary_of(KNOWN)
    a, b = found.sites
    assert (a.site, b.site, found.aim, a.n_images) == ("a", "b", "stretch", 2)
    assert a.synthesised.value == 12
    assert a.best_natural.value == 6, "the higher of its own two"
    assert a.best_natural_name == "best_natural 7"
    assert b.best_natural.value == 5, "the other one was not chosen for b"
    assert (a.contrast_enhanced.value, a.noise.value, a.others.value) == (7, 1, 3)
    assert (a.gain.value, a.uniqueness.value) == (2, 4)
    assert b.gain.value == pytest.approx(0.4)
    assert b.contrast_enhanced.value is None
    assert found.median_gain.value == pytest.approx(1.2)
    assert found.share_above_1 == 0.5


def test_the_best_of_equal_images_is_no_better_than_they_are(monkeypatch):
    """The highest of three noisy means lies 15 % above the truth here; the estimate may not."""
    monkeypatch.setattr(bootstrap, "N_RESAMPLES", 2)
    stream, found = random_stream(0, "equal images"), []
    for _ in range(25):
        rivals = [(Role.BEST_NATURAL, SITES, c.astype(float)) for c in stream.poisson(5, (3, 6, 3))]
        made = [(Role.STRETCH, (site,), constant(10, 10, 10)) for site in SITES]
        found += [each.best_natural.value for each in summary_of(made + rivals)[0].sites]
    assert np.mean(found) == pytest.approx(5, rel=0.06)


def test_counts_that_never_vary_have_intervals_of_their_images_only():
    a = summary_of(KNOWN)[0].sites[0]
    assert (a.best_natural.low, a.best_natural.high) == (6, 6)
    assert (a.synthesised.low, a.synthesised.high) == (10, 14)
    assert (a.gain.low, a.gain.high) == pytest.approx((10 / 6, 14 / 6))


def test_scores_are_the_softmax_of_responses_z_scored_over_the_mapping():
    a = summary_of(KNOWN)[0].sites[0]
    mapped = np.array([counts[0] for _, _, counts in NATURAL])
    mean, sd = mapped.mean(axis=0), mapped.std(axis=0)

    def score(rates):
        z = (np.array(rates) - mean) / sd
        return (np.exp(z) / np.exp(z).sum())[0]

    assert a.score.value == pytest.approx((score([10, 1, 3]) + score([14, 1, 3])) / 2)
    assert a.natural_score.value == pytest.approx(max(score([4, 5, 3]), score([6, 9, 3])))
    assert a.score_ratio.value == pytest.approx(a.score.value / a.natural_score.value)
    assert [each.site for each in a.population] == list(SITES)
    assert a.population[0].synthesised == pytest.approx((12 - mean[0]) / sd[0])


def test_without_a_mapping_there_are_gains_and_no_scores():
    found, _ = summary_of(KNOWN[3:])
    assert found.sites[0].gain.value == 2
    assert found.sites[0].score.value is None
    assert found.sites[0].population == ()


def test_nothing_to_divide_by_is_no_gain():
    shown = [
        (Role.STRETCH, ("a",), constant(5, 1, 1)),
        (Role.BEST_NATURAL, ("a",), constant(0, 1, 1)),
    ]
    found, _ = summary_of(shown)
    assert found.sites[0].gain.value is None
    assert found.median_gain.value is None
    assert found.share_above_1 is None


def test_the_same_log_has_the_same_intervals_and_another_seed_has_others(random):
    shown = [(role, targets, random.poisson(5, (9, 3)).astype(float)) for role, targets, _ in KNOWN]
    first, again, other = (summary_of(shown, seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert first.sites[0].gain.value == other.sites[0].gain.value
    assert first.sites[0].gain.low != other.sites[0].gain.low


def test_intervals_of_a_mean_cover_the_truth_about_as_often_as_they_say():
    stream, covered = random_stream(0, "coverage"), 0
    for _ in range(200):
        counts = stream.poisson(4.0, (30, 1)).astype(float)
        found = ImageSample(counts, stream).at(0).estimate()
        covered += found.low <= 4.0 <= found.high
    assert 178 <= covered <= 199


def test_a_median_over_sites_resamples_sites():
    sure = [Sampled(value, np.full(bootstrap.N_RESAMPLES, value)) for value in (1.0, 2.0, 9.0)]
    found = median_over(sure, random_stream(0)).estimate()
    assert (found.value, found.low, found.high) == (2.0, 1.0, 9.0)


def test_a_mean_over_one_image_has_its_interval():
    one = ImageSample(np.array([[1.0], [3.0]]), random_stream(1)).at(0)
    assert mean_over([one], random_stream(2)).estimate() == one.estimate()
    assert mean_over([], random_stream(2)) is None
    assert ratio(one, None) is None


@pytest.mark.parametrize("aim", [Role.STRETCH, Role.ONE_HOT_POPULATION])
def test_table_and_figure_are_drawn(tmp_path, monkeypatch, aim):
    shown = [(aim if r is Role.STRETCH else r, t, c) for r, t, c in KNOWN]
    block, _ = events(shown, aim)
    found, record = summary_of(shown, aim)
    pixels = dict(zip(block.stimulus_ids, block.images, strict=True))
    log = SimpleNamespace(array=pixels.__getitem__, close=lambda: None)
    monkeypatch.setattr("synth_server.readers.figures.control.SessionLog", lambda _: log)
    draw_control(found, record.threads["t"], tmp_path / "s.sqlite", tmp_path / "stretch")
    out = tmp_path / "stretch.png"
    with Image.open(out) as drawn:
        assert 0.02 < (np.asarray(drawn.convert("L")) < 128).mean() < 0.9
    console = Console(record=True, width=160)
    print_control(found, console)
    text = console.export_text()
    assert "× 2.00 [1.67–2.33]" in text
    assert "above 1 at 1 of 2 sites" in text
    assert ("Softmax score" in text) is (aim is Role.ONE_HOT_POPULATION)


def test_a_thread_that_only_evolves_has_no_gains():
    record = ControlRecord()
    for event in events([(Role.EVOLVED, (), constant(1, 2, 3))], "evolve")[1]:
        record.feed(event)
    assert summaries(record) == ()
    assert ControlThread("t", 1.0).aim is None
