"""Sessions that fit and synthesise: recovery from products, verification, and being told to end."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.backbones.one_thread import one_thread
from encoders.checkpoint import read_checkpoint
from protocols.documents import SessionSettings, ThreadSettings
from protocols.errors import DataError, Refusal, SettingsError
from protocols.settings import PluginChoice
from protocols.vocabulary import BlockResponses, Role
from synth_server.session import encoders
from synth_server.session.build import new_session
from synth_server.session.encoders import SessionFit, SessionSynthesis
from synth_server.session.equipment import Equipment
from synth_server.session.products import Products, products_folder
from synth_server.session.recovery import resumed_session, verify_replay
from tests.encoder_files import CLIMB, FIT
from tests.playing import SITES, attach, made_up_responses, play

SETTINGS = {
    "n_images": 24,
    "image_size_px": 32,
    "n_seeds": 2,
    "mapping": {"repetitions": 2, "images_per_block": 24},
    "fit": {"name": "two_stage", "options": FIT},
    "synthesis": {"name": "stimloop", "options": CLIMB},
    "learning": {"rounds": 0},
    "comparison": {"repetitions": 2, "best_natural": 1},
}
N_MAPPING, N_BLOCKS = 2, 4


@pytest.fixture(autouse=True)
def one_torch_thread():
    with one_thread():
        yield


def settings(protocol="stretch", seed=3, **changes):
    thread = ThreadSettings(name="t", protocol=protocol, settings={**SETTINGS, **changes})
    return SessionSettings(session_id="s", seed=seed, threads=(thread,))


def begun(path, n_blocks, **choices):
    """A session that was killed after `n_blocks` blocks."""
    session = new_session(settings(**choices), path)
    attach(session)
    play(session, n_blocks)
    session.log.close()
    return session


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    """Of undisturbed sessions, by protocol."""
    found = {}
    for protocol in ("stretch", "one_hot_population"):
        session = begun(tmp_path_factory.mktemp(protocol) / "s.sqlite", None, protocol=protocol)
        assert session.state == "finished"
        assert session.n_proposed == N_BLOCKS
        found[protocol] = session.digest
    return found


def _forbidden(*_args, **_kwargs):
    raise AssertionError("this was computed before, and lies beside the log")


def resumed_to_end(path):
    session = resumed_session(path)
    play(session)
    session.log.close()
    assert session.state == "finished"
    return session.digest


@pytest.mark.parametrize("protocol", ["stretch", "one_hot_population"])
def test_a_server_that_was_killed_in_the_test_goes_on_from_products(
    tmp_path, digests, protocol, monkeypatch
):
    path = tmp_path / "s.sqlite"
    begun(path, N_MAPPING + 1, protocol=protocol)
    for name in ("fit", "synthesize"):
        monkeypatch.setattr(encoders, name, _forbidden)
    monkeypatch.setattr("encoders.encoder.TwoStageEncoder.predict", _forbidden)
    assert resumed_to_end(path) == digests[protocol]


def test_products_that_are_gone_or_damaged_are_made_anew(tmp_path, digests):
    path = tmp_path / "s.sqlite"
    begun(path, N_MAPPING + 1)
    kept = sorted(products_folder(path).glob("*.safetensors"))
    assert [each.name.partition("-")[0] for each in kept] == ["encoder", "images"]
    kept[0].write_bytes(kept[0].read_bytes()[:-4] + b"0000")
    kept[1].unlink()
    assert resumed_to_end(path) == digests["stretch"]


def test_another_seed_gives_another_session(tmp_path, digests):
    assert begun(tmp_path / "s.sqlite", None, seed=4).digest != digests["stretch"]


def test_the_log_verifies_with_products_and_without(tmp_path, monkeypatch):
    path = tmp_path / "s.sqlite"
    begun(path, None)
    anew = verify_replay(path, products=False)
    assert anew.n_blocks == N_BLOCKS
    assert anew.images_within_tolerance == 0
    assert anew.notes == []
    monkeypatch.setattr(encoders, "fit", _forbidden)
    monkeypatch.setattr(encoders, "synthesize", _forbidden)
    taken = verify_replay(path)
    assert taken.n_blocks == N_BLOCKS
    assert [note.partition("-")[0] for note in taken.notes] == ["encoder", "images"]


def about_to_fit(path):
    """A session that lacks the responses to one block of its mapping."""
    session = new_session(settings(), path)
    attach(session)
    play(session, N_MAPPING - 1)
    return session


@pytest.mark.parametrize(("command", "state"), [("stop", "stopped"), ("abort", "aborted")])
@pytest.mark.parametrize("where", ["fit", "synthesize"])
def test_told_to_end_it_breaks_the_computation_off(tmp_path, monkeypatch, command, state, where):
    path = tmp_path / "s.sqlite"
    session = about_to_fit(path)
    compute = getattr(encoders, where)

    def pressed(*args, **kwargs):
        session.control(command)
        return compute(*args, **kwargs)

    monkeypatch.setattr(encoders, where, pressed)
    play(session, 1)
    session.end()
    session.log.close()
    assert session.state == state
    assert session.n_proposed == N_MAPPING
    monkeypatch.setattr(encoders, where, _forbidden)
    assert verify_replay(path).end == state
    again = resumed_session(path)
    assert again.has_ended
    again.log.close()


def halted_before_the_fit(path):
    """A session whose server ended when the fit was due."""
    session = about_to_fit(path)
    session.halt()
    play(session, 1)
    session.log.close()
    return session


def test_a_server_that_ends_breaks_it_off_and_the_next_one_goes_on(tmp_path, digests):
    path = tmp_path / "s.sqlite"
    session = halted_before_the_fit(path)
    assert (session.state, session.n_proposed) == ("running", N_MAPPING)
    assert resumed_to_end(path) == digests["stretch"]


def test_resuming_does_not_wait_for_the_fit_that_was_due(tmp_path, digests, monkeypatch):
    """The server can be reached while it fits: what is due is left to its worker."""
    path = tmp_path / "s.sqlite"
    halted_before_the_fit(path)
    with monkeypatch.context() as patched:
        patched.setattr(encoders, "fit", _forbidden)
        session = resumed_session(path, advance=False)
        assert session.n_proposed == N_MAPPING
        assert not session.is_over
    session.advance()
    play(session)
    session.log.close()
    assert session.digest == digests["stretch"]


def test_a_site_that_never_varies_is_left_out(tmp_path, caplog):
    path = tmp_path / "s.sqlite"
    session = new_session(settings(), path)
    attach(session)
    while session.n_answered < session.n_proposed:
        block = session.block(session.n_answered)
        responses = _dead_site(made_up_responses(block))
        session.record(responses)
        session.learn(responses)
        session.advance()
    aims = {t for s in block.stimuli if s.role is Role.STRETCH for t in s.targets}
    session.log.close()
    assert aims == {"site-00"}
    assert "site-01 is left out of the fit: always answers 70" in caplog.text


def _dead_site(responses):
    return BlockResponses(
        block_index=responses.block_index,
        site_ids=responses.site_ids,
        presentations=tuple(
            shown.model_copy(update={"spike_counts": (shown.spike_counts[0], 7.0)})
            for shown in responses.presentations
        ),
    )


def test_a_rig_that_does_not_record_a_target_is_refused(tmp_path):
    session = new_session(settings(targets=["site-00", "elsewhere"]), tmp_path / "s.sqlite")
    with pytest.raises(Refusal, match="not recorded"):
        attach(session)
    session.log.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit": {"name": "three_stage"}}, "no such way to fit"),
        ({"fit": {"name": "two_stage", "options": {"n_folds": 1}}}, "n_folds"),
        ({"synthesis": {"name": "dream"}}, "no such recipe"),
        ({"synthesis": {"name": "stimloop", "options": {"n_stepps": 5}}}, "n_stepps"),
        ({"encoder": "missing.safetensors"}, "missing or damaged"),
    ],
)
def test_wrong_choices_are_told_before_anything_is_shown(tmp_path, changes, message):
    with pytest.raises((SettingsError, DataError), match=message):
        new_session(settings(**changes), tmp_path / "s.sqlite")
    assert not (tmp_path / "s.sqlite").exists()


def test_the_equipment_of_the_log_names_fit_and_recipe(tmp_path):
    session = begun(tmp_path / "s.sqlite", 0)
    log = resumed_session(tmp_path / "s.sqlite").log
    equipment = next(log.events()).document["equipment"]
    log.close()
    assert session.n_proposed == 1
    assert [name.split()[0] for name in sorted(equipment)] == ["fit", "photographs", "synthesis"]


def test_an_encoder_of_an_earlier_session_can_be_given(tmp_path):
    begun(tmp_path / "first.sqlite", None)
    (file,) = products_folder(tmp_path / "first.sqlite").glob("encoder-*.safetensors")
    assert read_checkpoint(file)[0].provenance.n_trained == SETTINGS["n_images"]
    second = begun(tmp_path / "second.sqlite", None, encoder=str(file))
    assert second.n_proposed == N_BLOCKS
    assert not list(products_folder(tmp_path / "second.sqlite").glob("encoder-*"))


def test_images_are_made_at_the_natural_images_mean_and_contrast(random):
    natural = random.normal(90, 30, (6, 32, 32, 3)).clip(0, 255).astype(np.uint8)
    synthesis = SessionSynthesis(PluginChoice(name="stimloop"), natural, Products())
    noise = synthesis.starting_images([1, 2]).reshape(2, -1) / 255
    values = natural.reshape(6, -1) / 255
    assert noise.mean(axis=1) == pytest.approx(np.median(values.mean(axis=1)), rel=0.01)
    assert noise.std(axis=1) == pytest.approx(np.median(values.std(axis=1)), rel=0.01)


def test_a_fit_of_nothing_but_dead_sites_is_refused(images):
    fit = SessionFit(PluginChoice(name="two_stage", options=FIT), Products())
    pictures = np.random.default_rng(1).integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    with pytest.raises(DataError, match="cannot be fitted"):
        fit(pictures, np.full((2, 12, 1), 5.0), SITES)


def test_equipment_without_a_session_keeps_products_for_itself():
    assert Equipment().products.file("x", lambda path: path.write_bytes(b"1")).path.exists()
