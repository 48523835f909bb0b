"""Each check of `synth-server doctor` sees what it is there for, and says what to do."""

from __future__ import annotations

import json
import sys

import pytest
import zmq
from typer.testing import CliRunner

from protocols import plugins
from protocols.checkup import Finding, tried, worst
from protocols.errors import PluginError, SettingsError
from protocols.wire.channels import bind
from protocols.wire.security import make_server_keys
from synth_server import doctor
from synth_server.cli import app
from synth_server.serve import beside_work


@pytest.fixture
def taken_port():
    context = zmq.Context()
    socket, address = bind(context, zmq.ROUTER, "127.0.0.1", 0)
    yield int(address.rpartition(":")[2])
    socket.close(linger=0)
    context.term()


def test_an_error_is_a_failure_with_its_remedy():
    def broken():
        raise SettingsError("it is broken", where="here", got="dust", remedy="clean it")

    found = tried("lens", broken)
    assert (found.name, found.status, found.remedy) == ("lens", "fail", "clean it")
    assert found.detail == "it is broken; here; got dust"

    def crashed():
        raise ZeroDivisionError("driver")

    assert tried("lens", crashed).detail == "ZeroDivisionError: driver"


def test_the_worst_counts():
    findings = [Finding(name="a", status=status, detail="") for status in ("pass", "skip", "warn")]
    assert worst(findings) == "warn"
    assert worst([*findings, Finding(name="a", status="fail", detail="")]) == "fail"
    assert worst([findings[1]]) == "skip"


@pytest.mark.parametrize(
    ("python", "status"),
    [((3, 10), "fail"), ((3, 11), "pass"), ((3, 13), "pass"), ((3, 14), "fail")],
)
def test_versions(python, status):
    assert doctor.versions(python).status == status


def test_torch_that_is_missing_or_does_not_fit(monkeypatch):
    torchvision = pytest.importorskip("torchvision")

    def unfit(*_arguments):
        raise RuntimeError("operator torchvision::nms does not exist\nmore")

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.ops, "nms", unfit)
        found = doctor.torch_pair()
    assert found.status == "fail"
    assert "does not exist" in found.detail
    assert doctor.torch_pair().status == "pass"
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert doctor.torch_pair().status == "warn"


def test_networks_without_weights_are_named(monkeypatch):
    def create(_group, choice):
        if choice.name == "efficientnet_lite1" and choice.options["weights"] == "default":
            raise PluginError("no weights")

    monkeypatch.setattr(plugins, "create", create)
    found = doctor.networks()
    assert (found.status, found.detail) == ("warn", "efficientnet_lite1, default: no weights")
    assert "stimloop[server]" in found.remedy


@pytest.mark.parametrize(
    ("free_bytes", "status"), [(10**11, "pass"), (5 * 10**9, "warn"), (10**8, "fail")]
)
def test_disk(tmp_path, free_bytes, status):
    assert doctor.disk(tmp_path / "not" / "there" / "yet", free_bytes).status == status
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_a_port_that_is_taken_is_named(taken_port):
    found = doctor.ports({"work": taken_port})
    assert found.status == "warn"
    assert str(taken_port) in found.detail
    assert doctor.ports({"work": 0}).status == "pass"


def test_keys_that_others_can_read(tmp_path):
    make_server_keys(tmp_path)
    assert doctor.private_keys(tmp_path).status == "pass"
    for path in tmp_path.iterdir():
        path.chmod(0o644)
    found = tried("keys", lambda: doctor.private_keys(tmp_path))
    assert found.status == "fail"
    assert "chmod 600" in found.remedy
    assert tried("keys", lambda: doctor.private_keys(tmp_path / "none")).status == "fail"
    assert doctor.private_keys(None).status == "skip"


def test_exports_that_are_missing(monkeypatch):
    monkeypatch.setattr(doctor, "EXTRAS", {"no-such-distribution": "export-nwb"})
    found = doctor.exports()
    assert found.status == "skip"
    assert "stimloop[nwb]" in found.remedy


@pytest.mark.parametrize(("status", "code"), [("pass", 0), ("warn", 0), ("fail", 1)])
def test_the_command_ends_as_the_worst_finding_says(monkeypatch, status, code):
    findings = [
        Finding(name="lens", status="pass", detail="[clear]"),
        Finding(name="disk", status=status, detail="found", remedy="make room"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda folder, keys: iter(findings))
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == code
    assert json.loads(done.stdout)["status"] == status
    table = CliRunner().invoke(app, ["doctor"])
    assert table.exit_code == code
    assert "make room" in table.stdout
    assert "[clear]" in table.stdout


def test_all_checks_run_here_and_none_crashes(tmp_path):
    found = list(doctor.examine(tmp_path))
    assert len({each.name for each in found}) == len(found) == 10
    assert not [each for each in found if "Error:" in each.detail], found


def test_one_option_moves_all_ports_of_a_second_server():
    assert beside_work(5570, None, None, None) == (5571, 5572, 5573)
    assert beside_work(0, None, None, None) == (0, 0, 0)
    assert beside_work(5580, 6000, None) == (6000, 5582)
