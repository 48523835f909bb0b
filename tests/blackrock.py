"""Sends what Blackrock's instruments send, byte by byte; written from CereLink's sources, not from ours.

Headers: protocol_detector.cpp. Payloads: types.h (cbPKT_DINP, cbPKT_SPK, cbPKT_SYSPROTOCOLMONITOR).
"""

from __future__ import annotations

import socket
import struct

CONFIGURATION = 0x8000


class Instrument:
    """One instrument that sends to a port of this computer; its packets wait until `send`."""

    def __init__(
        self, protocol, port, *, number=0, address="127.0.0.1", hz=30_000, first=1_000_000
    ):
        self.protocol, self.port, self.number, self.address = protocol, port, number, address
        self.hz, self.time, self.first = hz, first, first
        self.digital_input = 151 if protocol == "3.11" else 256 + 16 + 6 + 1
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._waiting, self._n, self._n_monitors = b"", 0, 0
        self._to_come = []

    def after(self, seconds):
        """The time, so long after now; nothing passes."""
        return self.time + round(seconds * self.hz)

    def packet(self, time, channel, kind, payload):
        words = len(payload) // 4
        if self.protocol == "3.11":
            header = struct.pack("<IHBB", time, channel, kind, words)
        elif self.protocol == "4.0":
            header = struct.pack("<QHBHBH", time, channel, kind, words, self.number, 0)
        else:
            header = struct.pack("<QHHHBB", time, channel, kind, words, self.number, 0)
        self._waiting += header + payload
        self._n += 1

    def word(self, time, value, changed=0xFF):
        self.packet(time, self.digital_input, 0, struct.pack("<III", value, changed, 1))

    def spike(self, time, channel, unit=0):
        """Sent when its time has come."""
        self._to_come.append((time, channel, unit))
        self._to_come.sort()

    def _fire(self, time, channel, unit):
        waveform = struct.pack("<48h", *range(48))
        self.packet(time, channel, unit, struct.pack("<3f2h", 0.5, 1.5, 0, 80, -120) + waveform)

    def monitor(self, time):
        """Heartbeat and protocol monitor, which counts itself."""
        self.packet(time, CONFIGURATION, 0, b"")
        self._n_monitors += 1
        counts = struct.pack("<II", self._n + 1, self._n_monitors)
        self.packet(time, CONFIGURATION, 1, counts if self.protocol == "4.1" else counts[:4])
        self._n = 0

    def send(self):
        if self._waiting:
            self._socket.sendto(self._waiting, (self.address, self.port))
        self._waiting = b""

    def pass_s(self, seconds, step_s=0.01):
        """Time passes, with a monitor every 10 ms."""
        for _ in range(round(seconds / step_s)):
            self.time = self.after(step_s)
            while self._to_come and self._to_come[0][0] <= self.time:
                self._fire(*self._to_come.pop(0))
            self.monitor(self.time)
            self.send()

    def close(self):
        self._socket.close()
