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


# --- pulses and millilitres -------------------------------------------------------------------------


def test_free_rewards_and_changed_pulses_are_counted_in_ml(tmp_path):
    """0.12 ml for 100 ms; 150 ms are half as much again. The program is told the pulse."""
    paid = tmp_path / "paid"
    command = [sys.executable, "-c", WRITES_TRIAL, str(paid), "{trial}:{ms}"]
    reward = made("command", command=command, pulse_ms=100, ml_per_pulse=0.12, every_n=2)
    assert isinstance(reward, Reward)
    assert [reward.give(trial) for trial in range(2)] == [False, True]
    assert reward.given_ml == pytest.approx(0.12)
    reward.set_pulse(150)
    assert reward.pulse_ms == 150
    assert reward.give_free()
    reward.close()
    assert paid.read_text() == "1:100 free:150 "
    assert reward.given_ml == pytest.approx(0.12 + 0.18)


@pytest.mark.parametrize("pulse_ms", [9.9, 0, -10, 1000.1, float("nan")])
def test_a_pulse_that_could_not_be_meant_is_refused_and_the_old_one_stays(pulse_ms):
    reward = made("command", command=["true"], pulse_ms=20)
    with pytest.raises(SettingsError, match="10 to 1000 ms"):
        reward.set_pulse(pulse_ms)
    assert reward.pulse_ms == 20
    reward.set_pulse(10)
    reward.set_pulse(1000)
    reward.close()


def test_without_a_pulse_of_its_own_it_cannot_be_changed():
    for reward in (made("none"), made("command", command=["true"])):
        assert reward.pulse_ms == reward.given_ml == 0
        with pytest.raises(SettingsError, match="cannot be chosen"):
            reward.set_pulse(100)
        reward.close()
    assert not made("none").give(0)
    assert not made("none").give_free()


def test_what_was_not_given_is_not_counted():
    reward = made("command", command=["/no/such/program"], pulse_ms=100, ml_per_s=1)
    assert reward.give(0)
    reward.close()
    assert reward.given_ml == 0


@pytest.mark.parametrize(
    "options", [{"pulse_ms": 5}, {"pulse_ms": 2000}, {"ml_per_s": 1, "ml_per_pulse": 1}]
)
def test_settings_that_could_not_be_meant_are_refused(options):
    with pytest.raises(SettingsError):
        made("command", command=["true"], **options)
