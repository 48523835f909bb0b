"""Evolutions that start from photographs and end with a test: killed anywhere, verified, refused."""

from __future__ import annotations

import re
import tomllib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from protocols.documents import EventKind, SessionSettings, ThreadSettings
from protocols.errors import PluginError, Refusal, SettingsError
from protocols.settings import PluginChoice
from protocols.vocabulary import Role
from synth_server.session import inversions
from synth_server.session.build import new_session
from synth_server.session.equipment import Equipment
from synth_server.session.inversions import SessionInversion
from synth_server.session.log import SessionLog
from synth_server.session.products import Products, products_folder
from synth_server.session.recovery import resumed_session, verify_replay
from synth_server.synthesis.inversion import InversionSettings
from tests.encoder_files import FIT, write_small_encoder
from tests.playing import SITES, attach, made_up_responses, play

GENERATORS = {
    "pixels": {"name": "pixels", "options": {"size_px": 16, "grid": 4}},
    "fourier": {"name": "fourier", "options": {"size_px": 16, "tiles": 1}},
}
SETTINGS = {
    "n_generations": 2,
    "n_references": 3,
    "optimizer": {"name": "genetic", "options": {"preset": "xdream", "population": 6}},
    "start": {"n_images": 8, "repetitions": 1, "images_per_block": 4, "best": 3},
    "normalisation": {"baseline": "blank", "scale": "mean"},
    "test_repetitions": 2,
    "n_test_images": 2,
}
N_START, N_BLOCKS = 2, 5


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few steps, on one thread."""
    monkeypatch.setattr(inversions, "InversionSettings", lambda: InversionSettings(n_steps=5))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=sorted(GENERATORS))
def generator(request):
    return request.param


def settings(generator="fourier", seed=3, **changes):
    values = {**SETTINGS, "generator": GENERATORS[generator], **changes}
    thread = ThreadSettings(name="t", protocol="evolve", settings=values)
    return SessionSettings(session_id="s", seed=seed, threads=(thread,))


def begun(path, n_blocks, **choices):
    """A session that was killed after `n_blocks` blocks."""
    session = new_session(settings(**choices), path)
    attach(session)
    play(session, n_blocks)
    session.log.close()
    return session


def resumed_to_end(path):
    session = resumed_session(path)
    play(session)
    session.log.close()
    assert session.state == "finished"
    return session.digest


def _forbidden(*_args, **_kwargs):
    raise AssertionError("this was computed before, and lies beside the log")


def test_killed_after_any_block_it_comes_out_the_same(tmp_path, generator):
    whole = begun(tmp_path / "whole.sqlite", None, generator=generator)
    assert (whole.state, whole.n_proposed) == ("finished", N_BLOCKS)
    for n_blocks in range(N_BLOCKS):
        path = tmp_path / f"{n_blocks}.sqlite"
        begun(path, n_blocks, generator=generator)
        assert resumed_to_end(path) == whole.digest
        assert verify_replay(path).n_blocks == N_BLOCKS


def test_codes_are_found_once_and_kept(tmp_path, monkeypatch):
    path = tmp_path / "s.sqlite"
    whole = begun(tmp_path / "whole.sqlite", None)
    begun(path, N_START + 1)
    (kept,) = products_folder(path).glob("codes-*.safetensors")
    assert load_file(kept)["codes"].shape[0] == 3
    with monkeypatch.context() as patched:
        patched.setattr(inversions, "invert", _forbidden)
        assert resumed_to_end(path) == whole.digest
        notes = verify_replay(path).notes
    assert [note.partition("-")[0] for note in notes] == ["codes"]
    assert verify_replay(path, products=False).notes == []
    kept.unlink()
    again = resumed_session(path)
    assert again.has_ended
    again.log.close()


def test_another_seed_gives_another_session(tmp_path):
    digests = {begun(tmp_path / f"{n}.sqlite", None, seed=n).digest for n in (3, 4)}
    assert len(digests) == 2


def test_threads_start_and_end_each_by_itself(tmp_path):
    """Independent evolutions with one target, and another with its own."""
    values = {**SETTINGS, "generator": GENERATORS["pixels"]}
    threads = tuple(
        ThreadSettings(
            name=name,
            protocol="evolve",
            settings={**values, "objective": {"name": "site", "options": {"site": site}}},
        )
        for name, site in (("one", "site-00"), ("two", "site-00"), ("three", "site-01"))
    )
    path = tmp_path / "s.sqlite"
    session = new_session(SessionSettings(session_id="s", seed=1, threads=threads), path)
    attach(session)
    play(session)
    blocks = [session.block(index) for index in range(session.n_proposed)]
    session.log.close()
    assert [block.thread for block in blocks[:4]] == ["one", "two", "three", "one"]
    assert [block.label for block in blocks[-3:]] == ["test"] * 3
    first = {b.thread: b.codes for b in blocks if b.generation == 0}
    assert np.array_equal(first["one"][:3], first["two"][:3]), "one target, the same photographs"
    assert not np.array_equal(first["one"][3:], first["two"][3:]), "and randomness of their own"
    assert verify_replay(path).end == "finished"


@pytest.mark.parametrize(("command", "state"), [("stop", "stopped"), ("abort", "aborted")])
def test_told_to_end_it_breaks_the_inversion_off(tmp_path, monkeypatch, command, state):
    path = tmp_path / "s.sqlite"
    session = new_session(settings(), path)
    attach(session)
    play(session, N_START - 1)
    compute = inversions.invert

    def pressed(*args, **kwargs):
        session.control(command)
        return compute(*args, **kwargs)

    monkeypatch.setattr(inversions, "invert", pressed)
    play(session, 1)
    session.end()
    session.log.close()
    assert (session.state, session.n_proposed) == (state, N_START)


class _NoWay:
    """Draws, and that is all."""

    code_dim = 3
    image_size_px = 16
    digest = "0" * 64

    def sample_codes(self, n, random):
        return random.standard_normal((n, 3), dtype=np.float32)

    def __call__(self, codes):
        return np.zeros((len(codes), 16, 16, 3), np.uint8)


class _Wrong(_NoWay):
    """Its way of its own does not keep its promise."""

    def invert(self, images):
        return np.full((len(images), 2), 1.0, np.float32)


def test_a_generator_without_any_way_is_told_before_anything_is_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(Equipment, "generator", lambda *_: _NoWay())
    with pytest.raises(SettingsError, match="finds no codes for given images"):
        new_session(settings(), tmp_path / "s.sqlite")
    assert not (tmp_path / "s.sqlite").exists()


def test_codes_that_cannot_be_used_are_refused():
    with pytest.raises(PluginError, match="no usable codes"):
        SessionInversion(_Wrong(), Products())(np.zeros((2, 16, 16, 3), np.uint8))


def test_the_equipment_of_the_log_names_the_inversion(tmp_path, generator):
    session = begun(tmp_path / "s.sqlite", 0, generator=generator)
    log = resumed_session(tmp_path / "s.sqlite").log
    equipment = next(log.events()).document["equipment"]
    log.close()
    assert session.n_proposed == 1
    assert {name.split()[0] for name in equipment} == {"generator", "inversion", "photographs"}


def test_a_rig_that_does_not_record_the_baseline_site_is_refused(tmp_path):
    given = {"baseline": "given", "baseline_counts": {"elsewhere": 1.0}}
    session = new_session(settings(normalisation=given), tmp_path / "s.sqlite")
    with pytest.raises(Refusal, match="not recorded"):
        attach(session)
    session.log.close()


def test_the_generators_own_way_comes_first(random):
    equipment = Equipment()
    generator = equipment.generator(PluginChoice.model_validate(GENERATORS["pixels"]))
    codes = generator.sample_codes(2, random)
    found = equipment.inversion(generator)(generator(codes))
    assert found == pytest.approx(codes, abs=0.05)


def test_a_session_shows_photographs_evolves_and_tests(tmp_path, generator):
    session = begun(tmp_path / "s.sqlite", None, generator=generator)
    log = resumed_session(tmp_path / "s.sqlite")
    shown = [log.block(index) for index in range(N_BLOCKS)]
    log.log.close()
    assert [b.label for b in shown] == ["start", "start", "generation 0", "generation 1", "test"]
    assert session.n_answered == N_BLOCKS
    assert {s.role for s in shown[-1].stimuli} == {Role.EVOLVED, Role.BEST_NATURAL}


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "evolve-images.md"


def test_the_example_of_the_how_to_runs(tmp_path):
    """As it stands there, with fewer and smaller images."""
    (example,) = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text("utf-8"), re.S | re.M)
    document = tomllib.loads(example)
    for thread in document["threads"]:
        thread["settings"] |= {
            "n_generations": 2,
            "n_references": 4,
            "test_repetitions": 2,
            "generator": GENERATORS["pixels"],
        }
        if "start" in thread["settings"]:
            thread["settings"]["start"]["n_images"] = 12
    path = tmp_path / "s.sqlite"
    session = new_session(SessionSettings.model_validate(document), path)
    sites = ("A-002", "A-007")
    attach(session, sites)
    while session.n_answered < session.n_proposed:
        responses = made_up_responses(session.block(session.n_answered), sites)
        session.record(responses)
        session.learn(responses)
        session.advance()
    labels = [(b.thread, b.label) for b in map(session.block, range(session.n_proposed))]
    session.log.close()
    names = [thread["name"] for thread in document["threads"]]
    assert len(names) == 3
    assert [labels.count((name, "test")) for name in names] == [1, 1, 1]
    assert [labels.count((name, "start")) for name in names] == [2, 0, 0]
    assert verify_replay(path).end == "finished"


GUIDE = {"least_images": 8, "every": 1, "n_steps": 2, "fit": {"name": "two_stage", "options": FIT}}
GUIDED = {"generator": "fourier", "start": None, "guide": GUIDE, "n_generations": 4}


def test_a_guided_evolution_killed_anywhere_goes_on_and_verifies(tmp_path):
    whole = tmp_path / "whole.sqlite"
    digest = begun(whole, None, **GUIDED).digest
    assert verify_replay(whole).n_blocks == 5
    assert verify_replay(whole, products=False).images_within_tolerance == 0
    with closing(SessionLog(whole)) as log:
        blocks = [log.block(event) for event in log.events(EventKind.BLOCK_PROPOSED)]
    n_guided = [sum(each.label == "guided" for each in block.stimuli) for block in blocks]
    assert n_guided[:2] == [0, 0], "nine images are too few for a fit"
    assert n_guided[2] == 3, "half of the population"
    for n_blocks in (1, 3):
        path = tmp_path / f"{n_blocks}.sqlite"
        begun(path, n_blocks, **GUIDED)
        for product in products_folder(path).iterdir() if n_blocks == 3 else ():
            product.unlink()
        assert resumed_to_end(path) == digest


def test_a_given_encoder_guides_from_the_start_and_must_know_the_objective(tmp_path):
    encoder = str(write_small_encoder(tmp_path / "e.encoder", SITES))
    guide = {"encoder": encoder, "n_steps": 2}
    objective = {"name": "site", "options": {"site": SITES[1]}}
    session = begun(tmp_path / "s.sqlite", 1, **{**GUIDED, "guide": guide, "objective": objective})
    with closing(SessionLog(session.log.path)) as log:
        block = log.block(next(iter(log.events(EventKind.BLOCK_PROPOSED))))
    assert sum(each.label == "guided" for each in block.stimuli) == 3
    stranger = {"name": "site", "options": {"site": "nobody"}}
    with pytest.raises(SettingsError, match="not recorded"):
        new_session(
            settings(**{**GUIDED, "guide": guide, "objective": stranger}), tmp_path / "t.sqlite"
        )


def test_a_generator_that_cannot_be_climbed_cannot_be_guided(tmp_path):
    with pytest.raises(SettingsError, match="cannot guide this generator"):
        new_session(settings(**{**GUIDED, "generator": "pixels"}), tmp_path / "s.sqlite")
