"""A trigger for rehearsals: tells an emulated recorder what is on the screen, and sends it the words.

It stands for eye and cable at once: the emulator's neurons need to know what they see.
"""

from __future__ import annotations

import contextlib
import logging
import time

import zmq
from pydantic import Field
from zmq.utils.monitor import recv_monitor_message

from protocols.errors import RigError
from protocols.interfaces import SessionInfo
from protocols.settings import Frozen
from protocols.vocabulary import Block, Cue
from rig_client.emulators import cables

logger = logging.getLogger(__name__)

GLANCE_MS = 50


class RehearsalTrigger:
    """Words for `rig-client emulate`."""

    class Settings(Frozen):
        """Settings of the rehearsal's trigger.

        Attributes:
            address: The emulator, as it announces itself.
            wait_s: How long the emulator's neurons may take to look at a block.
        """

        address: str = Field(default=cables.DEFAULT_ADDRESS, pattern="^tcp://")
        wait_s: float = Field(default=60, gt=0, le=3600)

    def __init__(self, settings: Settings, session: SessionInfo) -> None:
        self._settings = settings
        self._session = session
        self._block: Block | None = None
        self._connected = self._has_block = False
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.sndhwm = 0
        self._socket.immediate = True  # words for an emulator that is away are lost, as on a cable
        self._monitor = self._socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        self._socket.connect(settings.address)
        self._watch(5000)
        if not self._connected:
            self.close()
            raise RigError(
                "no emulator answers the rehearsal's trigger",
                where=settings.address,
                remedy="start it first: rig-client emulate KIND; it prints its address",
            )

    def stage(self, block: Block) -> None:
        """Show the block to the emulator, and wait until its neurons have looked at it."""
        self._block, self._has_block = block, False
        deadline_s = time.perf_counter() + self._settings.wait_s
        while not self._has_block and time.perf_counter() < deadline_s:
            self._watch(0)
            if not self._connected:
                logger.warning("the emulator at %s is away", self._settings.address)
                return
            self._show_block()
            while self._connected and time.perf_counter() < deadline_s:
                if self._socket.poll(GLANCE_MS):
                    self._socket.recv_multipart()
                    return
                self._watch(0)

    def send(self, word: int, cue: Cue) -> None:
        """To an emulator that has just come back, the block first."""
        sent_s = time.perf_counter()
        self._watch(0)
        if self._connected and not self._has_block:
            self._show_block()
        self._send(cables.encoded_word(word, cue, sent_s))

    def clear(self) -> None:
        """Lines at zero."""
        self._send(cables.encoded_clear(time.perf_counter()))

    def close(self) -> None:
        """Release everything."""
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
        self._context.term()

    def _show_block(self) -> None:
        if self._block is not None:
            while self._socket.poll(0):
                self._socket.recv_multipart()
            self._has_block = self._send(cables.encoded_block(self._session, self._block))

    def _send(self, frames: cables.Frames) -> bool:
        with contextlib.suppress(zmq.Again):
            self._socket.send_multipart(frames, zmq.NOBLOCK)
            return True
        return False

    def _watch(self, timeout_ms: int) -> None:
        """What has become of the connection meanwhile."""
        while self._monitor.poll(timeout_ms):
            event = recv_monitor_message(self._monitor)["event"]
            self._connected = event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            self._has_block = False
            timeout_ms = 0
