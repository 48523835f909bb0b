"""Run the monitor: two threads that look, one web server, at low priority."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType

import uvicorn

from protocols.errors import WireError
from synth_server.control_socket import PATIENCE_S
from synth_server.monitor.app import monitor_app
from synth_server.monitor.finding import Found
from synth_server.monitor.link import ServerLink
from synth_server.monitor.watcher import Watcher

HOST = "127.0.0.1"
NICENESS = 10
GOODBYE_S = 5
"""How long a page that does not take what it is sent is waited for at the end."""


class MonitorServer(uvicorn.Server):
    """Ends upon Ctrl-C and SIGTERM, as `synth-server serve` does, with exit status 0.

    Args:
        config: Uvicorn's.
        watcher: Stopped first, which ends what pages are listening to.
    """

    def __init__(self, config: uvicorn.Config, watcher: Watcher) -> None:
        super().__init__(config)
        self._watcher = watcher

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Both signals are the order to end."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        yield

    def _end(self, number: int, at: FrameType | None) -> None:
        self._watcher.stop()
        self.handle_exit(number, at)


def run_monitor(found: Found, port: int, keys: Path | None, ready: Callable[[str], None]) -> None:
    """Serve the page until somebody ends it.

    Args:
        found: The session.
        port: To listen on; 0 lets the system choose.
        keys: Folder of client keys for the control socket.
        ready: Told the page's address once it can be opened.

    Raises:
        WireError: If the port is taken.
        LogError: If the log cannot be read.
        InstallationError: If a package is missing.
    """
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    link = ServerLink(found.address, found.session_id, keys)
    watcher = Watcher(found.log, link)
    config = uvicorn.Config(
        monitor_app(watcher, link),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=GOODBYE_S,
        lifespan="off",
        ws="none",
    )
    with listening(port) as bound:
        threads = [
            threading.Thread(target=look, name=name, daemon=True)
            for name, look in (
                ("reader", watcher.keep_up),
                ("link", partial(link.keep_looking, watcher.is_over)),
            )
        ]
        for thread in threads:
            thread.start()
        ready(f"http://{HOST}:{bound.getsockname()[1]}/")
        MonitorServer(config, watcher).run(sockets=[bound])
        watcher.stop()
        link.stop()
        for thread in threads:  # one that is in a socket must not be torn out of it
            thread.join(PATIENCE_S + 1)


def open_in_browser(url: str) -> bool:
    """Open the page if this computer has a screen; True if a browser was started."""
    has_screen = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return has_screen and webbrowser.open(url)


@contextlib.contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A listening socket on loopback: connections wait in it until the server is up."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            bound.bind((HOST, port))
            bound.listen(128)
        except OSError as error:
            raise WireError(
                "the monitor cannot listen here",
                where=f"{HOST}:{port}",
                got=error.strerror or str(error),
                remedy="choose another --port, or --port 0 to let the system choose",
            ) from None
        yield bound
    finally:
        bound.close()
