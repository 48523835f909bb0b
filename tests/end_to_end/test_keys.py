"""CURVE keys: without them loopback only, with them the known clients only; a refusal says why."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.processes import (
    Lab,
    Process,
    Recipe,
    check_finished,
    eventually,
    synth_server,
)

RECIPE = Recipe(seed=41, generations=2, real_clock=False)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's keys, with one rig and one watcher admitted; not to be changed."""
    folder = tmp_path_factory.mktemp("keys") / "keys"
    made = synth_server(
        "keys", folder, "--client", "rig-1", "--client", "desk", folder=folder.parent
    )
    assert made.returncode == 0, made.stderr
    return folder


def copied(keys: Path, tmp_path: Path) -> Path:
    """The same keys, to be changed at will."""
    return Path(shutil.copytree(keys, tmp_path / "keys"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def serve_with(lab: Lab, keys: Path) -> Process:
    lab.server_options = ("--exit-when-over", "--keys", str(keys))
    return lab.serve()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])
def test_without_keys_the_server_listens_on_loopback_only(tmp_path: Path, host: str) -> None:
    lab = Lab(tmp_path, RECIPE)
    done = synth_server("serve", "session.toml", "--log", lab.log, "--host", host, folder=tmp_path)
    assert done.returncode == 1
    assert "without keys the server listens on loopback only" in done.stderr
    assert "synth-server keys" in done.stderr
    assert not lab.log.exists(), "nothing is begun that cannot be served"


def test_keys_are_private_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = synth_server("keys", folder, "--client", "rig-1", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    secrets = sorted(folder.rglob("*.key_secret"))
    assert [path.name for path in secrets] == ["rig-1.key_secret", "server.key_secret"]
    assert [mode(path) for path in secrets] == [0o600, 0o600]
    carried = {path.name for path in (folder / "for-rig-1").iterdir()}
    assert carried == {"rig-1.key", "rig-1.key_secret", "server.key"}
    assert [path.name for path in (folder / "clients").iterdir()] == ["rig-1.key"]

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = synth_server("keys", folder, "--client", "rig-1", folder=tmp_path)
    assert again.returncode == 1
    assert "there is a key pair already" in again.stderr
    other = synth_server("keys", folder, "--client", "rig-2", folder=tmp_path)
    assert other.returncode == 0, other.stderr
    assert {path: path.read_bytes() for path in before} == before


def test_a_secret_that_others_can_read_is_refused(
    new_lab: Callable[..., Lab], keys: Path, tmp_path: Path
) -> None:
    mine = copied(keys, tmp_path)
    (mine / "server.key_secret").chmod(0o644)
    (mine / "for-rig-1" / "rig-1.key_secret").chmod(0o640)
    lab = new_lab(RECIPE)
    arguments = ["serve", "session.toml", "--log", lab.log, "--keys", mine]
    server = synth_server(*arguments, folder=lab.folder)
    assert server.returncode == 1
    assert "others may read this secret key" in server.stderr
    assert "mode 0644" in server.stderr
    assert not lab.log.exists()
    lab.addresses = {"work": "tcp://127.0.0.1:9", "control": "tcp://127.0.0.1:9"}
    rig = lab.rig(keys=str(mine / "for-rig-1"))
    assert rig.ended() == 1
    assert "others may read this secret key" in rig.output
    status = lab.control("status", "--keys", mine / "for-rig-1")
    assert status.returncode == 1
    assert "mode 0640" in status.stderr


def test_a_session_with_keys(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str], keys: Path
) -> None:
    """Server, rig and commands; killed in between, they meet again."""
    lab = new_lab(RECIPE)
    server = serve_with(lab, keys)
    status = lab.control("status", "--keys", keys / "for-desk")
    assert status.returncode == 0, status.stderr
    assert "running" in status.stdout
    server.kill9()
    rig = lab.rig(keys=str(keys / "for-rig-1"))
    server = lab.serve()
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


def test_who_has_no_keys_is_told_so(new_lab: Callable[..., Lab], keys: Path) -> None:
    """A rig goes on trying, and says why it waits; a command ends."""
    lab = new_lab(RECIPE)
    server = serve_with(lab, keys)
    rig = lab.rig()
    eventually(lambda: "the server expects keys" in rig.output, "a word", alive=[rig, server])
    assert "rig.toml: keys" in rig.output
    status = lab.control("status")
    assert status.returncode == 1
    assert "the server expects keys" in status.stderr


def test_who_has_keys_for_a_server_without_is_told_so(
    new_lab: Callable[..., Lab], keys: Path
) -> None:
    lab = new_lab(RECIPE)
    server = lab.serve()
    rig = lab.rig(keys=str(keys / "for-rig-1"))
    eventually(lambda: "the server has no keys" in rig.output, "a word", alive=[rig, server])
    status = lab.control("status", "--keys", keys / "for-desk")
    assert status.returncode == 1
    assert "the server has no keys" in status.stderr


def test_an_unknown_key_is_refused_until_it_is_known(
    new_lab: Callable[..., Lab], undisturbed: Callable[[Recipe], str], keys: Path, tmp_path: Path
) -> None:
    """A client can be admitted, and shut out again, while the server runs."""
    mine = copied(keys, tmp_path)
    admitted = mine / "clients" / "rig-1.key"
    public = admitted.read_bytes()
    admitted.unlink()
    lab = new_lab(RECIPE)
    server = serve_with(lab, mine)
    rig = lab.rig(keys=str(mine / "for-rig-1"))
    assert rig.ended() == 1
    assert "the server does not admit this key" in rig.output
    assert "synth-server keys" in rig.output
    assert "unknown key" in server.output
    status = lab.control("status", "--keys", mine / "for-rig-1")
    assert status.returncode == 1
    assert "the server does not admit this key" in status.stderr

    admitted.write_bytes(public)
    rig = lab.rig("rig-again", keys=str(mine / "for-rig-1"))
    assert rig.ended() == 0, rig.output
    assert server.ended() == 0, server.output
    check_finished(lab, undisturbed(RECIPE))


def test_keys_of_another_server_are_told_so(
    new_lab: Callable[..., Lab], keys: Path, tmp_path: Path
) -> None:
    """The client trusts one server only; a stranger at its address gets nothing out of it."""
    other = tmp_path / "other"
    made = synth_server("keys", other, "--client", "rig-1", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    lab = new_lab(RECIPE)
    server = serve_with(lab, other)
    rig = lab.rig(keys=str(keys / "for-rig-1"))
    eventually(lambda: "not admitted" in rig.output, "a word", alive=[rig, server])
    assert "were the keys made by this server?" in rig.output
