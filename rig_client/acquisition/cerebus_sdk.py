"""Blackrock's packets through `pycbsdk`, the maintained client (CereLink): every protocol version.

It takes part in the instrument's protocol, or reads Central's memory if Central runs on this computer,
and gives packets of one form, with times in nanoseconds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from rig_client.acquisition.cerebus_links import Heard, Link, Origin
from rig_client.acquisition.formats.cerebus import SYSTEM_CHANNEL, WORD_CHANNELS, Packet
from rig_client.acquisition.stream import StreamLost
from rig_client.installed import imported

Device: TypeAlias = Literal["LEGACY_NSP", "NSP", "HUB1", "HUB2", "HUB3", "NPLAY"]
MOST_WAITING = 1_000_000
PAYLOAD_BYTES = 12
"""Of what is looked into: the monitor's two numbers, and the digital input's three."""


class SdkLink(Link):
    """Sessions of `pycbsdk`, one a device.

    Args:
        devices: By `pycbsdk`'s names.
        all_packets: Whether continuous data are passed on too, so that the monitors' counts of packets
            can be compared.

    Raises:
        InstallationError: If it is not installed.
        StreamLost: If a device does not answer.
    """

    def __init__(self, devices: Sequence[Device], all_packets: bool) -> None:
        self._sdk = imported(
            "pycbsdk", needed_by="Cerebus's devices", install="pip install 'stimloop[cerebus]'"
        )
        self._arrived: deque[Heard] = deque(maxlen=MOST_WAITING)
        self._bell = threading.Event()
        self._sessions: dict[str, Any] = {}
        self._channels: dict[tuple[str, str | None], int | None] = {}
        for device in devices:
            try:
                self._sessions[device] = self._opened(device, all_packets)
            except (RuntimeError, OSError, AttributeError) as error:  # or another library's version
                self.close()
                why = str(error).partition("\n")[0]
                raise StreamLost(f"pycbsdk does not reach {device}: {why}") from None

    def read(self, timeout_s: float, last: frozenset[str] = frozenset()) -> Sequence[Heard]:  # noqa: ARG002
        """As `Link`; all devices are in the order in which pycbsdk heard of them."""
        if not self._arrived:
            self._bell.wait(timeout_s)
        self._bell.clear()
        found = []
        while self._arrived:
            found.append(self._arrived.popleft())
        if not found:
            for device, session in self._sessions.items():
                if not session.running:
                    raise StreamLost(f"pycbsdk's session with {device} has ended")
        return found

    def word_channel(self, origin: Origin, name: str | None) -> int | None:
        """As `Link`; without a name, the channel that the instrument says is a digital input."""
        key = origin.place, name
        if self._channels.get(key) is None:
            self._channels[key] = self._found_channel(self._sessions[origin.place], name)
        return self._channels[key]

    def n_dropped(self) -> int:
        """Packets that pycbsdk's own queues lost."""
        stats = [session.stats for session in self._sessions.values()]
        return sum(one.packets_dropped + one.shmem_overruns for one in stats)

    def close(self) -> None:
        """As `Link`."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()

    def _opened(self, device: Device, all_packets: bool) -> Any:
        session = self._sdk.Session(device)
        counts_monitors = session.protocol_version >= self._sdk.ProtocolVersion.V4_1

        def take(header: Any, data: Any) -> None:
            n_bytes = min(4 * header.dlen, PAYLOAD_BYTES)
            if header.chid == SYSTEM_CHANNEL and not counts_monitors:
                n_bytes = min(
                    n_bytes, 4
                )  # before 4.1, pycbsdk fills in a number that counts nothing
            payload = bytes(data[0:n_bytes]) if header.chid else b""
            packet = Packet(header.time, header.chid, header.type, payload, header.instrument)
            self._arrived.append(Heard(Origin(device, header.instrument), packet))
            self._bell.set()

        if all_packets:
            session.on_packet()(take)
        else:
            session.on_event(None)(take)
            for kind in (0, 1):
                session.on_config(kind)(_as_bytes(take))
        return session

    def _found_channel(self, session: Any, name: str | None) -> int | None:
        digital_in = self._sdk.ChannelType.DIGITAL_IN
        for channel in range(1, session.max_chans() + 1):
            if name is None and session.get_channel_type(channel) == digital_in:
                return channel
            if name is not None and session.get_channel_label(channel) == name:
                return channel
        if name is not None:
            return None
        is_old = session.protocol_version == self._sdk.ProtocolVersion.V3_11
        return WORD_CHANNELS["3.11" if is_old else "4.1"]


def _as_bytes(take: Any) -> Any:
    """Callbacks of settings give 32-bit words."""

    def of_words(header: Any, data: Any) -> None:
        words = [int(data[n]) for n in range(min(header.dlen, PAYLOAD_BYTES // 4))]
        take(header, b"".join(word.to_bytes(4, "little") for word in words))

    return of_words
