"""Emulates Intan RHX: its command, waveform and spike ports, as its source (3.4.0) behaves.

It writes several blocks at once, first all waveforms, then their spikes in time order. It listens
until a client has connected, and not again before it is told to. It obeys what one read returns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from rig_client.acquisition.formats.intan import N_FRAMES, Spike, encoded_block, encoded_spike
from rig_client.emulators import emulator as emulated
from rig_client.emulators.emulator import EmulatorSettings
from rig_client.emulators.rhx_ports import RhxPort

UNSORTED = 0x40


class IntanEmulatorSettings(EmulatorSettings):
    """Settings of the emulated RHX.

    Attributes:
        command_port: Of the remote TCP control.
        waveform_port: Of the waveform output.
        spike_port: Of the spike output.
        blocks_per_write: Blocks of 128 samples that are written at once; RHX: 10.
        click_s: So long after a client of the command port has gone, somebody clicks Connect.
        segment_bytes: Data are sent in pieces of this size; 0: as they come.
    """

    command_port: int = Field(default=5000, ge=0, le=65535)
    waveform_port: int = Field(default=5001, ge=0, le=65535)
    spike_port: int = Field(default=5002, ge=0, le=65535)
    blocks_per_write: int = Field(default=10, ge=1, le=100)
    click_s: float = Field(default=1, ge=0, le=3600)
    segment_bytes: int = Field(default=0, ge=0)


class IntanSpeaker:
    """Site number n is channel `A-00n`. A lost message is one that is cut in the middle."""

    Settings = IntanEmulatorSettings
    is_sampled = True

    def __init__(self, settings: IntanEmulatorSettings, site_ids: Sequence[str]) -> None:
        self._settings = settings
        self._channels = [
            f"{'ABCDEFGH'[place // 128]}-{place % 128:03d}" for place in range(len(site_ids))
        ]
        self.tick_samples = N_FRAMES * settings.blocks_per_write
        self.is_lost = emulated.never_lost
        ports = (settings.command_port, settings.waveform_port, settings.spike_port)
        self._ports = [0 if settings.any_port else port for port in ports]
        self.come_back()

    def speak(self, events: Sequence[emulated.Event]) -> None:
        """Words and spikes wait for the write that they belong to."""
        for event in events:
            if isinstance(event, emulated.Lines):
                self._changes.append(event)
            elif isinstance(event, emulated.Spike):
                self._waiting.append(event)
            else:
                self._write(event)

    def serve(self) -> None:
        """Clients are accepted, and what one read returns is obeyed, however it was cut."""
        for port in (self._commands, self._waveforms, self._spikes):
            port.accept()
        for port in (self._waveforms, self._spikes):
            port.receive()
        received = self._commands.receive().decode("ascii", "replace")
        orders = [order.strip().lower() for order in received.split(";")]
        for number, order in enumerate(filter(None, orders), 1):
            if answer := self._obey(order, number):
                self._commands.send(answer.encode("ascii"))
        self._click()

    def hang_up(self) -> None:
        """Close all ports."""
        for port in (self._commands, self._waveforms, self._spikes):
            port.drop()

    def come_back(self) -> None:
        """RHX is started, and somebody clicks Connect on its command port; it does not run yet."""
        host = self._settings.host
        self._commands, self._waveforms, self._spikes = (RhxPort(host, at) for at in self._ports)
        self._ports = [self._commands.port, self._waveforms.port, self._spikes.port]
        for port in (self._waveforms, self._spikes):
            port.drop()
        self._clicked_s: float | None = None
        self._runs, self._sends_words = False, False
        self._enabled: set[str] = set()
        self._changes: list[emulated.Lines] = []
        self._waiting: list[emulated.Spike] = []
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

    # --- orders --------------------------------------------------------------------------------

    def _click(self) -> None:
        if self._commands.status != "Disconnected":
            self._clicked_s = None
        elif self._clicked_s is None:
            self._clicked_s = time.monotonic() + self._settings.click_s
        elif time.monotonic() >= self._clicked_s:
            self._commands.listen()

    def _obey(self, order: str, number: int) -> str:
        verb, *rest = order.split()
        match verb, rest:
            case "get", [name]:
                return self._told(name)
            case "set", [name, value]:
                return self._set(name, value)
            case "execute", [action]:
                return self._execute(action)
            case (("get" | "set" | "execute"), _):
                return f"Error - Command {number}: {verb.title()} commands require more"
        return f"Error - Command {number}: Unrecognized command"

    def _told(self, name: str) -> str:
        known = {
            "sampleratehertz": ("SampleRateHertz", f"{self._settings.sample_rate_hz:.0f}"),
            "runmode": ("RunMode", "Run" if self._runs else "Stop"),
            "tcpnumberdatablocksperwrite": (
                "TCPNumberDataBlocksPerWrite",
                str(self._settings.blocks_per_write),
            ),
            "tcpwaveformdataoutputconnectionstatus": (
                "TCPWaveformDataOutputConnectionStatus",
                self._waveforms.status,
            ),
            "tcpspikedataoutputconnectionstatus": (
                "TCPSpikeDataOutputConnectionStatus",
                self._spikes.status,
            ),
        }
        channel, _, item = name.partition(".")
        if channel.upper() in self._channels and item == "tcpdataoutputenabledspike":
            return f"Return: TCPDataOutputEnabledSpike {channel.upper() in self._enabled}"
        return f"Return: {' '.join(known[name])}" if name in known else "Unrecognized parameter"

    def _set(self, name: str, value: str) -> str:
        channel, _, item = name.partition(".")
        if name == "runmode":
            if self._runs == (value != "stop"):
                return f"Board must be {'stopped in order to start' if self._runs else 'running'}"
            self._runs = value != "stop"
        elif channel.startswith("digital-in-") and item == "tcpdataoutputenabled":
            self._sends_words = value == "true"
        elif channel.upper() in self._channels and item == "tcpdataoutputenabledspike":
            (self._enabled.add if value == "true" else self._enabled.discard)(channel.upper())
        else:
            return "Unrecognized parameter"
        return ""

    def _execute(self, action: str) -> str:
        match action:
            case "clearalldataoutputs":
                self._enabled.clear()
                self._sends_words = False
            case "connecttcpwaveformdataoutput":
                self._waveforms.listen()
            case "connecttcpspikedataoutput":
                self._spikes.listen()
            case "disconnecttcpwaveformdataoutput":
                self._waveforms.drop()
            case "disconnecttcpspikedataoutput":
                self._spikes.drop()
            case _:
                return "Unrecognized action"
        return ""

    # --- data ----------------------------------------------------------------------------------

    def _write(self, tick: emulated.Tick) -> None:
        """All that belongs to the samples up to the tick: frames first, then spikes."""
        first = tick.sample - self.tick_samples + 1
        blocks = [self._block(first + n * N_FRAMES) for n in range(self._settings.blocks_per_write)]
        due = sorted(spike for spike in self._waiting if spike.sample <= tick.sample)
        self._waiting = [spike for spike in self._waiting if spike.sample > tick.sample]
        if not self._runs:
            return
        if self._sends_words:
            self._waveforms.send(b"".join(blocks), self._settings.segment_bytes)
        data = b""
        for spike in due:
            if (channel := self._channels[spike.place]) in self._enabled:
                packet = encoded_spike(Spike(channel, spike.sample, UNSORTED))
                data += packet[: len(packet) // 2] if self.is_lost(spike) else packet
        self._spikes.send(data, self._settings.segment_bytes)

    def _block(self, first: int) -> bytes:
        """The block whose first frame is sample `first`."""
        samples = np.arange(first, first + N_FRAMES)
        words = np.full(N_FRAMES, self._word, np.uint16)
        while self._changes and self._changes[0].sample < first + N_FRAMES:
            change = self._changes.pop(0)
            words[samples >= change.sample] = self._word = change.word
        return encoded_block((samples % 2**32).astype(np.uint32), words)
