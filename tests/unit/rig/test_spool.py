import json

import numpy as np
import pytest

from protocols.digests import array_digest
from protocols.errors import SpoolError
from protocols.vocabulary import Block, BlockResponses, Outcome, Presentation, RigEvent, Role
from rig_client.spool import Spool
from rig_client.trial_record import GazePart, TrialRecord


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


def _record(*trials):
    return TrialRecord(tuple(_shown(trial) for trial in trials))


def _again(spool):
    """As a rig that was started again finds it."""
    spool.close()
    return Spool(spool.folder.parent, spool.folder.name)


def _responses(index):
    return BlockResponses(block_index=index, site_ids=("x",), presentations=(_shown(0),))


def test_responses_wait_until_they_are_acknowledged(tmp_path, block):
    spool = Spool(tmp_path, "s")
    for index in (10, 9):
        spool.put(_responses(index), spool.journal(block.at(index, "t")))
    spool = _again(spool)
    assert [r.block_index for r in spool.waiting()] == [9, 10]
    spool.acknowledged(9)
    assert [r.block_index for r in _again(spool).waiting()] == [10]


def test_sessions_do_not_share_their_spool(tmp_path, block):
    spool = Spool(tmp_path, "s")
    spool.put(_responses(4), spool.journal(block))
    assert list(Spool(tmp_path, "other").waiting()) == []


def test_a_second_rig_client_is_refused_until_the_first_ends(tmp_path):
    first = Spool(tmp_path, "s")
    with pytest.raises(SpoolError, match="another rig client"):
        Spool(tmp_path, "s")
    first.close()
    Spool(tmp_path, "s").close()


def test_a_journal_is_read_back(tmp_path, block):
    spool = Spool(tmp_path, "s")
    journal = spool.journal(block)
    journal.add(_record(0))
    journal.add(_record(1, 2))
    found = _again(spool).journal(block).records
    assert [record.presentations for record in found] == [(_shown(0),), (_shown(1), _shown(2))]


def test_all_of_a_trial_is_read_back_to_the_last_bit(tmp_path, block):
    times = np.array([1, -3000], np.int32)
    gaze = GazePart(1 / 3, 250.0, np.array([[0.1, -3.5, 1 / 3, 1]], np.float32))
    event = RigEvent(kind="reward", at_s=0.1, ms=80, ml=0.25)
    spool = Spool(tmp_path, "s")
    record = TrialRecord((_shown(0),), (event,), {array_digest(times): times}, gaze, (3,))
    spool.journal(block).add(record)
    (found,) = _again(spool).journal(block).records
    assert (found.presentations, found.events, found.late) == ((_shown(0),), (event,), (3,))
    assert found.gaze.samples.tolist() == gaze.samples.tolist()
    assert found.gaze[:2] == gaze[:2]
    assert {name: array.tolist() for name, array in found.arrays.items()} == {
        array_digest(times): [1, -3000]
    }


def test_a_torn_last_line_costs_that_trial_only(tmp_path, block):
    spool = Spool(tmp_path, "s")
    journal = spool.journal(block)
    journal.add(_record(0))
    journal.add(_record(1))
    path = next(tmp_path.rglob("*.trials"))
    path.write_bytes(path.read_bytes()[:-20])
    spool = _again(spool)
    again = spool.journal(block)
    assert [record.presentations for record in again.records] == [(_shown(0),)]
    again.add(_record(1))
    found = _again(spool).journal(block).records
    assert [record.presentations for record in found] == [(_shown(0),), (_shown(1),)]


def test_a_journal_of_another_block_is_refused(tmp_path, block):
    spool = Spool(tmp_path, "s")
    spool.journal(block).add(_record(0))
    other = block.model_copy(update={"label": "other"})
    with pytest.raises(SpoolError, match="another block"):
        _again(spool).journal(other)


def test_what_was_shown_of_an_unfinished_block_can_be_handed_in(tmp_path, block):
    spool = Spool(tmp_path, "s")
    journal = spool.journal(block)
    journal.add(_record(0))
    journal.add(_record(1))
    spool.journal(block.at(5, "t"))
    spool = _again(spool)
    (found,) = spool.unfinished(("x",), 0.0)
    assert found.block_index == 4
    assert found.presentations == (_shown(0), _shown(1))
    spool.acknowledged(4)
    assert list(_again(spool).unfinished(("x",), 0.0)) == []


def test_refused_responses_are_kept_out_of_the_way(tmp_path, block):
    spool = Spool(tmp_path, "s")
    spool.put(_responses(4), spool.journal(block))
    kept = spool.refused(4)
    assert list(spool.waiting()) == []
    document = json.loads(kept.read_bytes())["responses"]
    assert BlockResponses.model_validate(document) == _responses(4)


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
