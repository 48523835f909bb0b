"""Emulates Intan RHX: its command, waveform and spike ports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from rig_client.acquisition.intan import N_FRAMES, Spike, encoded_block, encoded_spike
from rig_client.emulators import emulator as emulated
from rig_client.emulators.emulator import EmulatorSettings
from rig_client.emulators.sockets import OneClient

UNSORTED = 0x40


class IntanEmulatorSettings(EmulatorSettings):
    """Settings of the emulated RHX.

    Attributes:
        command_port: Of the remote TCP control.
        waveform_port: Of the waveform output.
        spike_port: Of the spike output.
        segment_bytes: Data are sent in pieces of this size; 0: as they come.
    """

    command_port: int = Field(default=5000, ge=0, le=65535)
    waveform_port: int = Field(default=5001, ge=0, le=65535)
    spike_port: int = Field(default=5002, ge=0, le=65535)
    segment_bytes: int = Field(default=0, ge=0)


class IntanSpeaker:
    """Site number n is channel `A-00n`. A lost message is one that is cut in the middle."""

    Settings = IntanEmulatorSettings
    is_sampled = True
    tick_samples = N_FRAMES

    def __init__(self, settings: IntanEmulatorSettings, site_ids: Sequence[str]) -> None:
        self._settings = settings
        self._channels = [
            f"{'ABCDEFGH'[place // 128]}-{place % 128:03d}" for place in range(len(site_ids))
        ]
        self.is_lost = emulated.never_lost
        any_port = settings.any_port
        ports = (settings.command_port, settings.waveform_port, settings.spike_port)
        self._ports = [0 if any_port else port for port in ports]
        self._orders = ""
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """Spikes as packets, everything else in blocks of frames."""
        for event in events:
            if isinstance(event, emulated.Lines):
                self._changes.append(event)
            elif isinstance(event, emulated.Tick):
                self._send(self._waveforms, self._block(event.sample), event)
            elif self._runs and self._channels[event.place].lower() in self._enabled:
                spike = Spike(self._channels[event.place], event.sample, UNSORTED)
                self._send(self._spikes, encoded_spike(spike), event)

    def serve(self) -> None:
        """Clients are accepted, orders obeyed."""
        for port in (self._commands, self._waveforms, self._spikes):
            port.accept()
        self._orders += self._commands.receive().decode("ascii", "replace")
        *orders, self._orders = self._orders.split(";")
        for order in orders:
            if answer := self._obey(order.strip().lower()):
                self._commands.send(answer.encode("ascii"))

    def hang_up(self) -> None:
        """Close all ports."""
        for port in (self._commands, self._waveforms, self._spikes):
            port.close()

    def come_back(self) -> None:
        """Open them again; RHX does not run until it is told to."""
        host = self._settings.host
        self._commands, self._waveforms, self._spikes = (
            OneClient(host, port) for port in self._ports
        )
        self._ports = [self._commands.port, self._waveforms.port, self._spikes.port]
        self._orders, self._runs, self._sends_words = "", False, False
        self._enabled: set[str] = set()
        self._changes: list[emulated.Lines] = []
        self._word = 0

    def acquisition(self, site_ids: Sequence[str]) -> dict[str, Any]:
        """As `rig.toml` has it."""
        command, waveform, spike = self._ports
        options = {
            "host": self._settings.host,
            "command_port": command,
            "waveform_port": waveform,
            "spike_port": spike,
            "sample_rate_hz": self._settings.sample_rate_hz,
            "sites": dict(zip(site_ids, self._channels, strict=True)),
        }
        return {"name": "intan", "options": options}

    def close(self) -> None:
        """Release everything."""
        self.hang_up()

    def _obey(self, order: str) -> str:
        verb, _, rest = order.partition(" ")
        name, _, value = rest.partition(" ")
        if verb == "get":
            known = {
                "sampleratehertz": f"SampleRateHertz {self._settings.sample_rate_hz:.0f}",
                "runmode": f"RunMode {'Run' if self._runs else 'Stop'}",
            }
            return f"Return: {known[name]}" if name in known else "Unrecognized parameter"
        if order == "execute clearalldataoutputs":
            self._enabled.clear()
            self._sends_words = False
        elif order == "set runmode run":
            self._runs = True
        elif order == "set runmode stop":
            self._runs = False
        elif name.startswith("digital-in-") and name.endswith(".tcpdataoutputenabled"):
            self._sends_words = value == "true"
        elif name.endswith(".tcpdataoutputenabledspike") and value == "true":
            self._enabled.add(name.partition(".")[0])
        elif order:
            return "Unrecognized parameter"
        return ""

    def _block(self, end: int) -> bytes:
        """The block whose last frame is sample `end`."""
        samples = np.arange(end - N_FRAMES + 1, end + 1)
        words = np.full(N_FRAMES, self._word, np.uint16)
        while self._changes and self._changes[0].sample <= end:
            change = self._changes.pop(0)
            words[samples >= change.sample] = self._word = change.word
        if not (self._runs and self._sends_words):
            return b""
        return encoded_block((samples % 2**32).astype(np.uint32), words)

    def _send(self, port: OneClient, data: bytes, event: emulated.Event) -> None:
        if data and self.is_lost(event):
            data = data[: len(data) // 2]
        port.send(data, self._settings.segment_bytes)
