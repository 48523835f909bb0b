"""`rig-client doctor`, against real sockets, real folders, an emulated recorder and a real window."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import zmq
from typer.testing import CliRunner

from protocols.settings import PluginChoice
from protocols.wire import WIRE_VERSION
from protocols.wire import messages as msg
from protocols.wire.codec import decode, encode
from protocols.wire.security import make_client_keys, make_server_keys
from rig_client.cli import app
from rig_client.doctor import equipment, surroundings
from rig_client.doctor.equipment import Equipment
from rig_client.doctor.examination import examine
from rig_client.settings import RigSettings
from tests.emulation import rehearsal

SIMULATED = {"name": "simulated", "options": {"subject": {"name": "gabor_energy"}}}
HEADLESS = {"name": "headless"}
WAIT_S = 20
SKIPPED = ("server", "stragglers")
"""No server here, and not spikes enough to measure stragglers: that waits for WAIT_S."""


class Server:
    """Answers every request as it is told, over a real socket."""

    def __init__(self, answer):
        self.answer, self.open = answer, True
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.address = f"tcp://127.0.0.1:{port}"
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while self.open:
            if self.socket.poll(20):
                sender, *frames = self.socket.recv_multipart()
                header = decode(frames, msg.WORK_REQUESTS).header
                self.socket.send_multipart([sender, *self.answer(header)])
        self.socket.close(linger=0)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.open = False
        self.thread.join()
        self.context.term()


def welcome(header):
    body = msg.Welcome(session_id="monkey-1", seed=3, state="running")
    return encode(body, reply_to=header.id)


def of_another_version(header):
    (frame,) = welcome(header)
    return [json.dumps({**json.loads(frame), "wire": 99}).encode()]


def refusal(header):
    reason = msg.RefusalReason.UNKNOWN_SESSION
    return encode(msg.Refused(reason=reason, what="no such session"), reply_to=header.id)


def rig(tmp_path, **values):
    return RigSettings.model_validate(
        {"display": HEADLESS, "acquisition": SIMULATED, "spool": tmp_path / "spool", **values}
    )


def found(settings, **options):
    return {finding.name: finding for finding in examine(settings, wait_s=WAIT_S, **options)}


def statuses(findings):
    return {name: finding.status for name, finding in findings.items()}


# --- the surroundings --------------------------------------------------------------------------


def test_a_server_that_answers(tmp_path):
    with Server(welcome) as server:
        finding = surroundings.server(rig(tmp_path, server=server.address), WAIT_S)
    assert finding.status == "pass"
    assert "session monkey-1, running" in finding.detail
    assert f"wire version {WIRE_VERSION}" in finding.detail


@pytest.mark.parametrize(
    ("answer", "detail"),
    [(of_another_version, "wire version 99"), (refusal, "no such session")],
)
def test_a_server_that_does_not_suit(tmp_path, answer, detail):
    with Server(answer) as server:
        finding = surroundings.server(rig(tmp_path, server=server.address), 0.5)
    assert finding.status == "fail"
    assert detail in finding.detail
    assert finding.remedy


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(surroundings, "PROBE_MS", 10)
    finding = surroundings.server(rig(tmp_path, server="tcp://127.0.0.1:9"), 0.1)
    assert finding.status == "fail"
    assert "no answer" in finding.detail


def test_keys(tmp_path):
    make_server_keys(tmp_path / "keys")
    folder = make_client_keys(tmp_path / "keys", "rig")
    assert surroundings.keys(rig(tmp_path, keys=folder)).status == "pass"
    assert surroundings.keys(rig(tmp_path)).status == "skip"
    assert surroundings.keys(rig(tmp_path, server="tcp://10.0.0.5:5570")).status == "fail"
    (folder / "rig.key_secret").chmod(0o644)
    others = found(rig(tmp_path, keys=folder), skip=("server", "words arrive"))["keys"]
    assert others.status == "fail"
    assert "rig.key_secret" in others.detail


@pytest.mark.parametrize(("free", "status"), [(2e9, "pass"), (5e8, "warn"), (1e6, "fail")])
def test_disk(tmp_path, free, status):
    settings = rig(tmp_path)
    assert surroundings.disk(settings, int(free)).status == status
    waiting = settings.spool / "monkey-1"
    waiting.mkdir(parents=True)
    (waiting / "block-000003.json").write_text("{}")
    assert "1 blocks wait" in surroundings.disk(settings, int(free)).detail


def test_settings_that_are_wrong_fail_and_do_not_stop_the_rest(tmp_path):
    wrong = rig(tmp_path, trigger={"name": "no_such_trigger"})
    findings = found(wrong, skip=("server",))
    assert findings["settings"].status == "fail"
    assert findings["trigger"].status == "fail"
    assert findings["words arrive"].status == "skip"
    assert findings["recorder"].status == "pass"


# --- the equipment -----------------------------------------------------------------------------


def test_a_rig_that_is_simulated_all_through(tmp_path):
    with Server(welcome) as server:
        findings = found(rig(tmp_path, server=server.address))
    assert {name for name, one in findings.items() if one.status == "pass"} == {
        "settings", "disk", "server", "recorder", "window",
    }  # fmt: skip
    assert {one.status for one in findings.values()} == {"pass", "skip"}


def fires(cue):
    return [[3000] * 3, [], []]


def emulated(tmp_path, lab_parts, **values):
    real = {"name": "headless", "options": {"clock": "real"}}
    return rig(tmp_path, **{"display": real, **lab_parts, **values})


def test_words_go_round_through_an_emulated_recorder(tmp_path):
    with rehearsal("cerebus", fires) as lab:
        lab.recorder.close()
        findings = found(emulated(tmp_path, lab.emulator.announcement()), skip=SKIPPED)
    assert findings["recorder"].status == "pass"
    assert findings["words arrive"].detail == "20 of 20 came back"
    assert "line of 20 words" in findings["clock"].detail
    assert findings["clock"].status in ("pass", "warn")


def test_words_that_do_not_arrive(tmp_path):
    def silent(cue):
        return None if cue.repetition == 1 else fires(cue)

    with rehearsal("cerebus", silent) as lab:
        lab.recorder.close()
        words = found(emulated(tmp_path, lab.emulator.announcement()), skip=SKIPPED)["words arrive"]
    assert words.status == "fail"
    assert words.detail == "18 of 20 came back; 2 × missing_word"
    assert "cable" in words.remedy


def test_a_recorder_without_a_trigger(tmp_path):
    with rehearsal("cerebus", fires) as lab:
        lab.recorder.close()
        acquisition = lab.emulator.announcement()["acquisition"]
        acquisition["options"]["word_wait_ms"] = 20
        parts = {"acquisition": acquisition}
        words = found(emulated(tmp_path, parts), skip=SKIPPED)["words arrive"]
    assert words.status == "fail"
    assert words.remedy == "choose a trigger in rig.toml"


def test_a_virtual_clock_and_a_real_recorder_do_not_go_together(tmp_path):
    with rehearsal("cerebus", fires) as lab:
        lab.recorder.close()
        settings = emulated(
            tmp_path, lab.emulator.announcement(), display=PluginChoice(name="headless")
        )
        findings = found(settings, skip=SKIPPED)
    assert findings["window"].status == "fail"
    assert "a real recorder cannot stand before a display that shows nothing" in (
        findings["window"].detail
    )
    assert 'clock = "real"' in findings["window"].remedy


def test_a_recorder_that_is_away(tmp_path):
    options = {"address": "tcp://127.0.0.1:9", "sites": ["Electrode 1"]}
    away = rig(tmp_path, acquisition={"name": "open_ephys_events", "options": options})
    of = Equipment(away, wait_s=0.1)
    with of.parts:
        finding = equipment.recorder(of)
    assert finding.status == "fail"
    assert "127.0.0.1:9" in finding.detail


def test_a_shared_folder_gets_no_squares(tmp_path):
    options = {"folder": str(tmp_path / "shared"), "sites": ["a"]}
    shared = rig(tmp_path, acquisition={"name": "shared_folder", "options": options})
    findings = found(shared, skip=("server",))
    assert findings["words arrive"].status == "skip"
    assert list((tmp_path / "shared").iterdir()) == []


def display_of(intervals_ms, measured_hz=60.0):
    return SimpleNamespace(
        measured_hz=measured_hz, frame_intervals_s=lambda n: np.array(intervals_ms) / 1000
    )


@pytest.mark.parametrize(("n_late", "status"), [(0, "pass"), (5, "warn"), (6, "fail")])
def test_late_flips_are_counted(tmp_path, n_late, status):
    of = Equipment(rig(tmp_path), 1, display=display_of([17.0] * (500 - n_late) + [33.0] * n_late))
    finding = equipment.dropped_frames(of)
    assert finding.status == status
    assert f"{n_late} of 500 flips late" in finding.detail


def test_a_real_window_and_the_mouse_as_an_eye(tmp_path, screen):
    window = {
        "full_screen": False,
        "window_px": [400, 300],
        "check_refresh": False,
        "width_cm": 32,
        "distance_cm": 57.29,
        "size_deg": 3,
        "photodiode": "bottom_left",
        "photodiode_px": 40,
    }
    settings = rig(
        tmp_path, display={"name": "psychopy", "options": window}, fixation={"name": "mouse"}
    )
    findings = found(settings, skip=("server", "words arrive"))
    assert findings["window"].detail == (
        "SIMULATED, clock rig; 400 × 300 px = 10.0° × 7.5°; 40.00 px/cm, 57.29 cm away; "
        "images 3° wide at (0°, 0°); fixation point (0°, 0°); background 128; 60.00 Hz; "
        "no gamma of its own; patch 1.0° × 1.0° from (-5.0°, -3.7°)"
    )
    assert findings["window"].status == "warn"
    assert findings["refresh rate"].status == "warn"
    assert findings["eye tracker"].status == "pass"
    assert "gaze at" in findings["eye tracker"].detail


# --- the command -------------------------------------------------------------------------------


def config(tmp_path, server):
    path = tmp_path / "rig.toml"
    path.write_text(
        f'server = "{server}"\nspool = "{tmp_path / "spool"}"\n'
        'display = { name = "headless" }\n'
        '[acquisition]\nname = "simulated"\noptions = { subject = { name = "gabor_energy" } }\n'
    )
    return str(path)


def test_the_command_speaks_json_and_ends_well(tmp_path):
    with Server(welcome) as server:
        options = ["doctor", "--config", config(tmp_path, server.address), "--json"]
        result = CliRunner().invoke(app, options)
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["status"] == "pass"
    assert [one["name"] for one in document["findings"]][:4] == [
        "settings", "keys", "disk", "server",
    ]  # fmt: skip


def test_the_command_prints_a_table_and_ends_with_1_after_a_failure(tmp_path):
    options = ["doctor", "--config", config(tmp_path, "tcp://127.0.0.1:9"), "--wait-s", "0.1"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 1
    assert "no answer" in result.stdout
    assert "words arrive" in result.stdout


def test_checks_can_be_left_out(tmp_path):
    options = ["doctor", "--config", config(tmp_path, "tcp://127.0.0.1:9"), "--skip", "server"]
    assert CliRunner().invoke(app, options).exit_code == 0
