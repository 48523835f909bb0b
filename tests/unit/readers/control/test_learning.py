"""What rounds drew, told apart from the test: from blocks written by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rich.console import Console

from protocols.vocabulary import Block, BlockResponses, Outcome, Role
from synth_server.readers.control.gains import summary_of
from synth_server.readers.control.gains_table import print_learning
from synth_server.readers.control.learning import learned
from synth_server.readers.log.synthesised_images import ControlRecord, ControlThread
from synth_server.report.tables import learning_tables

SITES = ("a", "b")


def _block(label, first, counts, role, how=""):
    """An image for each site; `counts` `(2, 2)`: what each draws at both sites."""
    images = np.full((2, 8, 8, 3), 50, np.uint8)
    images[..., 0] = np.array([first, first + 1], np.uint8)[:, None, None]
    labels = [f"{label}, {site}, {how}, predicted 120.0 spikes/s" for site in SITES]
    block = Block.of(images, roles=role, labels=labels, targets=[(s,) for s in SITES], label=label)
    block = block.at(0, "t")
    shown = tuple(
        cue.presentation(
            onset_s=0.0, outcome=Outcome.COMPLETED, spike_counts=tuple(counts[cue.stimulus_index])
        )
        for cue in block.cues()
    )
    return block, BlockResponses(block_index=0, site_ids=SITES, presentations=shown)


@pytest.fixture
def record():
    thread = ControlThread("t", 1.0, window_s=0.1)
    for label, first, counts, role, how in (
        ("round 1, repetition 0, images 0–1", 0, [[6, 0], [0, 8]], Role.STRETCH, "from the best"),
        ("round 1, repetition 0, images 2–3", 10, [[2, 0], [0, 4]], Role.STRETCH, "from scratch"),
        ("round 2, repetition 0, images 0–1", 20, [[12, 0], [0, 6]], Role.STRETCH, "from the best"),
        ("test, repetition 0, images 0–1", 30, [[20, 1], [1, 9]], Role.STRETCH, ""),
        ("test, repetition 0, images 2–3", 40, [[4, 3], [3, 6]], Role.BEST_NATURAL, ""),
    ):
        block, responses = _block(label, first, counts, role, how)
        thread.add(block.document(), responses)
    found = ControlRecord()
    found.threads["t"] = thread
    return found


def test_the_test_knows_nothing_of_rounds(record):
    test = summary_of(record.threads["t"], Role.STRETCH, 0)
    assert [site.n_images for site in test.sites] == [1, 1]
    assert [site.synthesised.value for site in test.sites] == [20, 9]


def test_each_round_is_told_against_the_natural_images_of_the_test(record):
    test = summary_of(record.threads["t"], Role.STRETCH, 0)
    (learning,) = learned(record, (test,))
    first, second = learning.rounds
    assert (first.n_presentations, second.n_presentations) == (4, 6)
    a, b = first.sites
    assert (a.measured, a.from_best, a.from_scratch) == (4, 6, 2)
    assert a.predicted == pytest.approx(12), "120 spikes/s in 0.1 s"
    assert (a.gain, b.gain) == (1.0, 1.0)
    assert [site.gain for site in second.sites] == [3.0, 1.0]
    assert second.median_gain == 2.0
    assert learning.test_gain == pytest.approx((20 / 4 + 9 / 6) / 2)
    assert second.sites[0].from_scratch is None


def test_before_the_test_there_are_counts_and_no_gains(record):
    (learning,) = learned(record, ())
    assert learning.test_gain is None
    assert [each.median_gain for each in learning.rounds] == [None, None]
    assert learning.rounds[0].sites[0].measured == 4


def test_tables_name_every_round(record):
    test = summary_of(record.threads["t"], Role.STRETCH, 0)
    found = learned(record, (test,))
    (table,) = learning_tables(found)
    assert [row[0] for row in table.rows] == ["1", "2"]
    assert table.rows[0][2:] == ("12.0", "5.0", "7.0", "3.0", "× 1.00")
    assert table.rows[1][-2:] == ("–", "× 2.00")
    console = Console(record=True, width=100)
    print_learning(found[0], console)
    assert "× 2.00" in console.export_text()
