import pytest

from protocols.documents import EventKind
from protocols.errors import LogError, Refusal
from protocols.vocabulary import BlockResponses
from synth_server.session.build import new_session
from synth_server.session.log import SessionLog, verify_chain
from synth_server.session.recovery import resumed_session, verify_replay
from tests.playing import SITES, attach, made_up_responses, play


@pytest.fixture
def path(tmp_path):
    return tmp_path / "session.sqlite"


@pytest.fixture
def session(evolve_settings, path):
    session = new_session(evolve_settings, path)
    attach(session)
    yield session
    session.log.close()


def _finished(evolve_settings, path):
    session = new_session(evolve_settings, path)
    attach(session)
    play(session)
    session.log.close()
    return session


def test_a_session_runs_to_its_end(evolve_settings, path):
    session = _finished(evolve_settings, path)
    assert session.state == "finished"
    assert session.n_proposed == session.n_answered == 6
    log = SessionLog(path)
    kinds = [event.kind for event in log.events()]
    assert kinds[0] == EventKind.SESSION_STARTED
    assert kinds[-1] == EventKind.SESSION_ENDED
    assert kinds.count(EventKind.BLOCK_PROPOSED) == 6
    verify_chain(log)


def test_nothing_can_be_asked_for_before_it_is_durable(session, path):
    reader = SessionLog(path)
    logged = [event.document["index"] for event in reader.events(EventKind.BLOCK_PROPOSED)]
    assert logged == [0, 1]
    assert session.block(1) is not None
    assert session.block(2) is None


def test_the_same_responses_are_accepted_once(session):
    responses = made_up_responses(session.block(0))
    first = session.record(responses)
    again = session.record(responses)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert session.n_answered == 1


def test_other_responses_to_an_answered_block_are_refused(session):
    responses = made_up_responses(session.block(0))
    session.record(responses)
    fewer = responses.model_copy(update={"presentations": responses.presentations[1:]})
    with pytest.raises(Refusal, match="already_answered"):
        session.record(fewer)


def test_responses_out_of_order_are_refused(session):
    with pytest.raises(Refusal, match="out_of_order"):
        session.record(made_up_responses(session.block(1)))


def _with_first(responses, **changes):
    first, *rest = responses.presentations
    return responses.model_copy(update={"presentations": (first.model_copy(update=changes), *rest)})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"stimulus_id": "0" * 64}, "not in the block"),
        ({"repetition": 1}, "repetition was shown that was not asked for"),
        ({"attempt": 5}, "more often than allowed"),
    ],
)
def test_responses_that_do_not_fit_are_refused_and_nothing_changes(session, change, complaint):
    with pytest.raises(Refusal, match=complaint):
        session.record(_with_first(made_up_responses(session.block(0)), **change))
    assert session.n_answered == 0
    session.record(made_up_responses(session.block(0)))


def test_a_presentation_reported_twice_is_refused(session):
    responses = made_up_responses(session.block(0))
    twice = (*responses.presentations, responses.presentations[0])
    with pytest.raises(Refusal, match="reported twice"):
        session.record(responses.model_copy(update={"presentations": twice}))


def test_other_sites_than_announced_are_refused(session):
    responses = made_up_responses(session.block(0))
    renamed = BlockResponses(
        block_index=0, site_ids=("site-00", "other"), presentations=responses.presentations
    )
    with pytest.raises(Refusal, match="not those that the rig announced"):
        session.record(renamed)


def test_a_rig_without_the_objectives_sites_is_refused(evolve_settings, path):
    session = new_session(evolve_settings, path)
    with pytest.raises(Refusal, match="unknown_site"):
        attach(session, sites=("site-00",))
    session.log.close()


def test_another_rig_is_refused(session):
    with pytest.raises(Refusal, match="another rig"):
        attach(session, rig_id="other")


def test_stop_shows_what_is_proposed_and_ends(session):
    play(session, 1)
    session.control("stop")
    play(session)
    assert session.state == "stopped"
    assert session.n_answered == session.n_proposed == 3


def test_a_paused_session_stays_paused_when_resumed_from_its_log(session, path):
    session.control("pause")
    session.log.close()
    again = resumed_session(path)
    assert again.state == "paused"
    again.log.close()


def test_a_session_that_is_over_takes_no_commands(evolve_settings, path):
    session = _finished(evolve_settings, path)
    with pytest.raises(Refusal, match="session_over"):
        session.control("pause")


@pytest.mark.parametrize("n_blocks", range(7))
def test_recovery_at_any_block_leads_to_the_same_end(evolve_settings, tmp_path, n_blocks):
    whole = _finished(evolve_settings, tmp_path / "whole.sqlite")
    session = new_session(evolve_settings, tmp_path / "broken.sqlite")
    attach(session)
    play(session, n_blocks)
    session.log.close()
    again = resumed_session(tmp_path / "broken.sqlite")
    assert again.rig is not None
    assert again.rig.site_ids == SITES
    play(again)
    again.log.close()
    assert again.digest == whole.digest
    assert verify_replay(tmp_path / "broken.sqlite").end == "finished"


def test_recovery_between_responses_and_the_next_proposal(evolve_settings, tmp_path):
    whole = _finished(evolve_settings, tmp_path / "whole.sqlite")
    session = new_session(evolve_settings, tmp_path / "broken.sqlite")
    attach(session)
    session.record(made_up_responses(session.block(0)))
    session.log.close()
    again = resumed_session(tmp_path / "broken.sqlite")
    play(again)
    again.log.close()
    assert again.digest == whole.digest


def test_a_log_has_one_writer(session, path):
    with pytest.raises(LogError, match="another server"):
        resumed_session(path)


def test_a_log_is_never_overwritten(session, evolve_settings, path):
    with pytest.raises(LogError, match="never overwritten"):
        new_session(evolve_settings, path)
