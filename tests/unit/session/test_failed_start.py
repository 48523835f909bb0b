"""A start that failed leaves nothing: once its cause is mended, the same command works."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import tomli_w
from typer.testing import CliRunner

from protocols.documents import SessionSettings
from protocols.errors import LogError, StimloopError, WireError
from protocols.wire.channels import Context, bind
from synth_server.cli import app
from synth_server.serve import Listening, NewSessions
from synth_server.session.build import new_session
from synth_server.session.session import Session


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()[1]


def files_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_a_port_that_is_taken_leaves_no_log(
    evolve_settings: SessionSettings, tmp_path: Path, taken: int
) -> None:
    toml = tmp_path / "session.toml"
    toml.write_text(tomli_w.dumps(evolve_settings.model_dump(mode="json", exclude_none=True)))
    log = tmp_path / "here" / "session.sqlite"
    for option in ("--work-port", "--control-port", "--events-port"):
        ports = [
            "--work-port",
            "0",
            "--control-port",
            "0",
            "--events-port",
            "0",
            option,
            str(taken),
        ]
        done = CliRunner().invoke(app, ["serve", str(toml), "--log", str(log), *ports])
        assert isinstance(done.exception, WireError)
        assert "another program listens there" in done.exception.remedy
        assert files_in(tmp_path) == [toml]


def test_a_port_that_is_taken_meanwhile_leaves_no_log(
    evolve_settings: SessionSettings, tmp_path: Path, taken: int
) -> None:
    """Between the first look and the start, another program may take the port."""
    toml = tmp_path / "session.toml"
    toml.write_text(tomli_w.dumps(evolve_settings.model_dump(mode="json", exclude_none=True)))
    arguments = ["serve", str(toml), "--log", str(tmp_path / "here" / "s.sqlite")]
    with mock.patch("synth_server.serve.check_free"):
        done = CliRunner().invoke(app, [*arguments, "--work-port", str(taken)])
    assert isinstance(done.exception, WireError)
    assert files_in(tmp_path) == [toml]


def test_a_second_session_that_cannot_be_made_takes_the_first_with_it(
    evolve_settings: SessionSettings, tmp_path: Path
) -> None:
    other = tmp_path / "other.sqlite"
    other.write_text("somebody's")

    def start() -> None:
        with NewSessions() as new:
            new.add(new_session(evolve_settings, tmp_path / "a" / "session.sqlite"))
            new.add(new_session(evolve_settings, other))

    with pytest.raises(LogError):
        start()
    assert files_in(tmp_path) == [other]
    assert other.read_text() == "somebody's"


def test_a_first_block_that_cannot_be_computed_leaves_no_log(
    evolve_settings: SessionSettings, tmp_path: Path
) -> None:
    path = tmp_path / "a" / "session.sqlite"
    broken = mock.patch.object(Session, "advance", side_effect=StimloopError("no memory"))
    with broken, pytest.raises(StimloopError, match="no memory"):
        new_session(evolve_settings, path)
    assert files_in(tmp_path) == []
    new_session(evolve_settings, path).log.close()
    assert path.exists()


def test_a_session_that_started_stays(evolve_settings: SessionSettings, tmp_path: Path) -> None:
    path = tmp_path / "session.sqlite"
    session = new_session(evolve_settings, path)

    def start() -> None:
        with NewSessions() as new:
            new.add(session)
            new.started()
            raise StimloopError("later")

    with pytest.raises(StimloopError, match="later"):
        start()
    assert path.exists()
    session.log.close()


@pytest.mark.parametrize(
    ("host", "port", "says"),
    [
        ("192.0.2.77", 0, "is no address of this computer"),
        ("127.0.0.1", None, "another program listens there"),
    ],
)
def test_the_cause_is_told_of_an_address_that_cannot_be_had(
    taken: int, host: str, port: int | None, says: str
) -> None:
    import zmq

    context: Context = zmq.Context()
    with (
        mock.patch("protocols.wire.channels.check_interface"),
        pytest.raises(WireError) as refused,
    ):
        bind(context, zmq.ROUTER, host, taken if port is None else port)
    context.term()
    assert says in refused.value.remedy


def test_addresses_are_announced_where_they_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StimloopError, match="cannot be written"):
        Listening.checked("127.0.0.1", (0, 0, 0), None, tmp_path / "file" / "server.json")
