"""Blackrock Cerebus, of any age: one NSP, several, or a Gemini's hubs and NSP.

Packets come through `pycbsdk` (`devices`), or as datagrams that this computer hears (`ports`). Spikes
and words may come from different instruments; their clock is the same, and is kept in nanoseconds.
Channels of different instruments are different, whatever their number: nothing is ever summed.
"""

from __future__ import annotations

import re
import struct
import time
from typing import Literal

from pydantic import Field

from protocols.errors import SettingsError
from protocols.interfaces import SessionInfo
from rig_client.acquisition.cerebus_links import Heard, Link, Origin, UdpLink
from rig_client.acquisition.cerebus_losses import Losses
from rig_client.acquisition.cerebus_sdk import Device, SdkLink
from rig_client.acquisition.formats.cerebus import NANOSECONDS_HZ, NOISE_UNIT, Protocol
from rig_client.acquisition.line_words import ONLY, LineSettings, LineStream
from rig_client.acquisition.stream import StreamLost

SOURCE = re.compile(
    r"(?:(?P<place>\w+)/)?(?:(?P<instrument>\d+):)?(?P<channel>\d+)(?:#(?P<unit>\d+))?"
)
NAMES = (
    'channels, such as "12", or units of channels, "12#1"; with several instruments "1:12#1" '
    '(instrument 1), or "HUB1/12", "51002/12" (what came through that device or port)'
)
ACTIVE_S = 1.0
"""An instrument of which nothing came for so long does not hold others up."""


class CerebusSettings(LineSettings):
    """Settings of a Blackrock Cerebus.

    Attributes:
        devices: Which instruments `pycbsdk` shall connect to; none: datagrams are listened for.
        host: This computer's address in the instruments' network.
        ports: To which the instruments send: NSP 51001 (Gemini) or 51002, hubs from 51002 on.
        protocol: Of the datagrams.
        clock: Unit of the datagrams' times.
        word_channel: Number or name of the digital input; not given: 151 of protocol 3.11, 279 later.
        count_packets: Whether lost packets are looked for by the protocol monitor.
    """

    devices: tuple[Device, ...] = ()
    host: str = "0.0.0.0"
    ports: tuple[int, ...] = Field(default=(51001, 51002, 51003, 51004), min_length=1)
    protocol: Literal["auto"] | Protocol = "auto"
    clock: Literal["auto", "30 kHz", "1 GHz"] = "auto"
    word_channel: int | str | None = None
    count_packets: bool = True


class Cerebus(LineStream):
    """Counts what the instruments send. A site is a channel (`"12"`) or one of its units (`"12#1"`).

    The unit for noise (255) counts only if it is named.

    Raises:
        SettingsError: If a site has a name that no spike can have.
    """

    Settings = CerebusSettings
    spikes_say_time = False
    least_wait_s = 0.015
    """A monitor, which tells of lost packets, must have its time to come."""

    def __init__(self, settings: CerebusSettings, session: SessionInfo) -> None:  # noqa: ARG002
        sources = settings.sources('["12", "13#1"]')
        self._sources = checked(sources)
        where = ", ".join(settings.devices or (f"UDP port {port}" for port in settings.ports))
        super().__init__(
            settings, sources=sources, quiet_ms=None, where=where, rate_hz=NANOSECONDS_HZ
        )
        self._settings = settings
        self._link: Link | None = None
        self.start()

    # --- connecting ----------------------------------------------------------------------------

    def _open(self) -> None:
        settings = self._settings
        self._names_of: dict[tuple[Origin, int, int], tuple[str, ...]] = {}
        self._spiking: dict[str, set[Origin]] = {name: set() for name in self._sources.values()}
        self._heard_of: dict[Origin, tuple[int, float]] = {}
        self._with_spikes: set[Origin] = set()
        self._with_words: set[Origin] = set()
        self._losses = Losses(self.recording)
        self._n_dropped = 0
        if settings.devices:
            self._link = SdkLink(settings.devices, settings.count_packets)
        else:
            clock_hz = {"auto": None, "30 kHz": 30_000, "1 GHz": 1_000_000_000}[settings.clock]
            self._link = UdpLink(settings.host, settings.ports, settings.protocol, clock_hz)

    def _read(self, timeout_s: float) -> bool:
        if self._link is None:
            return False
        heard = self._link.read(timeout_s, self._seeing())
        for one in heard:
            if self._settings.count_packets:
                self._losses.count(one)
            self._take(one)
        if times := self._times(time.perf_counter()):
            self.heard(min(times))
        if (n_dropped := self._link.n_dropped()) > self._n_dropped:
            self._n_dropped = n_dropped
            self._losses.dropped(self.recording.latest)
        return bool(heard)

    def _shut(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    # --- packets -------------------------------------------------------------------------------

    def _take(self, heard: Heard) -> None:
        origin, packet = heard
        if packet.is_of_system:
            # A Gemini NSP stamps these by a clock that runs slow: those of hubs count, and of an
            # instrument that is the only one.
            if origin not in self._with_words or origin in self._with_spikes:
                self._come(origin, packet.time)
            return
        if packet.channel and packet.channel == self._word_channel(origin):
            self._with_words.add(origin)
            self._take_word(packet.payload, packet.time)
        elif packet.channel:
            self._take_spike(origin, packet.channel, packet.type, packet.time)
        self._come(origin, packet.time)

    def _seeing(self) -> frozenset[str]:
        """Where words come from, and no spikes."""
        words = {origin.place for origin in self._with_words}
        return frozenset(words - {origin.place for origin in self._with_spikes})

    def _take_word(self, payload: bytes, time_ns: int) -> None:
        (value,) = struct.unpack_from("<I", payload.ljust(4, b"\0"))
        self._lines_of(ONLY).port(value, time_ns, time.perf_counter())

    def _take_spike(self, origin: Origin, channel: int, unit: int, time_ns: int) -> None:
        self._with_spikes.add(origin)
        key = origin, channel, unit
        if key not in self._names_of:
            self._names_of[key] = self._names(origin, channel, unit)
        self.spike(time_ns, *self._names_of[key])

    def _names(self, origin: Origin, channel: int, unit: int) -> tuple[str, ...]:
        """What this channel and unit is called: first in full, then by each site that means it.

        Raises:
            StreamLost: If a site would mean channels of two instruments.
        """
        full = f"{origin.place}/{origin.instrument}:{channel}#{unit}"
        found = [
            source for source in self._sources.values() if _means(source, origin, channel, unit)
        ]
        for source in found:
            self._spiking[source].add(origin)
            if len(self._spiking[source]) > 1:
                origins = " and ".join(sorted(map(str, self._spiking[source])))
                raise StreamLost(
                    f"site {source!r} may be of {origins}: name it {origin.instrument}:{channel} "
                    f"or {origin.place}/{channel}"
                )
        return full, *found

    def _word_channel(self, origin: Origin) -> int | None:
        asked = self._settings.word_channel
        if isinstance(asked, int):
            return asked
        return self._link.word_channel(origin, asked) if self._link is not None else None

    # --- time ----------------------------------------------------------------------------------

    def _come(self, origin: Origin, time_ns: int) -> None:
        """An instrument has come to a time."""
        latest = self._heard_of.get(origin, (time_ns, 0.0))[0]
        if time_ns < latest - NANOSECONDS_HZ:
            self._heard_of.clear()
            self.recording.restarted("recorder_restarted")
            self._notice_restart()
            latest = time_ns
        self._heard_of[origin] = max(latest, time_ns), time.perf_counter()

    def _times(self, now_s: float) -> list[int]:
        """How far those have come that matter: all but those that only send words.

        All of them together have come to the earliest of these.
        """
        matter = [
            come
            for origin, (come, at_s) in self._heard_of.items()
            if now_s - at_s < ACTIVE_S
            and (origin in self._with_spikes or origin not in self._with_words)
        ]
        return matter or [come for come, _ in self._heard_of.values()]


def checked(sources: dict[str, str]) -> dict[str, str]:
    """Site → channel or unit.

    Raises:
        SettingsError: If a name is none.
    """
    strange = [source for source in sources.values() if not SOURCE.fullmatch(source)]
    if strange:
        raise SettingsError(
            "no channel of an instrument can have this name",
            where="rig.toml, [acquisition.options] sites",
            expected=NAMES,
            got=", ".join(strange[:5]),
        )
    return sources


def _means(source: str, origin: Origin, channel: int, unit: int) -> bool:
    found = SOURCE.fullmatch(source)
    if found is None or int(found["channel"]) != channel:
        return False
    if found["unit"] is None and unit == NOISE_UNIT:
        return False
    wanted = (found["unit"], str(unit)), (found["instrument"], str(origin.instrument))
    return all(asked in (None, is_) for asked, is_ in (*wanted, (found["place"], origin.place)))
