"""What single vendors' sources do, and others' do not: protocols, ports, writes, ids."""

from __future__ import annotations

import time

import pytest

from protocols.errors import RecorderGap
from protocols.recorder_checks import check_recorder
from rig_client.emulators.emulator import Lines, Spike
from tests.edges import (
    TIMING,
    at_the_edges,
    edge_block,
    known,
    number,
)
from tests.emulation import rehearsal
from tests.thorough import times

PROTOCOLS = ["3.11", "4.0", "4.1", "gemini"]


@pytest.fixture
def block(images):
    return edge_block(images)


# --- Cerebus -----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cerebus_of_every_age_with_the_same_settings(protocol, block):
    with rehearsal("cerebus", at_the_edges, protocol=protocol) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_cerebus_a_lost_spike_is_noticed(protocol, block):
    lost = {"words": 0, "one": False}

    def is_lost(event):
        lost["words"] += isinstance(event, Lines) and event.word > 0
        if isinstance(event, Spike) and lost["words"] >= 3 and not lost["one"]:
            lost["one"] = True
            return True
        return False

    def expected(cue):
        return None if number(cue) == 2 else known(cue)

    with rehearsal("cerebus", at_the_edges, protocol=protocol) as lab:
        lab.speaker.is_lost = is_lost
        faults = check_recorder(lab.recorder, lab.trigger, block, expected)
    assert set(faults.values()) == {"message_gap"}


@pytest.mark.parametrize("protocol", ["3.11", "gemini"])
def test_cerebus_restarts_again_and_again(protocol, block):
    with rehearsal("cerebus", at_the_edges, protocol=protocol, away_s=0.05) as lab:
        for n in range(3):
            assert (
                check_recorder(lab.recorder, lab.trigger, block, known, first_word=9 * n + 1) == {}
            )
            epoch = lab.recorder.recording.epoch
            lab.emulator.restart()
            lab.wait_until(lambda was=epoch: lab.recorder.recording.epoch > was, "it began anew")
            lab.wait_until_streaming()


# --- Intan RHX ---------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [1, 10, 30])
def test_intan_whatever_is_written_at_once(blocks, block):
    with rehearsal("intan", at_the_edges, blocks_per_write=blocks) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


@pytest.mark.parametrize("what", ["waveform", "spike"])
def test_intan_gets_in_again_without_a_click(what, block):
    """RHX stops listening on a data port when its client has gone; the command port stays."""
    with rehearsal("intan", at_the_edges) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}
        for n in range(3):
            epoch = lab.recorder.recording.epoch
            lab.recorder._data[what].shutdown(2)
            lab.wait_until(lambda was=epoch: lab.recorder.recording.epoch > was, "it was noticed")
            lab.wait_until_streaming()
            first = 9 * (n + 1)
            assert check_recorder(lab.recorder, lab.trigger, block, known, first_word=first) == {}
        assert lab.speaker._commands.status == "Connected"


def test_intan_goes_on_without_its_command_port(block):
    with rehearsal("intan", at_the_edges, click_s=3600) as lab:
        lab.speaker._commands.drop()
        lab.wait_until(lambda: lab.recorder._control is None, "it was noticed")
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


def test_intan_says_where_to_click(block):
    with rehearsal("intan", at_the_edges, click_s=3600) as lab:
        lab.speaker._commands.drop()
        lab.wait_until(lambda: lab.recorder._control is None, "it was noticed")
        lab.speaker._spikes.drop()
        lab.wait_until(lambda: "click Connect" in lab.recorder.trouble(), "it says so")
        lab.speaker._commands.listen()
        lab.wait_until_streaming()
        assert check_recorder(lab.recorder, lab.trigger, block, known, first_word=50) == {}


def test_intan_an_rhx_that_does_not_say_how_it_writes_is_waited_for(block, monkeypatch):
    from rig_client.emulators.intan import IntanSpeaker

    told = IntanSpeaker._told

    def silent(self, name):
        hidden = ("tcpnumberdatablocksperwrite", "tcpspikedataoutputconnectionstatus")
        return "Unrecognized parameter" if name in hidden else told(self, name)

    monkeypatch.setattr(IntanSpeaker, "_told", silent)
    with rehearsal("intan", at_the_edges, {"settle_ms": None}) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


# --- LSL ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ids", ["strings", "ints", "floats"])
def test_lsl_ids_of_every_kind(ids, block):
    pytest.importorskip("pylsl")
    with rehearsal("lsl", at_the_edges, ids=ids) as lab:
        assert check_recorder(lab.recorder, lab.trigger, block, known) == {}


# --- all ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cerebus", "intan"])
def test_many_restarts_and_no_wrong_count(kind, block):
    with rehearsal(kind, at_the_edges, away_s=0.1) as lab:
        for n in range(times(20, 6)):
            first = 8 * n % 120 + 1
            assert check_recorder(lab.recorder, lab.trigger, block, known, first_word=first) == {}
            cue = next(block.cues())
            lab.trigger.stage(block)
            lab.recorder.stage(block)
            lab.recorder.mark(cue, time.perf_counter(), first)
            lab.emulator.restart()
            with pytest.raises(RecorderGap):
                lab.recorder.spike_counts(cue, TIMING.count_window_s)
            lab.wait_until_streaming()
