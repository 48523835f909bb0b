"""Intan RHX over TCP: spikes from its spike port, trial words from its waveform port.

The spike port carries no digital words. The waveform port does: with one digital input enabled and
nothing else, each of a block's 128 frames is a timestamp and the 16-bit digital-in word.

RHX writes several blocks at once (10 by default): first their frames, then all their spikes, in time
order. So the spikes before a moment are complete when a spike after it has come, or a frame of a
later write. See `intan_control` for how RHX is told to open its ports, and when it listens.
"""

from __future__ import annotations

import logging
import re
import selectors
import socket
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from protocols.errors import SettingsError
from protocols.interfaces import SessionInfo
from rig_client.acquisition.formats.intan import (
    ARTEFACT,
    BLOCK_BYTES,
    SPIKE,
    SPIKE_MAGIC,
    UNIT_OF,
    WAVEFORM_MAGIC,
    Packets,
    Spike,
    Unwrapped,
    decoded_block,
    decoded_spike,
    is_spike,
    is_whole,
)
from rig_client.acquisition.intan_control import WINDOW, Control
from rig_client.acquisition.line_words import ONLY, LineSettings, LineStream
from rig_client.acquisition.order import Order
from rig_client.acquisition.stream import Misfit, StreamLost

logger = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 16
N_STRANGE = 3
"""So many blocks in a row that are none, and it is their layout that is another."""
SOURCE = re.compile(r"([A-H]-\d{3})(?:#([0-4]))?")
NAMES = (
    'native names, such as "A-010", or one unit of a channel: "A-010#1" to "A-010#4", as RHX sorts '
    'them, and "A-010#0" for what it leaves unsorted'
)


class IntanSettings(LineSettings):
    """Settings of Intan RHX.

    Attributes:
        host: The computer on which RHX runs.
        command_port: Of its remote TCP control.
        waveform_port: Of its waveform output, which carries the digital words.
        spike_port: Of its spike output.
        digital_in: The digital input to enable, as RHX names it; any one brings the whole word.
        configure: Unless RHX runs, enable what is needed and start it; false: done by hand.
    """

    host: str = "127.0.0.1"
    command_port: int = Field(default=5000, ge=1, le=65535)
    waveform_port: int = Field(default=5001, ge=1, le=65535)
    spike_port: int = Field(default=5002, ge=1, le=65535)
    digital_in: str = "digital-in-01"
    configure: bool = True


class Intan(LineStream):
    """Counts what RHX detects. A site is a channel by its native name, `"A-010"`, or one of its units.

    Spikes that RHX takes for artefacts are left out.

    Raises:
        SettingsError: If a site has a name that no spike of RHX can have.
    """

    Settings = IntanSettings
    spikes_say_time = False

    def __init__(self, settings: IntanSettings, session: SessionInfo) -> None:  # noqa: ARG002
        sources = checked(settings.sources('["A-010", "A-011#1"]'))
        self._channels = sorted({source.partition("#")[0].lower() for source in sources.values()})
        super().__init__(
            settings,
            sources=sources,
            quiet_ms=None,
            where=f"{settings.host}:{settings.command_port}",
        )
        self._settings = settings
        self._control: Control | None = None
        self._data: dict[str, socket.socket] = {}
        self._selector: selectors.DefaultSelector | None = None
        self.start()

    # --- connecting ----------------------------------------------------------------------------

    def _open(self) -> None:
        self._spikes = Packets(SPIKE_MAGIC, SPIKE.size, is_spike)
        self._order = Order(self._settings.sample_rate_hz)
        self._last_spike: int | None = None
        self._blocks = Packets(WAVEFORM_MAGIC, BLOCK_BYTES)
        self._sample_of = Unwrapped()
        self._word: int | None = None
        self._n_skipped = self._n_strange = 0
        self._next_timestamp: int | None = None
        control = self._controlled()
        self._blocks_per_write = self._checked_rate(control)
        self._spikes_to = -1
        self._begin_writes()
        self._selector = selectors.DefaultSelector()
        ports = {"waveform": self._settings.waveform_port, "spike": self._settings.spike_port}
        for what, port in ports.items():
            self._data[what] = control.data_port(what, port)
            self._selector.register(self._data[what], selectors.EVENT_READ, what)
        self._selector.register(control, selectors.EVENT_READ, "command")
        if (control.ask("runmode") or "").lower() != "stop":
            self._check_outputs(control)
        elif self._settings.configure:
            for order in self._orders():
                control.order(order)

    def _controlled(self) -> Control:
        """The command connection: kept as long as RHX keeps it, for RHX opens it once."""
        if self._control is not None and not self._control.is_alive():
            self._drop_control()
        if self._control is None:
            self._control = Control(self._settings.host, self._settings.command_port)
        return self._control

    def _checked_rate(self, control: Control) -> int | None:
        """Blocks that RHX writes at once; None if it does not say."""
        rate = control.ask("sampleratehertz")
        if rate is not None and float(rate) != self._settings.sample_rate_hz:
            raise StreamLost(f"RHX has {rate} samples/s; set sample_rate_hz to that")
        n_blocks = control.ask("tcpnumberdatablocksperwrite")
        return int(n_blocks) if n_blocks and n_blocks.isdigit() else None

    def _check_outputs(self, control: Control) -> None:
        """RHX runs: what it does not send would be counted as zero."""
        asked = {name: control.ask(f"{name}.tcpdataoutputenabledspike") for name in self._channels}
        silent = [name.upper() for name, on in asked.items() if (on or "").lower() == "false"]
        if silent:
            raise Misfit(
                f"RHX runs, and does not send the spikes of {len(silent)} of the {len(asked)} "
                f"channels that are sites ({', '.join(silent[:5])}): stop RHX, and let configure = "
                f"true enable them, or enable them {WINDOW}"
            )

    def _orders(self) -> Iterable[str]:
        yield "execute clearalldataoutputs"
        for channel in self._channels:
            yield f"set {channel}.tcpdataoutputenabledspike true"
        yield f"set {self._settings.digital_in}.tcpdataoutputenabled true"
        yield "set runmode run"

    def _shut(self) -> None:
        if self._selector is not None:
            self._selector.close()
            self._selector = None
        for connection in self._data.values():
            connection.close()
        self._data.clear()
        if self._stop.is_set():
            self._drop_control()

    def _drop_control(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None

    # --- reading -------------------------------------------------------------------------------

    def _read(self, timeout_s: float) -> bool:
        ready = {key.data for key, _ in self._selector.select(timeout_s)} if self._selector else ()
        if "command" in ready:
            self._notice_command()
        # Spikes of a write follow its frames, and another's frames follow them: whatever spikes
        # there are when frames have been read are taken first.
        frames = self._received("waveform") if "waveform" in ready else b""
        spikes = b""
        while more := self._received("spike"):
            spikes += more
        for packet in self._spikes.feed(spikes):
            self._take_spike(decoded_spike(packet))
        for packet in self._blocks.feed(frames):
            self._take_block(decoded_block(packet))
        return bool(frames or spikes)

    def _received(self, what: str) -> bytes:
        try:
            received = self._data[what].recv(CHUNK_BYTES)
        except BlockingIOError:
            return b""
        if not received:
            raise StreamLost(f"RHX has closed its {what} port")
        return received

    def _notice_command(self) -> None:
        """RHX may close the command port while data go on; without it, the data ports do not."""
        if self._control is not None and not self._control.is_alive():
            if self._selector is not None:
                self._selector.unregister(self._control)
            self._drop_control()
            logger.warning(
                "RHX has closed its command port; recording goes on, but a lost connection can "
                "only be made again after a click on Connect %s",
                WINDOW,
            )

    def _take_spike(self, spike: Spike) -> None:
        sample = self._sample_of(spike.timestamp)
        if not self._order.is_kept("spikes", sample):
            self._begin_run()
        self._notice_skipped(sample)
        self._last_spike = sample
        self._spikes_to = max(self._spikes_to, sample)
        if spike.unit == ARTEFACT:
            return
        unit = UNIT_OF.get(spike.unit)
        self.spike(sample, spike.channel, *([] if unit is None else [f"{spike.channel}#{unit}"]))

    def _take_block(self, frames: NDArray[np.void]) -> None:
        if not is_whole(frames):
            self._strange()
            return
        self._n_strange = 0
        first = self._follow_timestamps(int(frames["timestamp"][0]))
        last = first + len(frames) - 1
        begins = self._blocks_per_write and self._n_blocks % self._blocks_per_write == 0
        if begins and not self._spikes.has_part:
            self._spikes_to = max(self._spikes_to, first)
        self._n_blocks += 1
        self._take_words(frames["word"].astype(int), first)
        self._pass_words(last + 1)
        if self._blocks_per_write:
            self.complete(min(last + 1, self._spikes_to))
        else:
            self.heard(last)

    def _take_words(self, words: NDArray[Any], first: int) -> None:
        before = words[:1] if self._word is None else np.array([self._word])
        for place in np.flatnonzero(np.diff(words, prepend=before)):
            self._lines_of(ONLY).port(int(words[place]), first + int(place), time.perf_counter())
        self._word = int(words[-1])

    def _follow_timestamps(self, timestamp: int) -> int:
        """The sample of a block's first frame; frames that are missing are a gap or a new run."""
        expected, self._next_timestamp = self._next_timestamp, (timestamp + 128) % 2**32
        sample = self._sample_of(timestamp)
        if expected is not None and timestamp != expected:
            ahead = (timestamp - expected + 2**31) % 2**32 - 2**31
            if ahead < 0:
                self._order.clear()
                self._begin_run()
                self._next_timestamp = (timestamp + 128) % 2**32
            else:
                self.recording.gap("message_gap", sample - ahead, sample)
            self._begin_writes()
        return sample

    def _begin_run(self) -> None:
        """RHX was stopped and runs again: its timestamps begin anew, in whichever port that shows first."""
        self.recording.restarted("recorder_restarted")
        self._notice_restart()
        self._word = self._next_timestamp = self._last_spike = None
        self._begin_writes()

    def _begin_writes(self) -> None:
        """The next block is the first of a write."""
        self._n_blocks = 0
        self._spikes_to = -1

    # --- what is wrong -------------------------------------------------------------------------

    def _strange(self) -> None:
        self._n_strange += 1
        self._blocks.n_skipped += BLOCK_BYTES
        if self._n_strange >= N_STRANGE:
            raise StreamLost(
                "RHX sends other waveforms besides the digital inputs; remove them from its data "
                f"outputs {WINDOW}, or stop RHX and let configure = true do it"
            )

    def _notice_skipped(self, sample: int) -> None:
        """Bytes that were no spike, before this one: spikes come in time order, frames have timestamps."""
        if (n_skipped := self._spikes.n_skipped) > self._n_skipped:
            before = self._last_spike
            first = sample - self.recording.wait_ticks if before is None else before
            self.recording.gap("message_gap", first, sample)
        self._n_skipped = n_skipped


def checked(sources: dict[str, str]) -> dict[str, str]:
    """Site → channel, or unit, as spikes carry it.

    Raises:
        SettingsError: If a name is none of RHX's.
    """
    upper = {site: source.upper() for site, source in sources.items()}
    strange = [source for source in upper.values() if not SOURCE.fullmatch(source)]
    if strange:
        raise SettingsError(
            "no spike of RHX can have this name",
            where="rig.toml, [acquisition.options] sites",
            expected=NAMES,
            got=", ".join(strange[:5]),
            remedy="use the native name, whatever RHX shows as the channel's custom name",
        )
    return upper
