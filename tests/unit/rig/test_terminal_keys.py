"""Keys typed into a pseudo-terminal, with the terminal's own settings."""

from __future__ import annotations

import os
import select
import termios

import pytest

from protocols.interfaces import SessionInfo
from rig_client.display.headless import HeadlessDisplay
from rig_client.display.terminal_keys import TerminalKeys, names_of

SESSION = SessionInfo(session_id="s", seed=0)


@pytest.fixture
def terminal():
    """(where the experimenter types, where the rig reads)."""
    far, near = os.openpty()
    yield far, near
    os.close(far)
    os.close(near)


def typed(far, near, text):
    os.write(far, text.encode())
    assert select.select([near], [], [], 10)[0]


def is_direct(near):
    return not termios.tcgetattr(near)[3] & (termios.ICANON | termios.ECHO)


def test_keys_are_read_one_by_one_and_not_waited_for(terminal):
    far, near = terminal
    keys = TerminalKeys(near)
    assert keys.pressed() == []
    assert is_direct(near)
    typed(far, near, "Rp+-q")
    assert keys.pressed() == ["r", "p", "plus", "minus", "q"]
    assert keys.pressed() == []
    keys.close()
    assert not is_direct(near)


def test_a_shell_that_took_the_terminal_back_does_no_harm(terminal):
    _, near = terminal
    keys = TerminalKeys(near)
    before = termios.tcgetattr(near)
    keys.pressed()
    termios.tcsetattr(near, termios.TCSANOW, before)
    keys.pressed()
    assert is_direct(near)
    keys.close()
    assert termios.tcgetattr(near)[3] == before[3]


def test_what_is_no_terminal_is_left_alone():
    read_end, write_end = os.pipe()
    os.write(write_end, b"q")
    assert TerminalKeys(read_end).pressed() == []
    assert os.read(read_end, 1) == b"q"
    os.close(read_end)
    os.close(write_end)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("\x1b", ["escape"]),
        ("\x1b[A\x1bOPp", ["p"]),
        ("\x1b[15~r", ["r"]),
        ("\x1bq", ["escape", "q"]),
        ("=", ["equal"]),
    ],
)
def test_arrows_are_no_escape(text, names):
    assert names_of(text) == names


def test_a_display_without_a_window_takes_them_from_the_terminal(terminal):
    far, near = terminal
    display = HeadlessDisplay(HeadlessDisplay.Settings(), SESSION)
    display._keys = TerminalKeys(near)
    assert display.wish() == ""
    typed(far, near, "r\x1b")
    assert [display.wish(), display.wish(), display.wish()] == ["free_reward", "pause", ""]
    assert "R juice" in display.keys_help
    typed(far, near, "q")
    assert display.wish() == "quit"
    display.close()
