import hashlib

import numpy as np
import pytest
from pydantic import ValidationError

from protocols.digests import image_id
from protocols.errors import DataError
from protocols.vocabulary import Block, BlockResponses, Outcome, Presentation, Role, Timing


def test_an_image_is_known_by_shape_and_pixels():
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    assert image_id(image) == hashlib.sha256(b"1x2x3 uint8\n" + bytes(range(6))).hexdigest()
    assert image_id(image) != image_id(image.reshape(2, 1, 3))


def test_an_image_is_known_by_its_pixels_whatever_its_memory_layout(images):
    assert image_id(images[0].transpose(1, 0, 2)) == image_id(
        np.ascontiguousarray(images[0].transpose(1, 0, 2))
    )


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 3), np.float32),
        "images",
    ],
)
def test_a_block_refuses_what_is_no_image(wrong):
    with pytest.raises(DataError, match="images"):
        Block.of(wrong, roles=Role.EVOLVED)


def test_repetitions_follow_the_order(images):
    block = Block.of(images[:2], roles=Role.NATURAL, order=[1, 0, 1, 1]).at(7, "a")
    cues = list(block.cues())
    assert [cue.stimulus_index for cue in cues] == [1, 0, 1, 1]
    assert [cue.repetition for cue in cues] == [0, 0, 1, 2]
    assert {cue.block_index for cue in cues} == {7}


def test_equal_images_share_their_repetitions(images):
    twice = np.stack([images[0], images[0]])
    cues = list(Block.of(twice, roles=Role.EVOLVED).cues())
    assert [cue.repetition for cue in cues] == [0, 1]


def test_trials_hold_as_many_presentations_as_asked(images):
    block = Block.of(images, roles=Role.NATURAL, timing=Timing(presentations_per_trial=3))
    assert [cue.trial for cue in block.cues()] == [0, 0, 0, 1]


def test_an_order_cannot_name_an_image_that_is_not_there(images):
    with pytest.raises(ValidationError, match="order names stimulus 4 of 4"):
        Block.of(images, roles=Role.NATURAL, order=[0, 4])


def test_a_block_comes_back_from_its_document(images):
    block = Block.of(images, roles=Role.NATURAL, label="x").at(3, "a")
    again = Block.model_validate({**block.document(), "images": images})
    assert again.digest == block.digest


def test_a_blocks_digest_depends_on_every_pixel(images):
    changed = images.copy()
    changed[2, 3, 4, 1] ^= 1
    digests = {Block.of(i, roles=Role.NATURAL).at(0, "a").digest for i in (images, changed)}
    assert len(digests) == 2


def test_an_empty_count_window_is_refused():
    with pytest.raises(ValidationError, match="is empty"):
        Timing(count_start_ms=100, count_stop_ms=100)


def _shown(stimulus_id, counts, repetition=0, outcome=Outcome.COMPLETED, onset_s=0.0):
    return Presentation(
        stimulus_id=stimulus_id,
        repetition=repetition,
        attempt=0,
        trial=0,
        onset_s=onset_s,
        outcome=outcome,
        spike_counts=counts,
    )


A, B, C = "a" * 64, "b" * 64, "c" * 64


def test_means_are_by_stimulus_and_unseen_is_nan():
    responses = BlockResponses(
        block_index=0,
        site_ids=("x", "y"),
        presentations=(
            _shown(A, (2, 4)),
            _shown(A, (4, 0), repetition=1),
            _shown(B, None, outcome=Outcome.FIXATION_BREAK),
            _shown(C, (1, 1)),
        ),
    )
    means = responses.mean_by_stimulus([C, B, A])
    np.testing.assert_array_equal(means, [[1, 1], [np.nan, np.nan], [3, 2]])


def test_counts_go_with_completed_presentations_only():
    with pytest.raises(ValidationError, match="spike_counts go with outcome"):
        _shown(A, (1.0,), outcome=Outcome.ABORTED)
    with pytest.raises(ValidationError, match="spike_counts go with outcome"):
        _shown(A, None)


@pytest.mark.parametrize("count", [-1.0, float("nan"), float("inf")])
def test_a_count_is_a_number_of_spikes(count):
    with pytest.raises(ValidationError):
        _shown(A, (count,))


def test_counts_must_fit_the_sites():
    with pytest.raises(ValidationError, match="1 counts for 2 sites"):
        BlockResponses(block_index=0, site_ids=("x", "y"), presentations=(_shown(A, (1,)),))


def test_the_digest_says_what_was_counted_and_not_when():
    def digest(count, onset_s):
        return BlockResponses(
            block_index=0, site_ids=("x",), presentations=(_shown(A, (count,), onset_s=onset_s),)
        ).digest

    assert digest(1, 0.5) == digest(1, 99.0)
    assert digest(1, 0.5) != digest(2, 0.5)


def test_a_stimulus_names_its_targets_and_otherwise_has_the_document_it_always_had(images):
    block = Block.of(images[:2], roles=Role.STRETCH, targets=[("A-001", "A-002"), ()])
    first, second = block.document()["stimuli"]
    assert first["targets"] == ["A-001", "A-002"]
    assert set(second) == {"id", "role", "label"}
    again = Block.model_validate({**block.document(), "images": images[:2]})
    assert again.digest == block.digest
    assert [stimulus.targets for stimulus in again.stimuli] == [("A-001", "A-002"), ()]


def test_targets_must_fit_the_images(images):
    with pytest.raises(DataError, match="targets and place an image"):
        Block.of(images, roles=Role.STRETCH, targets=[("A-001",)])


def test_a_rig_event_of_the_first_trial_keeps_its_trial():
    from protocols.vocabulary import RigEvent

    event = RigEvent(kind="reward", at_s=1.5, trial=0)
    assert RigEvent.model_validate(event.model_dump(mode="json")) == event
