"""The EyeLink: what its plug-in for ioHub does, by a scripted tracker behind the same interface.

The script follows the source of psychopy-eyetracker-sr-research 0.0.6: `setConnectionState(False)`
fetches the file into the script's folder, under the name that it had on the Host PC; a tracker that
is not reached is replaced by one without connection; in samples a missing eye is a digit of the status.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections import namedtuple
from datetime import datetime

import numpy as np
import pytest

from protocols.errors import InstallationError, RigError
from protocols.interfaces import SessionInfo
from protocols.vocabulary import Block, Role
from rig_client import examples
from rig_client.display.headless import HeadlessDisplay
from rig_client.fixation import hub, iohub
from rig_client.fixation.eyelink import DataFile
from rig_client.fixation.iohub import IoHubEye, IoHubFixation, IoHubSettings, position_of
from rig_client.triggers.none import NoTrigger
from rig_client.triggers.noted import NotedTrigger, WordNoting

SESSION = SessionInfo(session_id="monkey-a-3", seed=0)
DEVICE = "eyetracker.hw.sr_research.eyelink.EyeTracker"
Mono = namedtuple("Mono", "type time status gaze_x gaze_y")
Bino = namedtuple("Bino", "type time status left_gaze_x left_gaze_y right_gaze_x right_gaze_y")
FIXATION_START = namedtuple("FixationStart", "type time status gaze_x gaze_y")


class EyeLink:
    """Behaves as ioHub's EyeLink does, and misbehaves where that does."""

    def __init__(self, folder, config, reached=True, sends_file=True, set_up=None):
        self.folder, self.config = folder, dict(config)
        self.config.setdefault("enable_interface_without_connection", not reached)
        self.sends_file, self.set_up_result = sends_file, set_up or {"message": "", "result": 1000}
        self.messages, self.calls, self.events = [], [], []

    def getConfiguration(self):
        return self.config

    def runSetupProcedure(self):
        self.calls.append("set-up")
        return self.set_up_result

    def setRecordingState(self, recording):
        self.calls.append(f"recording {recording}")

    def sendMessage(self, text):
        assert len(text) <= 128
        self.messages.append(text)

    def getEvents(self):
        events, self.events = self.events, []
        return events

    def setConnectionState(self, connected):
        self.calls.append(f"connected {connected}")
        if self.sends_file:
            name = self.config["default_native_data_file_name"]
            (self.folder / f"{name}.EDF").write_bytes(b"EDF")


class Hub:
    def __init__(self, tracker):
        self.tracker, self.ended = tracker, False

    def getTime(self):
        return 100.0

    def quit(self):
        self.ended = True


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """Starts scripted trackers in place of ioHub's; `lab.made` are those that were."""

    class Lab:
        folder = tmp_path / "eye-tracker"

        def __init__(self):
            self.made, self.how = [], {}

        def settings(self, **options):
            return IoHubSettings(device=DEVICE, folder=self.folder, **options)

        def fixation(self, session=SESSION, **options):
            fixation = IoHubFixation(self.settings(**options), session)
            fixation.watch_on(HeadlessDisplay(HeadlessDisplay.Settings(), session))
            return fixation

    lab = Lab()

    def launch(window, device, config, folder):
        name = config.get("default_native_data_file_name", "none")
        assert len(name) <= 7
        assert name[0].isalpha()
        lab.made.append(EyeLink(folder, config, **lab.how))
        return Hub(lab.made[-1]), lab.made[-1]

    monkeypatch.setattr(hub, "launch", launch)
    monkeypatch.setattr(iohub, "check_installed", lambda device: None)
    monkeypatch.setattr(iohub, "window_and_geometry", lambda display, needed_by: (None, None))
    monkeypatch.setattr(iohub, "point_deg", lambda geometry, window, x, y: (x / 10, y / 10))
    return lab


def cue_of(block_index=0):
    image = np.zeros((1, 4, 4, 3), np.uint8)
    return next(Block.of(image, roles=Role.CONTROL).at(block_index, "t").cues())


def test_the_file_is_named_by_the_session_and_fetched(lab):
    lab.fixation().close()
    (edf,) = lab.folder.glob("*/*.edf")
    assert edf.parent.name == "monkey-a-3"
    assert edf.name.startswith("monkey-a-3-2")
    assert edf.read_bytes() == b"EDF"
    assert lab.made[0].calls == ["recording True", "recording False", "connected False"]


def test_a_restart_on_another_second_leaves_the_first_file(tmp_path):
    for second in (1, 2):
        file = DataFile(tmp_path, "s", now=datetime(2026, 11, 28, 9, 5, second))
        assert file.host_name == f"s09050{second}"
        assert file.fetch(EyeLink(tmp_path, {"default_native_data_file_name": file.host_name}))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "s-20261128-090501.edf",
        "s-20261128-090502.edf",
    ]


def test_a_file_that_does_not_come_is_told_with_its_name(lab, caplog):
    lab.how = {"sends_file": False}
    lab.fixation().close()
    assert "copy s" in caplog.text
    assert ".EDF from the Host PC to" in caplog.text


def test_the_set_up_runs_once_a_session_and_never_for_doctor(lab, caplog):
    for session_id, n in (("a", 1), ("a", 0), ("b", 1), ("doctor", 0), ("calibration", 0)):
        lab.fixation(SessionInfo(session_id=session_id, seed=0), calibrate=True).close()
        assert lab.made[-1].calls.count("set-up") == n, session_id
    assert "was set up in this session already" in caplog.text
    assert sorted(path.name for path in lab.folder.iterdir()) == ["a", "b"]


def test_a_set_up_that_was_left_is_not_taken_for_done(lab):
    lab.how = {"set_up": {"RESULT": "CALIBRATION_ABORTED"}}
    with pytest.raises(RigError, match="left before its end"):
        lab.fixation(calibrate=True)
    lab.how = {}
    lab.fixation(calibrate=True)
    assert "set-up" in lab.made[-1].calls


def test_a_tracker_that_was_not_reached_is_refused_unless_that_was_asked_for(lab):
    lab.how = {"reached": False}
    with pytest.raises(RigError, match=r"not reached[\s\S]*100\.1\.1\.1[\s\S]*100\.1\.1\.2"):
        lab.fixation()
    fixation = lab.fixation(config={"enable_interface_without_connection": True})
    assert fixation.is_simulated
    assert not IoHubFixation(lab.settings(), SESSION).is_simulated


def test_each_trial_and_each_word_stands_in_the_file(lab):
    fixation = lab.fixation(acquire_s=0.1)
    assert isinstance(fixation, WordNoting)
    trigger = NotedTrigger(NoTrigger(NoTrigger.Settings(), SESSION), fixation)
    cue = cue_of(block_index=4095)
    fixation.acquire(cue)
    trigger.send(255, cue)
    trigger.clear()
    assert lab.made[0].messages == [
        "STIMLOOP session monkey-a-3",
        "TRIALID block 4095 trial 0",
        f"WORD 255 block 4095 trial 0 stimulus 0 {cue.stimulus_id[:12]} repetition 0 attempt 0",
    ]


def test_samples_come_on_the_display_s_clock_and_events_are_no_samples(lab):
    fixation = lab.fixation()
    tracker = lab.made[0]
    tracker.events = [
        Mono(51, 99.5, 0, 10, -20),
        FIXATION_START(55, 99.6, 0, 500, 500),
        Mono(51, 99.7, 2, 0, 0),
        Bino(52, 99.8, 0, 10, 0, 20, 10),
    ]
    np.testing.assert_allclose(
        fixation.gaze_since(),
        [[0, 1, -2, 1], [0.2, np.nan, np.nan, 0], [0.3, 1.5, 0.5, 1]],
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("status", "place"), [(0, (15, 5)), (20, (20, 10)), (2, (10, 0)), (22, None)]
)
def test_with_two_eyes_those_that_were_seen_count(status, place):
    assert position_of(Bino(52, 0, status, 10, 0, 20, 10)) == place


@pytest.mark.parametrize(
    ("device", "package"),
    [
        (DEVICE, r"stimloop\[eyelink\].*psychopy-eyetracker-sr-research"),
        ("eyetracker.hw.tobii.EyeTracker", "psychopy-eyetracker-tobii"),
        ("eyetracker.hw.gazepoint.gp3.EyeTracker", "psychopy-eyetracker-gazepoint"),
        ("eyetracker.hw.pupil_labs.pupil_core.EyeTracker", "psychopy-eyetracker-pupil-labs"),
    ],
)
def test_a_missing_package_is_named(monkeypatch, device, package):
    monkeypatch.setattr(iohub, "find_spec", lambda name: None)
    with pytest.raises(InstallationError, match=package):
        iohub.check_installed(device)
    iohub.check_installed("eyetracker.hw.mouse.EyeTracker")


SAID = """Pylink 2.2.596.0
ERROR: DEVICE CONFIG ERRORS FOUND! IOHUB NOT LOADING DEVICE: psychopy.iohub.devices.eyetracker
errors count 1:
\t('default_native_data_file_name', 'sl143205_abc')


Error during device creation ....
Traceback (most recent call last):
  File "server.py", line 731, in createNewMonitoredDevice
    raise ioHubError('Device config validation failed')
psychopy.iohub.errors.ioHubError: ioHubError:
"""


def test_the_cause_is_found_in_what_iohub_says():
    """Its output for a wrong option, as it was written by PsychoPy 2026.2.5."""
    found = hub.causes(SAID)
    assert "('default_native_data_file_name', 'sl143205_abc')" in found
    assert not any("Traceback" in line or line.startswith("File") for line in found)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pylink") is None, reason="needs stimloop[eyelink]")
def test_the_real_plug_in_starts_without_a_tracker_if_that_is_asked_for(screen, tmp_path, capfd):
    """ioHub, its EyeLink class and pylink are real; pylink's own stand-in takes the tracker's place."""
    from rig_client.display.psychopy_settings import PsychoPySettings
    from rig_client.display.psychopy_window import PsychoPyDisplay

    settings = PsychoPySettings(full_screen=False, window_px=(400, 300), check_refresh=False)
    display = PsychoPyDisplay(settings, SESSION)
    example = tomllib.loads(examples.text("intan"))["fixation"]["options"]
    assert example["device"] == DEVICE
    config = {**example["config"], "enable_interface_without_connection": True}
    try:
        eye = IoHubEye(IoHubSettings(device=DEVICE, config=config), tmp_path, "s")
        eye.open_on(display)
        eye.note("WORD 1")
        assert list(eye.samples()) == []
        eye.close()
        wrong = {**config, "default_native_data_file_name": "a_name_that_is_too_long"}
        eye = IoHubEye(IoHubSettings(device=DEVICE, config=wrong), tmp_path, "s")
        with pytest.raises(RigError, match="a_name_that_is_too_long"):
            eye.open_on(display)
    finally:
        display.close()
    assert not list(tmp_path.iterdir())
    said = capfd.readouterr()
    assert "Traceback" not in said.out + said.err
