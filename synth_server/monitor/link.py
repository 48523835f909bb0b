"""The link to the server: is it there, and the page's buttons."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from protocols.errors import LinkLost, StimloopError
from protocols.wire.messages import Body, SessionStatus
from synth_server.control_socket import ask, request
from synth_server.monitor.documents import Link

BUTTONS = ("pause", "resume", "stop", "annotate")
LOOK_EVERY_S = 2.0


class ServerLink:
    """Asks the server's control socket; any thread may.

    Args:
        address: The control address.
        session: The session's id.
        keys: Folder of client keys, if the server has keys.
    """

    def __init__(self, address: str, session: str, keys: Path | None) -> None:
        self.address = address
        self._session, self._keys = session, keys
        self._link = Link()
        self._stopped = threading.Event()

    @property
    def link(self) -> Link:
        """What was found at the last look."""
        return self._link

    def keep_looking(self, is_over: Callable[[], bool]) -> None:
        """Look every other second until `stop`, or until the session is over: its server may go."""
        while not self._stopped.is_set() and not is_over():
            self.look()
            self._stopped.wait(LOOK_EVERY_S)

    def look(self) -> None:
        """Ask for the session's status; nothing is raised."""
        try:
            (status,) = ask("status", self.address, self._session, self._keys)
            self._link = Link(state="connected", rig_id=status.rig_id, rig_says=status.rig_says)
        except LinkLost as error:
            self._link = Link(state="silent", said=error.what)
        except StimloopError as error:
            self._link = Link(state="refused", said=error.what)

    def send(self, command: str, text: str = "") -> SessionStatus:
        """Press a button.

        Raises:
            StimloopError: If the server does not answer, or refuses.
        """
        (status,) = ask(command, self.address, self._session, self._keys, text)
        return status

    def steer(self, wish: Body) -> SessionStatus:
        """Change the session's course; see `session.steering`.

        Raises:
            StimloopError: If the server does not answer, or refuses.
        """
        (status,) = request(wish, self.address, self._session, self._keys)
        return status

    def stop(self) -> None:
        """End `keep_looking`."""
        self._stopped.set()
