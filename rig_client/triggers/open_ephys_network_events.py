"""Words through Open Ephys' Network Events plug-in: strings over ZeroMQ, no cable.

The GUI stamps an event when it comes to it, between two of its buffers: good for rehearsals and for
a rig without a digital line. For images' onsets to a millisecond, take a real line. Every data stream
gets the event with the first stream's sample number (GUI issue 274): record the first stream.

It answers what it has understood, and that is read: version 0.2 takes `TTL Word=5` for a command
without arguments, clears line 1 and says so; older ones know `Channel` in place of `Line`.
"""

from __future__ import annotations

import re
from typing import Literal

import zmq
from pydantic import Field

from protocols.errors import RigError
from protocols.interfaces import SessionInfo
from rig_client.triggers.lines import LineSettings, WordLines


class NetworkEventsTriggerSettings(LineSettings):
    """Where Network Events listens, and how it is told.

    Attributes:
        address: Its address; 5556 is also the default of the ZMQ Interface plug-in, which then
            takes another port.
        message: `lines`: one string for each line that changes, and the strobe last, so that a
            recorder may read the word then; `word`: all lines in one string, which newer versions
            understand.
        timeout_s: How long an answer is waited for, in a thread of its own.
        max_delay_ms: A word that would leave later than this after its image is dropped.
    """

    address: str = Field(default="tcp://127.0.0.1:5556", pattern=r"^(tcp|ipc)://")
    message: Literal["lines", "word"] = "lines"
    timeout_s: float = Field(default=1, gt=0, le=60)
    max_delay_ms: float = Field(default=50, gt=0, le=1000)


class NetworkEventsTrigger(WordLines):
    """Asks Network Events to set its lines; line 0 here is its `Line=1`."""

    Settings = NetworkEventsTriggerSettings

    def __init__(self, settings: NetworkEventsTriggerSettings, session: SessionInfo) -> None:  # noqa: ARG002
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        # A request that was never answered does not stand in the way of the next.
        self._socket.setsockopt(zmq.REQ_RELAXED, 1)
        self._socket.setsockopt(zmq.REQ_CORRELATE, 1)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._timeout_ms = int(1000 * settings.timeout_s)
        self._socket.setsockopt(zmq.SNDTIMEO, self._timeout_ms)
        self._socket.connect(settings.address)
        self._address = settings.address
        self._whole_words = settings.message == "word"
        self._levels: int | None = None
        self._lines = [line for line in range(32) if settings.all_lines >> line & 1]
        try:
            self._put(0)
        except RigError:
            self._socket.close()
            raise
        super().__init__("Open Ephys Network Events", settings, self._put, settings.max_delay_ms)

    def close(self) -> None:
        """Lines back to zero if the server is there, and disconnect."""
        super().close()
        if not self.is_carrying:
            self._socket.close()

    def _put(self, levels: int) -> None:
        """Lines that fall before those that rise, each group beginning with the highest."""
        if self._whole_words:
            self._ask(f"TTL Word={levels}", None)
            return
        before = ~levels if self._levels is None else self._levels
        self._levels = None  # not known until all answers are there
        changed = [line for line in self._lines if (levels ^ before) >> line & 1]
        for line in sorted(changed, key=lambda line: (levels >> line & 1, -line)):
            state = levels >> line & 1
            self._ask(f"TTL Line={line + 1} State={state}", (line + 1, state))
        self._levels = levels

    def _ask(self, text: str, line: tuple[int, int] | None) -> None:
        """Ask, and read the answer: of one `line` and its state, or of a whole word."""
        try:
            self._socket.send(text.encode())
            answered = self._socket.poll(self._timeout_ms)
        except zmq.Again:
            answered = 0
        if not answered:
            raise RigError(
                "Open Ephys does not answer",
                where=self._address,
                expected="an answer of Network Events",
                got="none",
                remedy="start the GUI with the plug-in Network Events, and check its port",
            )
        answer = self._socket.recv().decode("utf-8", "replace")
        if not is_done(answer, line):
            raise RigError(
                "Open Ephys has not done what the trigger asked for",
                where=self._address,
                expected=f"{text!r} answered by TTLHandled, and the same line or word",
                got=repr(answer)[:80],
                remedy='update the plug-in Network Events; before version 0.3, message = "lines"; '
                "see that this port is that plug-in's",
            )


def is_done(answer: str, line: tuple[int, int] | None) -> bool:
    """Whether the plug-in's answer says that it has set this line, or (None) the whole word."""
    if not answer.startswith("TTLHandled"):
        return False
    said = re.search(r"Line=(\d+) State=(\d+)", answer)
    if line is None:
        return said is None and "Channel=" not in answer
    return said is not None and (int(said[1]), int(said[2])) == line
