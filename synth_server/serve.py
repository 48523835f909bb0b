"""Serve sessions from this process until they are over or somebody stops it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from protocols.command_line import stderr
from protocols.errors import SettingsError
from protocols.outputs import check_new_file
from protocols.replacing import replace_file
from protocols.wire.security import ServerKeys, check_interface, load_server_keys
from synth_server.endpoint import Endpoint
from synth_server.interrupts import STOPPED_NOW, Interrupts
from synth_server.ports import Ports, check_free
from synth_server.session.log import remove_log
from synth_server.session.session import Session


@dataclass(frozen=True)
class Listening:
    """Where to listen, to whom, and where to say so.

    Attributes:
        announce: Where to write the addresses (JSON), once the server can be reached.
    """

    host: str = "127.0.0.1"
    ports: Ports = Ports()  # noqa: RUF009
    keys: ServerKeys | None = None
    announce: Path | None = None

    @classmethod
    def checked(
        cls, host: str, ports: tuple[int, ...], keys: Path | None, announce: Path | None
    ) -> Listening:
        """Read the keys, if any, and try the ports: before a session is made, which takes its time.

        Raises:
            SecurityError: If others can reach `host` and there are no keys, or the keys are unsafe.
            SettingsError: If the addresses can't be written to `announce`.
            WireError: If nobody can listen there.
        """
        server_keys = load_server_keys(keys) if keys else None
        check_interface(host, server_keys)
        if announce is not None:
            check_new_file(announce, overwrite=True, where="--announce")
        check_free(host, ports, server_keys)
        return cls(host, Ports(*ports), server_keys, announce)


class NewSessions:
    """Logs that a start makes; one that fails removes them, so that the next one finds nothing.

    A context manager; `add` each new session, and call `started` once rigs can come.
    """

    def __init__(self) -> None:
        self._made: list[Session] = []

    def add(self, session: Session) -> Session:
        """Remember a session whose log this process has made."""
        self._made.append(session)
        return session

    def started(self) -> None:
        """From now on the logs stay, whatever happens."""
        self._made.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for session in self._made:
            session.log.close()
            remove_log(session.log.path)


def beside_work(work_port: int, *asked: int | None) -> tuple[int, ...]:
    """The other ports: as asked, else they follow the work port; 0 if that is 0, which is free.

    So a second server on one computer needs one option only, `--work-port`.
    """
    return tuple(
        (work_port + place if work_port else 0) if port is None else port
        for place, port in enumerate(asked, 1)
    )


def serve(
    sessions: Sequence[Session],
    listening: Listening,
    *,
    exit_when_over: bool = False,
    encoders: str = "",
    started: Callable[[], None] = lambda: None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve `sessions`; every way to end it leaves the logs in order.

    SIGINT ends it once the rigs have shown and answered what they hold; a second one, or SIGTERM,
    ends it at once.

    Args:
        encoders: Where the encoders are that a process beside this one hosts; it is announced too.
        started: Called once nothing can fail any more that would have to be undone.
        ready: Called once rigs can come.

    Raises:
        SystemExit: 130, after a second SIGINT.
    """
    names = [session.session_id for session in sessions]
    if len(set(names)) < len(names):
        raise SettingsError("two sessions have the same id", got=", ".join(names))
    endpoint = Endpoint(
        dict(zip(names, sessions, strict=True)),
        host=listening.host,
        ports=listening.ports,
        keys=listening.keys,
        exit_when_over=exit_when_over,
    )

    found = endpoint.addresses
    stderr.print(
        f"rigs: {found.work}; control: {found.control}; events: {found.events}", highlight=False
    )
    with Interrupts(endpoint.finish, endpoint.close, endpoint.close) as interrupts:
        if listening.announce is not None:
            addresses = asdict(endpoint.addresses) | ({"encoders": encoders} if encoders else {})
            _announce(listening.announce, addresses)
        started()
        ready()
        endpoint.run()
    if interrupts.n_interrupts > 1:
        raise SystemExit(STOPPED_NOW)


def _announce(path: Path, addresses: dict[str, str]) -> None:
    """Write the addresses in one piece: who finds the file can read it whole."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(addresses), "utf-8")
    replace_file(unfinished, path)
