"""`doctor` on what a recorder's stream brings, over real sockets."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.recorder_checks import check_recorder
from protocols.vocabulary import Block, Role, Timing
from rig_client.acquisition.open_ephys_events import EventChannel, Ttl, encoded
from rig_client.doctor import stream
from rig_client.doctor.equipment import Equipment
from tests.emulation import rehearsal

TIMING = Timing(on_ms=20, off_ms=0, count_start_ms=30, count_stop_ms=70)


@pytest.fixture
def block(images):
    return Block.of(images, roles=Role.EVOLVED, timing=TIMING).at(0, "t")


def fires(cue):
    """Site c never does."""
    return [[1000, 1500], [1200], []]


def looked_into(lab, wait_s=30.0):
    return Equipment(rig=None, wait_s=wait_s, acquisition=lab.recorder, n_sent=4, n_found=4)


def shown(lab, block, first_word=1):
    known = lambda cue: np.array([2.0, 1.0, 0.0])  # noqa: E731
    assert check_recorder(lab.recorder, lab.trigger, block, known, first_word=first_word) == {}


def test_sites_that_never_fire_and_units_that_are_none_are_listed(block):
    with rehearsal("open-ephys-events", fires, ideal=False) as lab:
        shown(lab, block)
        of = looked_into(lab)
        units, verdict = stream.units(of), stream.verdict(of)
    assert units.status == "warn"
    assert "no spike has come of V4-c ('V4-c')" in units.detail
    assert "'background'" in units.detail
    assert "V4-a (8)" in units.detail
    assert verdict.status == "warn"
    assert "would be counted as zero" in verdict.remedy
    assert "no numbers" in verdict.detail


def test_the_wait_is_measured_and_its_price_is_said(block):
    with rehearsal("open-ephys-events", fires, ideal=False, background_hz=400) as lab:
        shown(lab, block)
        found = stream.stragglers(looked_into(lab))
    assert found.status == "pass", found
    assert "ms a presentation" in found.detail
    assert lab.recorder.recording.is_measured


def test_too_few_spikes_are_said_to_be_too_few(block):
    with rehearsal("open-ephys-events", fires, ideal=False, background_hz=0) as lab:
        shown(lab, block)
        found = stream.stragglers(looked_into(lab, wait_s=0.1))
    assert found.status == "warn"
    assert "too few spikes" in found.detail


def test_words_that_were_lost_are_no_reason_to_start(block):
    with rehearsal("open-ephys-events", fires) as lab:
        of = looked_into(lab)
        of.n_found = 3
        verdict = stream.verdict(of)
    assert verdict.status == "fail"
    assert verdict.detail.startswith("do not start: 1 of 4 words")


class Photodiode:
    """A Crossing Detector on the same stream: line 0, 0.5 ms after each word; its own source node."""

    def __init__(self, speaker):
        self.speaker = speaker
        self.sends = speaker._messages
        speaker._messages = self.messages

    def messages(self, event):
        own = self.sends(event)
        channel = EventChannel(103, "Crossing Detector output")
        flashes = [
            Ttl(one.stream, one.sample_rate_hz, one.sample + 15, 0, bool(event.word), channel)
            for one in own[:1]
            if isinstance(one, Ttl)
        ]
        for flash in flashes[:1]:
            assert encoded(flash)
        return [*flashes, *own]


@pytest.mark.parametrize("word_channel", ["", "TTL", "100"])
def test_another_event_channel_with_the_same_lines_destroys_no_word(word_channel, block):
    """Without a setting the first words cannot be told apart: at most one is missed, none is wrong."""
    options = {"word_channel": word_channel, "word_wait_ms": 2000}
    with rehearsal("open-ephys-events", fires, options, ideal=False) as lab:
        Photodiode(lab.speaker)
        known = lambda cue: np.array([2.0, 1.0, 0.0])  # noqa: E731
        order = [0, 1, 2, 3] * 3
        many = block.model_copy(update={"order": tuple(order)})
        faults = check_recorder(lab.recorder, lab.trigger, many, known, may_refuse=not word_channel)
        channels = stream.channels(looked_into(lab))
    assert "103 'Crossing Detector output'" in channels.detail
    if word_channel:
        assert faults == {}
        assert channels.status == "pass"
    else:
        assert len(faults) <= 2
        assert "words come by 100 'TTL'" in channels.detail
