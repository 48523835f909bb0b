"""Rewards through a pseudo-terminal and through a program."""

from __future__ import annotations

import os
import sys

import pytest

from protocols import plugins
from protocols.errors import SettingsError
from protocols.interfaces import SessionInfo
from protocols.rig_interfaces import Reward
from protocols.settings import PluginChoice

SESSION = SessionInfo(session_id="s", seed=0)
WRITES_TRIAL = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + ' ')"


def made(name, **options):
    return plugins.create("stimloop.rewards", PluginChoice(name=name, options=options), SESSION)


def test_a_valve_opens_and_closes_for_every_second_trial():
    far, near = os.openpty()
    reward = made(
        "serial", port=os.ttyname(near), every_n=2, pulse_ms=10, on="open\n", off="shut\n"
    )
    assert isinstance(reward, Reward)
    for trial in range(5):
        reward.give(trial)
    reward.close()
    assert os.read(far, 100).split() == [b"open", b"shut"] * 2
    assert reward.trouble == ""
    os.close(near)
    os.close(far)


def test_a_program_is_told_the_trial_and_not_waited_for(tmp_path):
    paid = tmp_path / "paid"
    reward = made("command", command=[sys.executable, "-c", WRITES_TRIAL, str(paid), "{trial}"])
    reward.give(3)
    reward.give(8)
    reward.close()
    assert paid.read_text() == "3 8 "


@pytest.mark.parametrize(
    "command", [["/no/such/program"], [sys.executable, "-c", "raise SystemExit(3)"]]
)
def test_what_fails_is_logged_once_and_never_raised(command, caplog):
    reward = made("command", command=command)
    for trial in range(3):
        reward.give(trial)
    reward.close()
    assert reward.trouble
    assert len([r for r in caplog.records if "reward command failed" in r.message]) == 1


def test_a_command_must_be_given():
    with pytest.raises(SettingsError, match="command"):
        made("command")
