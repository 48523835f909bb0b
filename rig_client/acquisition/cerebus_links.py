"""Where Blackrock's packets come from: datagrams that this computer hears, or the library `pycbsdk`."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

from rig_client.acquisition.formats.cerebus import (
    MAX_DATAGRAM_BYTES,
    NANOSECONDS_HZ,
    TICKS_HZ,
    WORD_CHANNELS,
    Guess,
    Packet,
    Protocol,
    decoded,
    fits,
    label,
)
from rig_client.acquisition.stream import StreamLost

logger = logging.getLogger(__name__)

N_STRANGE = 50
"""So many datagrams in a row that are of another protocol, or of none, are an error."""
N_UNDECIDED = 2000
NANOSECONDS_BEYOND = 1 << 44
"""A time that is later is in nanoseconds: in ticks it would be 18 years."""
MONITOR_TICKS = 50_000
"""Two protocol monitors are 300 ticks or 10,000,000 ns apart, more or less."""
MEASURED_S = 0.2
MOST_AT_ONCE = 256
TWICE_S = 0.05
"""A datagram that comes twice, by two ways through a network or two interfaces, does so within this."""
LOOPBACK = "127."


class Origin(NamedTuple):
    """Who sent a packet: the port or device that it came through, and the instrument in its header."""

    place: str
    instrument: int

    def __str__(self) -> str:
        return f"instrument {self.instrument} on {self.place}"


class Heard(NamedTuple):
    """A packet whose time is in nanoseconds."""

    origin: Origin
    packet: Packet


class Link(ABC):
    """A way in which packets arrive."""

    @abstractmethod
    def read(self, timeout_s: float, last: frozenset[str] = frozenset()) -> Sequence[Heard]:
        """What has arrived, in order; waits `timeout_s` if nothing has.

        Args:
            timeout_s: In seconds.
            last: Places that are read last. Where words come from one and spikes from another, what
                comes after a word is then never known before the word is.

        Raises:
            StreamLost: If what arrives cannot be understood.
        """

    @abstractmethod
    def word_channel(self, origin: Origin, name: str | None) -> int | None:
        """The digital input's channel: the one of that name, or the usual one; None: not known yet."""

    @abstractmethod
    def n_dropped(self) -> int:
        """Packets that were lost in this computer, so far."""

    @abstractmethod
    def close(self) -> None:
        """Hear no more."""


class Clock:
    """Ticks or nanoseconds → nanoseconds; finds out which it is.

    Args:
        clock_hz: What it is; None: to be found out.
    """

    def __init__(self, clock_hz: int | None) -> None:
        self._hz = clock_hz
        self._monitor: int | None = None
        self._first: tuple[float, int] | None = None

    def nanoseconds(self, packet: Packet, now_s: float) -> int | None:
        """The packet's time; None while the clock is not known."""
        if self._hz is None:
            self._hz = self._found(packet, now_s)
        if self._hz == TICKS_HZ:
            return packet.time * 100_000 // 3
        return packet.time if self._hz == NANOSECONDS_HZ else None

    def _found(self, packet: Packet, now_s: float) -> int | None:
        if packet.time >= NANOSECONDS_BEYOND:
            return NANOSECONDS_HZ
        if packet.is_monitor:
            before, self._monitor = self._monitor, packet.time
            if before is not None and packet.time > before:
                return NANOSECONDS_HZ if packet.time - before > MONITOR_TICKS else TICKS_HZ
        if self._first is None or packet.time < self._first[1]:
            self._first = now_s, packet.time
        passed_s = now_s - self._first[0]
        if passed_s < MEASURED_S or packet.time == self._first[1]:
            return None
        speed_hz = (packet.time - self._first[1]) / passed_s
        return NANOSECONDS_HZ if speed_hz**2 > TICKS_HZ * NANOSECONDS_HZ else TICKS_HZ


class Port:
    """What comes to one UDP port: its protocol, its clock, its channels' names.

    Args:
        number: The port's.
        protocol: As the settings have it.
        clock_hz: Ticks in a second; None: to be found out.
    """

    def __init__(
        self, number: int, protocol: Protocol | Literal["auto"], clock_hz: int | None
    ) -> None:
        self._number, self._asked, self._clock_hz = number, protocol, clock_hz
        self.protocol: Protocol | None = None if protocol == "auto" else protocol
        self._guess = Guess()
        self._n_strange = self._n_undecided = 0
        self._clocks: dict[int, Clock] = {}
        self._had: dict[bytes, float] = {}
        self.n_twice = 0
        self.labels: dict[int, str] = {}

    def heard(self, datagram: bytes, now_s: float) -> list[Heard]:
        """The packets of a datagram.

        Raises:
            StreamLost: If the datagrams are of another protocol than they should be, or of none.
        """
        if self.protocol is None:
            self.protocol = self._guess.of(datagram)
            self._n_undecided += 1
            if self.protocol is None:
                if self._n_undecided > N_UNDECIDED:
                    raise StreamLost(
                        f"what comes to UDP port {self._number} is of none of Blackrock's protocols "
                        "3.11, 4.0, 4.1, or does not say of which; set protocol"
                    )
                return []
            logger.info("UDP port %d: protocol %s", self._number, self.protocol)
        if not fits(datagram, self.protocol):
            self._strange(datagram)
        elif self._came_before(datagram, now_s):
            return []
        else:
            self._n_strange = 0
        found = []
        for packet in decoded(datagram, self.protocol):
            if named := label(packet):
                self.labels[named[0]] = named[1]
            time_ns = self._clock_of(packet.instrument).nanoseconds(packet, now_s)
            if time_ns is not None:
                origin = Origin(str(self._number), packet.instrument)
                found.append(Heard(origin, packet._replace(time=time_ns)))
        return found

    def _came_before(self, datagram: bytes, now_s: float) -> bool:
        """Whether this is the same datagram again: each has its packets' times."""
        while self._had and (oldest := next(iter(self._had.items())))[1] < now_s - TWICE_S:
            del self._had[oldest[0]]
        if datagram not in self._had:
            self._had[datagram] = now_s
            return False
        self.n_twice += 1
        if self.n_twice == 1:
            logger.warning(
                "datagrams come twice to UDP port %d; each is counted once", self._number
            )
        return True

    def _clock_of(self, instrument: int) -> Clock:
        if instrument not in self._clocks:
            known = TICKS_HZ if self.protocol == "3.11" else self._clock_hz
            self._clocks[instrument] = Clock(known)
        return self._clocks[instrument]

    def _strange(self, datagram: bytes) -> None:
        self._n_strange += 1
        if self._n_strange < N_STRANGE:
            return
        others = [one for one in ("3.11", "4.0", "4.1") if fits(datagram, one)]
        what = f"protocol {others[0]}" if others else "none of Blackrock's protocols"
        remedy = (
            'set protocol = "auto"' if self._asked != "auto" else "is it another instrument now?"
        )
        raise StreamLost(
            f"packets on UDP port {self._number} are of {what}, not of protocol {self.protocol}; "
            f"{remedy}"
        )


class UdpLink(Link):
    """Listens to what instruments send to this computer, or to all; says nothing itself.

    On Linux, a broadcast does not reach a socket that is bound to an address of this computer, so
    that one listens on all interfaces there.

    Args:
        host: This computer's address in the instrument's network.
        ports: To which instruments send.
        protocol: Of the packets.
        clock_hz: Ticks in a second; None: to be found out.

    Raises:
        StreamLost: If a port is taken.
    """

    def __init__(
        self,
        host: str,
        ports: Sequence[int],
        protocol: Protocol | Literal["auto"],
        clock_hz: int | None,
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._places: dict[str, tuple[socket.socket, Port]] = {}
        listens_to_all = sys.platform != "win32" and not host.startswith(LOOPBACK)
        address = "0.0.0.0" if listens_to_all else host
        self._sockets: list[socket.socket] = []
        for number in ports:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sockets.append(made)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
            try:
                made.bind((address, number))
            except OSError as error:
                self.close()
                raise StreamLost(f"UDP port {number} cannot be listened to: {error}") from None
            made.setblocking(False)
            self._places[str(number)] = made, Port(number, protocol, clock_hz)
            self._selector.register(made, selectors.EVENT_READ)

    def read(self, timeout_s: float, last: frozenset[str] = frozenset()) -> Sequence[Heard]:
        """As `Link`: all that has arrived at all ports, whichever was ready first."""
        found: list[Heard] = []
        if not self._selector.select(timeout_s):
            return found
        for place in sorted(self._places, key=lambda place: place in last):
            connection, port = self._places[place]
            with contextlib.suppress(BlockingIOError):
                for _ in range(MOST_AT_ONCE):
                    datagram = connection.recv(MAX_DATAGRAM_BYTES)
                    found += port.heard(datagram, time.perf_counter())
        return found

    def word_channel(self, origin: Origin, name: str | None) -> int | None:
        """As `Link`; names are known once the instrument was asked for its settings, by Central say."""
        _, port = self._places[origin.place]
        if name is not None:
            return next((n for n, label in port.labels.items() if label == name), None)
        return WORD_CHANNELS[port.protocol] if port.protocol else None

    def n_dropped(self) -> int:
        """0: a full buffer of the system shows in the protocol monitor only."""
        return 0

    def close(self) -> None:
        """As `Link`."""
        self._selector.close()
        for made in self._sockets:
            made.close()
