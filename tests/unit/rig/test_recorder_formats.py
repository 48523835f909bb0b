"""Bytes and JSON as the recorders document them, written out here by hand; and what is built on them."""

from __future__ import annotations

import struct

import pytest

from protocols.errors import SettingsError
from protocols.settings import validated
from rig_client.acquisition import cerebus_links, open_ephys_events, open_ephys_zmq
from rig_client.acquisition.cerebus import checked as checked_channels
from rig_client.acquisition.event_channels import EventChannel
from rig_client.acquisition.formats import cerebus, intan
from rig_client.acquisition.intan import checked as checked_natives
from rig_client.acquisition.line_words import LineWords
from rig_client.acquisition.message_numbers import MessageNumbers
from rig_client.acquisition.recording import Limits, Recording
from rig_client.acquisition.stream import RecorderSettings, StreamLost

# --- Open Ephys, Event Broadcaster -------------------------------------------------------------

BROADCAST_TTL = [
    b"\x00\x00",
    b'{"event_type":"ttl","stream":"Rhythm","source_node":100,"sample_rate":30000.0,'
    b'"channel_name":"TTL Input","sample_number":123456,"line":3,"state":true}',
]
BROADCAST_SPIKE = [
    b"\x01\x00",
    b'{"event_type":"spike","stream":"Rhythm","source_node":102,"electrode":"Electrode 1",'
    b'"num_channels":1,"sample_rate":30000.0,"sample_number":123789,"sorted_id":2,"amp1":-61.5}',
]


def test_broadcaster_ttl():
    expected = open_ephys_events.Ttl(
        "Rhythm", 30000.0, 123456, 3, True, EventChannel(100, "TTL Input")
    )
    assert open_ephys_events.decoded(BROADCAST_TTL) == expected
    assert open_ephys_events.decoded(open_ephys_events.encoded(expected)) == expected


def test_broadcaster_spike():
    expected = open_ephys_events.Spike("Rhythm", 30000.0, 123789, "Electrode 1", 2, 102)
    assert open_ephys_events.decoded(BROADCAST_SPIKE) == expected
    assert open_ephys_events.decoded(open_ephys_events.encoded(expected)) == expected


def test_broadcaster_json_may_end_with_nul():
    with_nul = [BROADCAST_TTL[0], BROADCAST_TTL[1] + b"\0"]
    assert open_ephys_events.decoded(with_nul) == open_ephys_events.decoded(BROADCAST_TTL)


def test_broadcaster_other_kinds_are_passed_over():
    assert open_ephys_events.decoded([b"\x02\x00", b"?"]) is None


@pytest.mark.parametrize("message", [[b""], [b"EVENT\0"], [b"\0\0", b"{}"], [b"\0\0", b"\xff"]])
def test_broadcaster_strangers_are_named(message):
    with pytest.raises(StreamLost, match="no Event Broadcaster"):
        open_ephys_events.understood(message)


# --- Open Ephys, ZMQ Interface -----------------------------------------------------------------

ZMQ_TTL = [
    b"EVENT\x00",
    b'{"message_num":7,"type":"event","content":{"stream":"Rhythm","source_node":100,"type":3,'
    b'"sample_num":123456},"data_size":10,"timestamp":1}',
    b"\x03\x01\x0a\x00\x00\x00\x00\x00\x00\x00",
]
ZMQ_SPIKE = [
    b"EVENT\x00",
    b'{"message_num":8,"type":"spike","spike":{"stream":"Rhythm","source_node":102,'
    b'"electrode":"Electrode 1","sample_num":123789,"num_channels":1,"num_samples":2,'
    b'"sorted_id":1,"threshold":[-50.0]},"timestamp":1}',
    b"\x00\x00\x80\xbf\x00\x00\x00\xc0",
]
ZMQ_DATA = [
    b"DATA\x00",
    b'{"message_num":9,"type":"data","content":{"stream":"Rhythm","channel_num":0,'
    b'"num_samples":2,"sample_num":124000,"sample_rate":30000},"data_size":8,"timestamp":1}',
    b"\x00" * 8,
]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (ZMQ_TTL, open_ephys_zmq.Ttl(7, "Rhythm", 123456, 3, True, 10)),
        (ZMQ_SPIKE, open_ephys_zmq.Spike(8, "Rhythm", 123789, "Electrode 1", 1, 102)),
        (ZMQ_DATA, open_ephys_zmq.Data(9, "Rhythm", 124000, 2)),
    ],
)
def test_zmq_interface(frames, expected):
    assert open_ephys_zmq.decoded(frames) == expected
    assert open_ephys_zmq.decoded([frames[0], frames[1] + b"\0", *frames[2:]]) == expected
    again = open_ephys_zmq.encoded(expected)
    assert again[0] == frames[0]
    assert open_ephys_zmq.decoded(again) == expected


def test_zmq_interface_other_messages_count():
    frames = [b"EVENT\x00", b'{"message_num":10,"type":"event","content":{"type":5}}']
    assert open_ephys_zmq.decoded(frames) == open_ephys_zmq.Other(10)


@pytest.mark.parametrize("frames", [[b"EVENT\0"], [b"\0\0", b"{}"], [b"DATA\0", b"{}"]])
def test_zmq_interface_strangers_are_named(frames):
    with pytest.raises(StreamLost, match="no ZMQ Interface"):
        open_ephys_zmq.understood(frames)


def test_message_numbers_find_gaps_and_forgive_those_that_fill():
    recording = Recording(("a",), 30_000, Limits(settle_s=0))
    numbers = MessageNumbers(recording, slack=0)
    for number, sample in ((5, 100), (6, 200)):
        numbers.came(number, sample, sample - 100)
    assert list(recording._gaps) == []
    numbers.came(9, 500, 200)
    (gap,) = recording._gaps
    assert (gap.fault, gap.first, gap.last) == ("message_gap", 200, 500)
    numbers.came(8, 400, 500)
    assert list(recording._gaps) == [gap]
    numbers.came(7, 300, 500)
    assert list(recording._gaps) == []


# --- Intan RHX ---------------------------------------------------------------------------------

SPIKE_BYTES = b"\x0f\x71\xe2\x3aA-010\x39\x30\x00\x00\x40"


def test_intan_spike():
    assert len(SPIKE_BYTES) == 14
    assert intan.decoded_spike(SPIKE_BYTES) == intan.Spike("A-010", 12345, 0x40)
    assert intan.encoded_spike(intan.Spike("A-010", 12345, 0x40)) == SPIKE_BYTES


def test_intan_block():
    frames = b"".join(struct.pack("<IH", 1000 + n, 2 if n >= 100 else 0) for n in range(128))
    block = b"\x08\x7a\xf0\x2e" + frames
    assert len(block) == intan.BLOCK_BYTES == 772
    decoded = intan.decoded_block(block)
    assert decoded["timestamp"].tolist() == list(range(1000, 1128))
    assert decoded["word"].tolist() == [0] * 100 + [2] * 28
    assert intan.encoded_block(decoded["timestamp"], decoded["word"]) == block


@pytest.mark.parametrize("step", [1, 3, 13, 14, 15, 100])
def test_intan_packets_may_be_split_anywhere(step):
    stream = SPIKE_BYTES * 5
    packets = intan.Packets(intan.SPIKE_MAGIC, 14)
    found = [p for n in range(0, len(stream), step) for p in packets.feed(stream[n : n + step])]
    assert found == [SPIKE_BYTES] * 5
    assert packets.n_skipped == 0


@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("n_lost", [1, 4, 9, 13])
def test_intan_stream_is_found_again_by_its_magic_number(step, n_lost):
    stream = SPIKE_BYTES[n_lost:] + SPIKE_BYTES * 3
    packets = intan.Packets(intan.SPIKE_MAGIC, 14)
    found = [p for n in range(0, len(stream), step) for p in packets.feed(stream[n : n + step])]
    assert found == [SPIKE_BYTES] * 3
    assert packets.n_skipped == 14 - n_lost


def test_intan_timestamps_wrap_after_40_hours():
    sample_of = intan.Unwrapped()
    timestamps = [2**32 - 200, 2**32 - 100, 50, 2**32 - 20, 100]
    samples = [sample_of(timestamp) for timestamp in timestamps]
    assert samples == [2**32 - 200, 2**32 - 100, 2**32 + 50, 2**32 - 20, 2**32 + 100]


def test_intan_a_restart_is_no_wrap():
    sample_of = intan.Unwrapped()
    assert [sample_of(t) for t in (1_000_000, 0, 100)] == [1_000_000, 0, 100]
    long_run = intan.Unwrapped()
    assert [long_run(t) for t in (2**31 - 1, 10, 20)] == [2**31 - 1, 10, 20]


@pytest.mark.parametrize(("unit", "name"), [(0x40, 0), (1, 1), (2, 2), (4, 3), (8, 4)])
def test_intan_units_are_bits(unit, name):
    assert intan.UNIT_OF[unit] == name


def test_intan_names_that_cannot_match_are_refused():
    names = {"a": "a-010", "b": "B-003#1", "c": "H-127#0"}
    assert checked_natives(names) == {"a": "A-010", "b": "B-003#1", "c": "H-127#0"}
    for wrong in ("A-010#5", "A-010#8", "A010", "A-10", "I-000", "V4", "A-010#"):
        with pytest.raises(SettingsError, match="native name"):
            checked_natives({"x": wrong})


# --- Blackrock Cerebus -------------------------------------------------------------------------

WORD_311 = bytes.fromhex("0100000097000003050000000500000001000000")
"""As CereLink has it: time 1, channel 151, type 0, three 32-bit words: read 5, changed 5, any bit."""
SPIKE_41 = bytes.fromhex("40e2010000000000 0c00 0100 0100 00 00 aabbccdd".replace(" ", ""))
MONITOR_41 = bytes.fromhex(
    "50e2010000000000 0080 0100 0200 00 00 1700000009000000".replace(" ", "")
)
SPIKE_40 = bytes.fromhex("40e2010000000000 0c00 01 0100 02 0000 aabbccdd".replace(" ", ""))
MONITOR_40 = bytes.fromhex("50e2010000000000 0080 01 0100 02 0000 17000000".replace(" ", ""))
SPIKE_311 = bytes.fromhex("40e20100 0c00 01 01 aabbccdd".replace(" ", ""))
MONITOR_311 = bytes.fromhex("50e20100 0080 01 01 17000000".replace(" ", ""))
HEARTBEAT_311 = bytes.fromhex("50e20100 0080 00 00".replace(" ", ""))
HEARTBEAT_41 = bytes.fromhex("50e2010000000000 0080 0000 0000 00 00".replace(" ", ""))
PAYLOAD = b"\xaa\xbb\xcc\xdd"


def test_cerebus_a_word_of_protocol_3_11():
    (packet,) = cerebus.decoded(WORD_311, "3.11")
    assert (packet.time, packet.channel, packet.type) == (1, 151, 0)
    assert struct.unpack("<III", packet.payload) == (5, 5, 1)
    assert cerebus.encoded(packet, "3.11") == WORD_311


@pytest.mark.parametrize(
    ("protocol", "datagram", "instrument"),
    [("3.11", SPIKE_311 + MONITOR_311, 0), ("4.0", SPIKE_40 + MONITOR_40, 2),
     ("4.1", SPIKE_41 + MONITOR_41, 0)],
)  # fmt: skip
def test_cerebus_two_packets_in_one_datagram(protocol, datagram, instrument):
    spike, monitor = cerebus.decoded(datagram, protocol)
    assert spike == cerebus.Packet(123456, 12, 1, PAYLOAD, instrument)
    assert (monitor.time, monitor.is_monitor, monitor.payload[:4]) == (123472, True, b"\x17\0\0\0")
    assert b"".join(cerebus.encoded(p, protocol) for p in (spike, monitor)) == datagram


@pytest.mark.parametrize("cut", range(1, 20))
def test_cerebus_what_is_cut_off_is_no_packet(cut):
    whole = HEARTBEAT_41 + SPIKE_41
    assert len(list(cerebus.decoded(whole[:-cut], "4.1"))) == 1


@pytest.mark.parametrize(
    ("protocol", "datagrams"),
    [
        ("3.11", [WORD_311]),
        ("3.11", [HEARTBEAT_311 + MONITOR_311]),
        ("3.11", [SPIKE_311, MONITOR_311]),
        ("4.0", [SPIKE_40 + MONITOR_40]),
        ("4.0", [HEARTBEAT_41, MONITOR_40]),
        ("4.1", [HEARTBEAT_41 + MONITOR_41]),
        ("4.1", [HEARTBEAT_41, SPIKE_41]),
    ],
)
def test_cerebus_the_protocol_is_seen_by_the_packets(protocol, datagrams):
    guess = cerebus.Guess()
    assert [guess.of(datagram) for datagram in datagrams][-1] == protocol


def hear(port, datagram, n_times):
    for _ in range(n_times):
        port.heard(datagram, 0.0)


def test_cerebus_another_protocol_than_asked_for_is_said_in_one_line():
    port = cerebus_links.Port(51002, "4.1", None)
    with pytest.raises(StreamLost, match=r"are of protocol 3\.11, not of protocol 4\.1; set pro"):
        hear(port, HEARTBEAT_311 + MONITOR_311, 100)


def test_cerebus_what_is_of_no_protocol_is_said_in_one_line():
    port = cerebus_links.Port(51002, "auto", None)
    with pytest.raises(StreamLost, match="none of Blackrock's protocols"):
        hear(port, b"GET / HTTP/1.1\r\n\r\n", 3000)


@pytest.mark.parametrize(
    ("first", "step", "expected"),
    [(1_000, 300, 1_300 * 100_000 // 3), (1_000_000, 10_000_000, 11_000_000),
     (1_790_000_000 * 10**9, 10_000_000, 1_790_000_000 * 10**9 + 10_000_000)],
)  # fmt: skip
def test_cerebus_ticks_and_nanoseconds_are_told_by_the_monitors(first, step, expected):
    clock = cerebus_links.Clock(None)
    monitor = cerebus.Packet(first, 0x8000, 1, bytes(8))
    clock.nanoseconds(monitor, 0.0)
    assert clock.nanoseconds(monitor._replace(time=first + step), 0.01) == expected


def test_cerebus_a_channels_name_is_in_its_settings():
    settings = struct.pack("<I", 279) + bytes(164) + b"digin".ljust(16, b"\0") + bytes(100)
    assert cerebus.label(cerebus.Packet(1, 0x8000, 0x40, settings)) == (279, "digin")
    assert cerebus.label(cerebus.Packet(1, 0x8000, 0x21, settings)) is None


def test_cerebus_names_that_cannot_match_are_refused():
    names = {"a": "12", "b": "12#1", "c": "1:12#255", "d": "HUB1/12", "e": "51002/0:12#2"}
    assert checked_channels(names) == names
    for wrong in ("elec12", "12#", "a:12", "12#u", ""):
        with pytest.raises(SettingsError, match="instrument 1"):
            checked_channels({"x": wrong})


# --- words on lines ----------------------------------------------------------------------------


def changes(words):
    return [(word.word, word.sample) for word in words]


def test_lines_that_change_within_the_settling_time_make_one_word():
    lines = LineWords((0, 1, 2, 3), None, 30)
    for line, sample in ((3, 1025), (0, 1000), (1, 1030)):
        lines.line(line, True, sample, 0.0)
    assert changes(lines.until(1030)) == []
    assert changes(lines.until(1031)) == [(0b1011, 1000)]
    for line in (0, 1, 3):
        lines.line(line, False, 4000, 0.0)
    lines.line(2, True, 7000, 0.0)
    assert changes(lines.until(float("inf"))) == [(0b0100, 7000)]


def test_other_lines_are_no_part_of_the_word_and_bits_can_be_anywhere():
    lines = LineWords((4, 2), None, 30)
    for line in (2, 4, 7):
        lines.line(line, True, 1000, 0.0)
    lines.line(7, False, 2000, 0.0)
    assert changes(lines.until(9000)) == [(0b11, 1000)]
    lines.port(0b0000_0100, 9500, 0.0)
    assert changes(lines.until(float("inf"))) == [(0b10, 9500)]


def test_with_a_strobe_the_word_is_what_stands_when_it_rises():
    lines = LineWords((0, 1), 7, 30)
    lines.line(7, True, 1100, 0.0)
    lines.line(1, True, 1000, 0.0)
    lines.line(0, True, 1090, 0.0)
    lines.line(0, False, 1110, 0.0)
    lines.line(7, False, 1200, 0.0)
    lines.line(7, True, 1300, 0.0)
    assert changes(lines.until(float("inf"))) == [(0b11, 1100), (0b10, 1300)]


def test_what_follows_a_restart_does_not_depend_on_the_lines_before():
    lines = LineWords((0, 1), None, 30)
    lines.line(0, True, 1000, 0.0)
    assert changes(lines.until(2000)) == [(1, 1000)]
    lines.clear()
    lines.line(0, True, 10, 0.0)
    assert changes(lines.until(2000)) == [(1, 10)]


# --- sites -------------------------------------------------------------------------------------


def test_sites_have_the_recorders_names_or_ones_own():
    assert RecorderSettings(sites=("A-010", "A-011")).sources("") == {
        "A-010": "A-010",
        "A-011": "A-011",
    }
    own = validated(RecorderSettings, {"sites": {"V4-a": "A-010"}}, where="test")
    assert own.sources("") == {"V4-a": "A-010"}


@pytest.mark.parametrize("sites", [(), ("a", "a"), {"x": "a", "y": "a"}])
def test_without_sites_the_error_says_how_they_are_named(sites):
    with pytest.raises(SettingsError, match="Electrode 7"):
        RecorderSettings(sites=sites).sources('["Electrode 7"]')
