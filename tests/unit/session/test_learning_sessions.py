"""Sessions that learn in rounds: replayed, recovered in any phase, and told to end."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import read_checkpoint
from protocols.documents import EventKind
from protocols.errors import SettingsError
from protocols.experiments.rounds import round_of
from protocols.settings import PluginChoice
from protocols.vocabulary import Role
from synth_server.readers.log.session_record import read_record
from synth_server.readers.summary.session_summary import summarize
from synth_server.session import encoders
from synth_server.session.build import new_session
from synth_server.session.encoders import SessionFit, SessionSynthesis
from synth_server.session.log import SessionLog
from synth_server.session.products import Products, products_folder
from synth_server.session.recovery import verify_replay
from tests.encoder_files import FIT
from tests.playing import SITES, attach, play
from tests.unit.session.test_control_sessions import _forbidden, resumed_to_end, settings

LEARNING = {
    "rounds": 2,
    "n_images": 2,
    "repetitions": 1,
    "explore": 0.5,
    "from_scratch": {"name": "quick", "options": {"n_steps": 2}},
    "from_best": {"name": "short", "options": {"n_steps": 2}},
}
N_MAPPING, N_BLOCKS = 2, 6


@pytest.fixture(autouse=True)
def one_torch_thread():
    with one_thread():
        yield


def begun(path, n_blocks, protocol="stretch", **changes):
    """A session that was killed after `n_blocks` blocks."""
    session = new_session(settings(protocol, learning={**LEARNING, **changes}), path)
    attach(session)
    play(session, n_blocks)
    session.log.close()
    return session


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A finished session, and its log."""
    path = tmp_path_factory.mktemp("learning") / "s.sqlite"
    session = begun(path, None)
    assert session.state == "finished"
    assert session.n_proposed == N_BLOCKS
    return session.digest, path


@pytest.mark.parametrize("n_blocks", [N_MAPPING - 1, N_MAPPING, N_MAPPING + 1, N_MAPPING + 3])
def test_killed_in_any_phase_it_goes_on_with_the_same_images(tmp_path, undisturbed, n_blocks):
    path = tmp_path / "s.sqlite"
    begun(path, n_blocks)
    assert resumed_to_end(path) == undisturbed[0]


def test_without_products_it_comes_out_the_same(tmp_path, undisturbed):
    path = tmp_path / "s.sqlite"
    begun(path, N_MAPPING + 2)
    for product in products_folder(path).iterdir():
        product.unlink()
    assert resumed_to_end(path) == undisturbed[0]


def test_with_products_nothing_is_computed_twice(tmp_path, undisturbed, monkeypatch):
    path = tmp_path / "s.sqlite"
    begun(path, N_MAPPING + 3)
    for name in ("fit", "synthesize", "improve"):
        monkeypatch.setattr(encoders, name, _forbidden)
    monkeypatch.setattr("encoders.features.FeatureExtractor.features", _forbidden)
    assert resumed_to_end(path) == undisturbed[0]


def test_the_log_verifies_and_every_encoder_saw_more_images(undisturbed):
    _, path = undisturbed
    assert verify_replay(path).n_blocks == N_BLOCKS
    assert verify_replay(path, products=False).images_within_tolerance == 0
    files = products_folder(path).glob("encoder-*.safetensors")
    trained = sorted(read_checkpoint(file)[0].provenance.n_trained for file in files)
    assert trained == [24, 28, 32]


def test_the_summary_tells_the_rounds_apart_from_the_test(undisturbed):
    summary = summarize(read_record(undisturbed[1]))
    (learning,) = summary.learning
    assert [each.round for each in learning.rounds] == [1, 2]
    assert [each.n_presentations for each in learning.rounds] == [52, 56]
    (control,) = summary.control
    assert all(site.n_images == 2 for site in control.sites)
    assert learning.test_gain == control.median_gain.value
    for each in learning.rounds:
        assert [site.site for site in each.sites] == list(SITES)
        for site in each.sites:
            assert site.n_images == 2
            assert site.measured == pytest.approx((site.from_best + site.from_scratch) / 2)
            assert site.predicted is not None


@pytest.mark.parametrize("test", ["measured", "new"])
def test_the_test_shows_the_best_of_the_rounds_or_new_images(tmp_path, undisturbed, test):
    path = undisturbed[1]
    if test == "new":
        path = tmp_path / "s.sqlite"
        begun(path, None, test="new")
    with closing(SessionLog(path)) as log:
        blocks = [log.block(event) for event in log.events(EventKind.BLOCK_PROPOSED)]
    made: dict[bool, set[str]] = {True: set(), False: set()}
    for block in blocks:
        in_round = round_of(block.label) is not None
        made[in_round] |= {each.id for each in block.stimuli if each.role is Role.STRETCH}
    assert len(made[False]) == 2 * len(SITES)
    assert made[False] <= made[True] if test == "measured" else not made[False] & made[True]


def test_one_hot_population_learns_and_verifies(tmp_path):
    path = tmp_path / "s.sqlite"
    session = begun(path, None, protocol="one_hot_population")
    assert session.n_proposed == N_BLOCKS
    assert verify_replay(path).n_blocks == N_BLOCKS


@pytest.mark.parametrize("where", ["fit", "improve"])
def test_told_to_stop_within_a_round_it_breaks_the_computation_off(tmp_path, monkeypatch, where):
    path = tmp_path / "s.sqlite"
    session = new_session(settings(learning=LEARNING), path)
    attach(session)
    play(session, N_MAPPING)
    compute = getattr(encoders, where)

    def pressed(*args, **kwargs):
        session.control("stop")
        return compute(*args, **kwargs)

    monkeypatch.setattr(encoders, where, pressed)
    play(session, 1)
    session.end()
    session.log.close()
    assert session.state == "stopped"
    assert session.n_proposed == N_MAPPING + 1
    monkeypatch.setattr(encoders, where, _forbidden)
    assert verify_replay(path).end == "stopped"


def test_wrong_choices_are_told_before_anything_is_shown(tmp_path):
    wrong = {**LEARNING, "from_best": {"name": "dream"}}
    with pytest.raises(SettingsError, match="no such recipe"):
        new_session(settings(learning=wrong), tmp_path / "s.sqlite")
    assert not (tmp_path / "s.sqlite").exists()


def test_emphasis_makes_another_encoder_and_starts_other_images(random, tmp_path):
    pictures = random.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    rates = random.poisson(8.0, (2, 12, 1)).astype(float) * 10
    products = Products(tmp_path)
    fit = SessionFit(PluginChoice(name="two_stage", options=FIT), products)
    plain, same = fit(pictures, rates, SITES), fit(pictures, rates, SITES, None)
    heavy = fit(pictures, rates, SITES, np.full((2, 12), 3.0) ** np.arange(12))
    assert plain.digest == same.digest != heavy.digest
    choice = PluginChoice(name="short", options={"n_steps": 2})
    synthesis = SessionSynthesis(choice, pictures, products)
    goals = {SITES[0]: PluginChoice(name="site", options={"site": SITES[0]})}
    found = [
        synthesis.improved(plain, goals, {SITES[0]: pictures[rows]}, [5, 6]).images
        for rows in ([0, 1], [2, 1], [0, 1])
    ]
    assert np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1]), "an image depends on its own start alone"
