import pytest

from protocols.errors import SpoolError
from protocols.vocabulary import Block, BlockResponses, Outcome, Presentation, Role
from rig_client.spool import Spool


@pytest.fixture
def block(images):
    return Block.of(images, roles=Role.EVOLVED).at(4, "t")


def _shown(trial):
    return Presentation(
        stimulus_id="a" * 64,
        repetition=0,
        attempt=trial,
        trial=trial,
        onset_s=0.1,
        outcome=Outcome.ABORTED,
    )


def _responses(index):
    return BlockResponses(block_index=index, site_ids=("x",), presentations=(_shown(0),))


def test_responses_wait_until_they_are_acknowledged(tmp_path, block):
    spool = Spool(tmp_path, "s")
    for index in (10, 9):
        spool.put(_responses(index), spool.journal(block.at(index, "t")))
    assert [r.block_index for r in Spool(tmp_path, "s").waiting()] == [9, 10]
    spool.acknowledged(9)
    assert [r.block_index for r in Spool(tmp_path, "s").waiting()] == [10]


def test_sessions_do_not_share_their_spool(tmp_path, block):
    spool = Spool(tmp_path, "s")
    spool.put(_responses(4), spool.journal(block))
    assert list(Spool(tmp_path, "other").waiting()) == []


def test_a_journal_is_read_back(tmp_path, block):
    journal = Spool(tmp_path, "s").journal(block)
    journal.add((_shown(0),))
    journal.add((_shown(1), _shown(2)))
    assert Spool(tmp_path, "s").journal(block).trials == [(_shown(0),), (_shown(1), _shown(2))]


def test_a_torn_last_line_costs_that_trial_only(tmp_path, block):
    journal = Spool(tmp_path, "s").journal(block)
    journal.add((_shown(0),))
    journal.add((_shown(1),))
    path = next(tmp_path.rglob("*.trials"))
    path.write_bytes(path.read_bytes()[:-20])
    again = Spool(tmp_path, "s").journal(block)
    assert again.trials == [(_shown(0),)]
    again.add((_shown(1),))
    assert Spool(tmp_path, "s").journal(block).trials == [(_shown(0),), (_shown(1),)]


def test_a_journal_of_another_block_is_refused(tmp_path, block):
    Spool(tmp_path, "s").journal(block).add((_shown(0),))
    other = block.model_copy(update={"label": "other"})
    with pytest.raises(SpoolError, match="another block"):
        Spool(tmp_path, "s").journal(other)


def test_what_was_shown_of_an_unfinished_block_can_be_handed_in(tmp_path, block):
    journal = Spool(tmp_path, "s").journal(block)
    journal.add((_shown(0),))
    journal.add((_shown(1),))
    Spool(tmp_path, "s").journal(block.at(5, "t"))
    (found,) = Spool(tmp_path, "s").unfinished(("x",))
    assert found.block_index == 4
    assert found.presentations == (_shown(0), _shown(1))
    Spool(tmp_path, "s").acknowledged(4)
    assert list(Spool(tmp_path, "s").unfinished(("x",))) == []


def test_refused_responses_are_kept_out_of_the_way(tmp_path, block):
    spool = Spool(tmp_path, "s")
    spool.put(_responses(4), spool.journal(block))
    kept = spool.refused(4)
    assert list(spool.waiting()) == []
    assert BlockResponses.model_validate_json(kept.read_bytes()) == _responses(4)


def test_spooled_responses_that_cannot_be_read_are_named(tmp_path, block):
    spool = Spool(tmp_path, "s")
    spool.put(_responses(4), spool.journal(block))
    path = next(tmp_path.rglob("*.json"))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(SpoolError, match="block-000004"):
        list(spool.waiting())


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolError, match=r"rig\.toml"):
        Spool(tmp_path / "file", "s")
