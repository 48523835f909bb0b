"""Words on real lines: a pseudo-terminal, a REP socket, an LSL inlet; drivers stood in for."""

from __future__ import annotations

import os
import select
import sys
import threading
from types import ModuleType, SimpleNamespace

import pytest
import zmq

from protocols import plugins
from protocols.conformance import check_trigger
from protocols.errors import InstallationError, RigError, SettingsError
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role
from rig_client.apparatus import apparatus_of
from rig_client.settings import RigSettings

SESSION = SessionInfo(session_id="s", seed=0)
DEADLINE_S = 20


def made(name, **options):
    return plugins.create("stimloop.triggers", PluginChoice(name=name, options=options), SESSION)


@pytest.fixture
def block(images):
    return Block.of(images, roles=Role.CONTROL).at(0, "t")


@pytest.fixture
def cue(block):
    return next(block.cues())


# --- serial ------------------------------------------------------------------------------------


class Terminal:
    """The far end of a serial line."""

    def __init__(self):
        self.far, near = os.openpty()
        self.port = os.ttyname(near)
        self._near = near
        self.bytes = b""

    def read(self, n):
        """The bytes so far, once there are n."""
        while len(self.bytes) < n:
            assert select.select([self.far], [], [], DEADLINE_S)[0], f"only {self.bytes!r} came"
            self.bytes += os.read(self.far, 1024)
        return self.bytes

    def all(self):
        """Every byte that was ever written; for a port that is closed."""
        while select.select([self.far], [], [], 0)[0]:
            self.bytes += os.read(self.far, 1024)
        return self.bytes

    def close(self):
        os.close(self._near)
        os.close(self.far)


@pytest.fixture
def terminal():
    opened = Terminal()
    yield opened
    opened.close()


def test_serial_writes_the_levels_as_one_byte(terminal, cue):
    trigger = made("serial", port=terminal.port)
    trigger.send(1, cue)
    trigger.clear()
    trigger.send(255, cue)
    trigger.close()
    assert terminal.all() == b"\x00\x01\x00\xff\x00"


def test_serial_keeps_the_contract(terminal, block):
    def arrived(n):
        terminal.read(2 * n)  # a zero at first, then each word, and the zero that clears the last
        return [level for level in terminal.bytes if level]

    check_trigger(made("serial", port=terminal.port), block, arrived=arrived)


def test_words_stand_on_their_lines_before_the_strobe_goes_up(terminal, cue):
    trigger = made("serial", port=terminal.port, word_bits=8, first_line=1, strobe_line=0)
    trigger.send(3, cue)
    trigger.close()
    assert terminal.all() == bytes([0, 0, 6, 0, 7, 0, 0, 0])


def test_serial_writes_numbers_for_a_microcontroller(terminal, cue):
    trigger = made("serial", port=terminal.port, message="decimal", word_bits=12)
    trigger.send(4095, cue)
    trigger.close()
    assert terminal.all() == b"0\n4095\n0\n"


def test_a_pulse_ends_by_itself(terminal, cue):
    trigger = made("serial", port=terminal.port, pulse_ms=1)
    trigger.send(5, cue)
    assert terminal.read(3) == b"\x00\x05\x00"
    trigger.clear()
    trigger.send(6, cue)
    assert terminal.read(5) == b"\x00\x05\x00\x06\x00"
    trigger.close()


def test_a_pulse_does_not_cut_the_next_word_short(terminal, cue):
    trigger = made("serial", port=terminal.port, pulse_ms=1000)
    trigger.send(5, cue)
    trigger.send(6, cue)
    trigger.close()
    # one zero of the pulse of 6, one of closing; none of the pulse of 5
    assert terminal.all() == b"\x00\x05\x06\x00\x00"


def test_a_line_that_is_unplugged_is_reported_and_does_not_stop_the_session(cue, caplog):
    terminal = Terminal()
    trigger = made("serial", port=terminal.port)
    terminal.close()
    trigger._port.close()
    trigger.send(1, cue)
    trigger.clear()
    trigger.send(2, cue)
    assert trigger.trouble
    assert [r.message for r in caplog.records if "serial trigger failed" in r.message][1:] == []
    trigger.close()


def test_a_port_that_is_not_there_is_named():
    with pytest.raises(RigError, match="/dev/no-such-port"):
        made("serial", port="/dev/no-such-port")


def test_a_word_too_large_for_the_lines_is_refused(terminal, cue):
    trigger = made("serial", port=terminal.port, word_bits=4)
    with pytest.raises(RigError, match="1 to 15"):
        trigger.send(16, cue)
    trigger.close()


def test_words_wider_than_the_lines_are_refused_before_the_session(terminal):
    options = {"port": terminal.port, "word_bits": 4}
    settings = RigSettings(
        display=PluginChoice(name="headless"),
        acquisition=PluginChoice(
            name="simulated", options={"subject": {"name": "gabor_energy", "options": {}}}
        ),
        trigger=PluginChoice(name="serial", options=options),
    )
    with pytest.raises(SettingsError, match="at least 8"):
        apparatus_of(settings, SESSION)


@pytest.mark.parametrize(
    "lines", [{"strobe_line": 7}, {"first_line": 30}, {"word_bits": 0}, {"pulse_ms": 0}]
)
def test_lines_that_cannot_be_are_refused(lines):
    with pytest.raises(SettingsError):
        made("serial", **lines)


# --- Open Ephys --------------------------------------------------------------------------------


class NetworkEvents:
    """A REP socket that answers as the plug-in's source does, and writes down what it was told.

    `version`: 0.1 knows Channel and on, 0.2 Line and State, 0.3 Word besides.
    """

    def __init__(self, version=0.3):
        self.version = version
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.REP)
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.told = []
        self.changed = threading.Condition()
        self.open = True
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while self.open:
            if not self.socket.poll(20):
                continue
            text = self.socket.recv().decode()
            with self.changed:
                self.told.append(text)
                self.changed.notify_all()
            self.socket.send(self.answer(text).encode())
        self.socket.close(linger=0)

    def answer(self, text):
        command, *arguments = text.split()
        if command != "TTL":
            return "NotHandled"
        values = {key: int(value) for key, value in (each.split("=") for each in arguments)}
        if self.version >= 0.3 and "Word" in values:
            return f"TTLHandled: Word={values['Word']}"
        if self.version < 0.2:
            return f"TTLHandled: Channel={values.get('Channel', 1)} on={values.get('on', 0)}"
        return f"TTLHandled: Line={values.get('Line', 1)} State={values.get('State', 0)}"

    def wait_for(self, n):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.told) >= n, DEADLINE_S), self.told
            return list(self.told)

    def close(self):
        """Twice does no harm."""
        self.open = False
        self.thread.join()
        self.context.term()


@pytest.fixture
def gui():
    opened = NetworkEvents()
    yield opened
    opened.close()


def test_network_events_are_told_line_by_line_and_the_strobe_last(gui, cue):
    trigger = made(
        "open_ephys_network_events",
        address=gui.address,
        word_bits=3,
        strobe_line=7,
        max_delay_ms=1000,
    )
    n = len(gui.told)
    assert gui.told == [f"TTL Line={line} State=0" for line in (8, 3, 2, 1)]
    trigger.send(5, cue)
    trigger.clear()
    told = gui.wait_for(n + 6)[n:]
    assert told == [
        "TTL Line=3 State=1",
        "TTL Line=1 State=1",
        "TTL Line=8 State=1",
        "TTL Line=8 State=0",
        "TTL Line=3 State=0",
        "TTL Line=1 State=0",
    ]
    trigger.close()


def test_network_events_keep_the_contract(gui, block):
    def arrived(n):
        with gui.changed:
            assert gui.changed.wait_for(lambda: len(words()) >= n, DEADLINE_S)
            return words()

    def words():
        told = [int(text.removeprefix("TTL Word=")) for text in gui.told]
        return [word for word in told if word]

    options = {"message": "word", "max_delay_ms": 1000}
    trigger = made("open_ephys_network_events", address=gui.address, **options)
    check_trigger(trigger, block, arrived=arrived)


@pytest.mark.parametrize(("version", "message"), [(0.1, "lines"), (0.1, "word"), (0.2, "word")])
def test_a_plug_in_that_does_not_understand_is_refused(version, message):
    old = NetworkEvents(version)
    try:
        with pytest.raises(RigError, match="has not done what the trigger asked for"):
            made("open_ephys_network_events", address=old.address, message=message)
    finally:
        old.close()


def test_version_0_2_takes_single_lines():
    old = NetworkEvents(0.2)
    try:
        made("open_ephys_network_events", address=old.address).close()
    finally:
        old.close()


def test_a_gui_that_is_not_there_is_reported_at_once():
    with pytest.raises(RigError, match="does not answer"):
        made("open_ephys_network_events", address="tcp://127.0.0.1:9", timeout_s=0.05)


def test_a_gui_that_is_gone_is_reported_and_not_waited_for(gui, cue, caplog):
    trigger = made("open_ephys_network_events", address=gui.address, timeout_s=0.05)
    gui.close()
    reported = threading.Event()
    caplog.handler.addFilter(lambda record: reported.set() or True)
    for word in range(1, 50):
        trigger.send(word, cue)  # fifty answers would be waited for in vain
        trigger.clear()
    assert reported.wait(DEADLINE_S)
    assert "does not answer" in caplog.text
    assert trigger.trouble
    trigger.close()


# --- LSL ---------------------------------------------------------------------------------------


def test_lsl_markers_keep_the_contract(block):
    pylsl = pytest.importorskip("pylsl")
    trigger = made("lsl_markers", stream=f"words of test {os.getpid()}")
    found = pylsl.resolve_byprop("name", f"words of test {os.getpid()}", 1, DEADLINE_S)
    inlet = pylsl.StreamInlet(found[0])
    inlet.open_stream(DEADLINE_S)
    came = []

    def arrived(n):
        while len(came) < n:
            sample, _ = inlet.pull_sample(DEADLINE_S)
            assert sample is not None
            came.extend(sample)
        return came

    assert found[0].type() == "Markers"
    check_trigger(trigger, block, words=(1, 255, 70_000), arrived=arrived)


# --- drivers that stand in ---------------------------------------------------------------------


def test_parallel_sets_the_data_pins(monkeypatch, cue):
    written = []
    port = SimpleNamespace(setData=written.append)
    stand_in = ModuleType("psychopy.parallel")
    stand_in.ParallelPort = lambda address: written.append(address) or port
    monkeypatch.setitem(sys.modules, "psychopy.parallel", stand_in)
    trigger = made("parallel", address=0x0378, word_bits=7, strobe_line=7)
    trigger.send(0x55, cue)
    trigger.clear()
    trigger.close()
    assert written == [0x0378, 0, 0x55, 0xD5, 0, 0]


def test_parallel_has_eight_lines():
    with pytest.raises(SettingsError, match="lines 0 to 7"):
        made("parallel", word_bits=9)


def test_a_driver_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "labjack", None)
    monkeypatch.setitem(sys.modules, "labjack.ljm", None)
    with pytest.raises(InstallationError, match="labjack-ljm"):
        made("labjack", model="T7")
    monkeypatch.setitem(sys.modules, "u3", None)
    with pytest.raises(InstallationError, match="LabJackPython"):
        made("labjack", model="U3")


def test_a_t4_has_its_flexible_lines_set_digital_first(monkeypatch, cue):
    """EIO0 to EIO3 start as analogue inputs: without this the word's lowest bits never rise."""
    calls = []
    ljm = ModuleType("labjack.ljm")
    ljm.openS = lambda *which: 7
    ljm.eWriteName = lambda handle, name, value: calls.append((name, value))
    ljm.close = lambda handle: None
    monkeypatch.setitem(sys.modules, "labjack", ModuleType("labjack"))
    monkeypatch.setitem(sys.modules, "labjack.ljm", ljm)
    made("labjack", model="T4", word_bits=8, max_delay_ms=1000).close()
    assert calls[:3] == [
        ("DIO_INHIBIT", 0x7FFFFF & ~0x00FF00),
        ("DIO_ANALOG_ENABLE", 0),
        ("EIO_DIRECTION", 0xFF),
    ]
    with pytest.raises(SettingsError, match="analogue inputs"):
        made("labjack", model="T4", lines_of="fio")


def test_a_t7_is_told_which_lines_are_ours(monkeypatch, cue):
    calls = []
    ljm = ModuleType("labjack.ljm")
    ljm.openS = lambda *which: calls.append(which) or 7
    ljm.eWriteName = lambda handle, name, value: calls.append((name, value))
    ljm.close = lambda handle: calls.append(("close", handle))
    monkeypatch.setitem(sys.modules, "labjack", ModuleType("labjack"))
    monkeypatch.setitem(sys.modules, "labjack.ljm", ljm)
    trigger = made("labjack", model="T7", word_bits=4, max_delay_ms=1000)
    trigger.send(9, cue)
    trigger.close()
    assert calls == [
        ("T7", "ANY", "ANY"),
        ("DIO_INHIBIT", 0x7FFFFF & ~0x000F00),
        ("EIO_DIRECTION", 0x0F),
        ("EIO_STATE", 0),
        ("EIO_STATE", 9),
        ("EIO_STATE", 0),
        ("close", 7),
    ]


def test_a_u3_writes_one_port_and_leaves_the_others(monkeypatch, cue):
    calls = []
    u3 = ModuleType("u3")
    device = SimpleNamespace(
        configIO=lambda **analog: calls.append(analog),
        getFeedback=calls.append,
        close=lambda: calls.append("close"),
    )
    u3.U3 = lambda **which: device
    u3.PortDirWrite = lambda Direction, WriteMask: ("direction", Direction, WriteMask)
    u3.PortStateWrite = lambda State, WriteMask: ("state", State, WriteMask)
    monkeypatch.setitem(sys.modules, "u3", u3)
    trigger = made("labjack", model="U3", lines_of="fio", max_delay_ms=1000)
    trigger.send(3, cue)
    trigger.close()
    ours = [255, 0, 0]
    assert calls == [
        {"FIOAnalog": 0},
        ("direction", ours, ours),
        ("state", [0, 0, 0], ours),
        ("state", [3, 0, 0], ours),
        ("state", [0, 0, 0], ours),
        "close",
    ]


def test_a_slow_device_drops_what_would_come_too_late(monkeypatch, cue, caplog):
    from rig_client.triggers.lines import LineSettings, WordLines

    asked, go_on, written = threading.Event(), threading.Event(), []

    def write(levels):
        written.append(levels)
        if levels == 1:
            asked.set()
            assert go_on.wait(DEADLINE_S)

    late = iter([0.0, 0.0, 0.0, 9.0, 9.0, 9.0])
    clock = SimpleNamespace(monotonic=lambda: next(late, 9.0))
    monkeypatch.setattr("rig_client.triggers.lines.time", clock)
    line = WordLines("slow device", LineSettings(), write, slow_ms=100)
    line.send(1, cue)
    assert asked.wait(DEADLINE_S)
    line.send(2, cue)  # handed over at 0 s, its turn comes at 9 s
    go_on.set()
    line.close()
    assert written == [1, 0]
    assert "too late for its image" in caplog.text
