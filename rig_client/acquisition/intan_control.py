"""RHX's remote control by TCP: one short order at a time, and its answer read.

RHX (3.4.0: tcpdisplay.cpp, commandparser.cpp, tcpcommunicator.cpp) parses whatever one read returns,
so that an order that TCP cuts is two wrong ones; its answers have no end mark; what is well is not
answered. So every order is followed by a question whose answer is known to come, and what RHX says
before that answer is what it has against the order.

It closes a port's listener when a client connects, and does not open it again when the client goes:
data ports are opened again by an order on the command port, the command port by a click only.
"""

from __future__ import annotations

import re
import socket
import time

from rig_client.acquisition.stream import StreamLost

CONNECT_S = 1.0
ANSWER_S = 2.0
PAUSE_S = 0.02
LONGEST_ORDER = 200
"""Bytes. Far below what one TCP segment carries, so that no order is cut."""
WINDOW = "in RHX's window Network > Remote TCP Control"


class Control:
    """A connection to the command port.

    Args:
        host: The computer on which RHX runs.
        port: Its command port.

    Raises:
        StreamLost: If RHX does not listen there.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        try:
            self._socket = socket.create_connection((host, port), CONNECT_S)
        except OSError as error:
            raise StreamLost(
                f"RHX does not listen on its command port {port} ({error}); click Connect {WINDOW}: "
                "it stops listening whenever a client has gone"
            ) from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        """To wait for it with others."""
        return self._socket.fileno()

    def ask(self, name: str) -> str | None:
        """The value of a parameter of RHX; None if this RHX has none of that name.

        Raises:
            StreamLost: If RHX does not answer.
        """
        return self._answer(f"get {name};", name)[0]

    def order(self, order: str) -> None:
        """Give one order, `set … …` or `execute …`.

        Raises:
            StreamLost: If RHX has something against it, or is gone.
        """
        self._send(order + ";")
        _, complaint = self._answer("get runmode;", "runmode")
        if complaint:
            raise StreamLost(f"RHX answers {complaint!r:.200} to {order!r}")

    def data_port(self, what: str, port: int) -> socket.socket:
        """A new connection to the waveform or the spike port, which RHX is told to open.

        Args:
            what: `waveform` or `spike`.
            port: Its number.

        Raises:
            StreamLost: If RHX does not open it.
        """
        status = (self.ask(f"tcp{what}dataoutputconnectionstatus") or "").lower()
        if status == "connected":
            self.order(f"execute disconnecttcp{what}dataoutput")
        if status != "pending":
            self.order(f"execute connecttcp{what}dataoutput")
        until_s = time.monotonic() + CONNECT_S
        while True:
            try:
                connection = socket.create_connection((self._host, port), CONNECT_S)
                connection.setblocking(False)
                return connection
            except OSError as error:
                if time.monotonic() > until_s:
                    raise StreamLost(
                        f"RHX does not open its {what} port {port} ({error}); has it another number "
                        f"{WINDOW}?"
                    ) from None
            time.sleep(PAUSE_S)

    def is_alive(self) -> bool:
        """Whether RHX has not closed the connection; what it says unasked is dropped."""
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(4096))
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            self._socket.setblocking(True)

    def close(self) -> None:
        """RHX will not listen again until somebody clicks."""
        self._socket.close()

    def _send(self, text: str) -> None:
        if len(text) > LONGEST_ORDER:
            raise StreamLost(f"an order to RHX is too long: {text!r:.80}")
        try:
            self._socket.sendall(text.encode("ascii"))
        except OSError as error:
            raise StreamLost(f"RHX has closed its command port: {error}") from None

    def _answer(self, question: str, name: str) -> tuple[str | None, str]:
        """The value, and what RHX said besides."""
        self._send(question)
        heard, until_s = "", time.monotonic() + ANSWER_S
        own = re.escape(
            name.rpartition(".")[2]
        )  # a channel's parameter is answered without the channel
        wanted = re.compile(rf"Return:\s*(?:[\w-]+\.)?{own} (\S+)", re.IGNORECASE)
        while True:
            if found := wanted.search(heard):
                return found[1], (heard[: found.start()] + heard[found.end() :]).strip()
            if "unrecognized parameter" in heard.lower() and name != "runmode":
                return None, heard
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                said = f"only {heard!r:.80}" if heard else "nothing"
                raise StreamLost(f"RHX answers {said} to {question!r} on its command port")
            heard += self._received(left_s)

    def _received(self, timeout_s: float) -> str:
        self._socket.settimeout(timeout_s)
        try:
            received = self._socket.recv(4096)
        except TimeoutError:
            return ""
        except OSError as error:
            raise StreamLost(f"RHX has closed its command port: {error}") from None
        finally:
            self._socket.setblocking(True)
        if not received:
            raise StreamLost("RHX has closed its command port")
        return received.decode("ascii", "replace")
