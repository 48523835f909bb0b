"""The examples of docs/how-to/record-with-a-vendors-sdk.md, before stand-ins of the vendors' modules.

The stand-ins are written from the vendors' documentation: xipppy's manual; pyopxclientapi.py of Plexon's
Python client; tdt 0.7.6 (SynapseAPI.py, APIStreamer.py); SpikeGLX-CPP-SDK (sglx.py). They do what the
real ones do that hurts: drop silently, report other inputs, give part of what there is.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections import deque
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from rig_client.acquisition.python_source import Heard, Spike, Word

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "record-with-a-vendors-sdk.md"


def example(place):
    """The module that the page has for `our_lab/<place>.py`."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    code = next(block for block in blocks if f"our_lab/{place}.py" in block)
    module = ModuleType(place)
    exec(compile(code, place, "exec"), module.__dict__)
    return module


def module(monkeypatch, name, **content):
    made = ModuleType(name)
    made.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, made)
    return made


# --- Ripple ------------------------------------------------------------------------------------


@pytest.fixture
def xipppy(monkeypatch):
    waiting = SimpleNamespace(spikes={0: [], 2: []}, digital=[], now=90_000, open=0)

    def taken(queue, most):
        found, queue[:] = queue[:most], []  # the rest is dropped, and nobody is told
        return len(found), found

    return module(
        monkeypatch,
        "xipppy",
        waiting=waiting,
        _open=lambda use_tcp=False: setattr(waiting, "open", waiting.open + 1),
        _close=lambda: setattr(waiting, "open", waiting.open - 1),
        time=lambda: waiting.now,
        digin=lambda max_events=1024: taken(waiting.digital, max_events),
        spk_data=lambda elec, max_spk=1024: taken(waiting.spikes[elec], max_spk),
    )


def test_ripple(xipppy):
    waiting = xipppy.waiting
    waiting.digital.append(SimpleNamespace(timestamp=1, reason=1, parallel=99))
    source = example("ripple").Ripple([0, 2])
    assert list(source.read(0.01)) == [Heard(88_500)]
    waiting.digital += [
        SimpleNamespace(timestamp=91_000, reason=1, parallel=17),
        SimpleNamespace(timestamp=91_050, reason=2, parallel=17),  # SMA 1: a photodiode
        SimpleNamespace(timestamp=91_060, reason=32, parallel=17),  # a digital output
    ]
    waiting.spikes[2] += [SimpleNamespace(timestamp=91_500, class_id=0)]
    waiting.now = 95_000
    assert list(source.read(0.01)) == [
        Word(91_000, 17), Spike(91_500, "elec 2"), Heard(93_500)
    ]  # fmt: skip
    waiting.spikes[0] += [SimpleNamespace(timestamp=96_000 + n, class_id=0) for n in range(1500)]
    with pytest.raises(OverflowError, match="electrode 0"):
        list(source.read(0.01))
    source.close()
    assert waiting.open == 0


# --- Plexon ------------------------------------------------------------------------------------


class PyOPXClientAPI:
    batches: ClassVar[deque] = deque()
    answers = True

    def __init__(self, *, max_opx_data=100_000):
        self.connected, self.last_result = False, 0

    def connect(self):
        self.connected = self.answers

    def disconnect(self):
        self.connected = False

    def get_source_info(self, name):
        return {"SPK": 6, "Other events": 10, "Single-bit events": 9}[name], 0, 0, 0

    def clear_data(self, timeout):
        self.batches.clear()

    def opx_wait(self, timeout):
        assert isinstance(timeout, int)

    def get_new_data(self, timestamps_only=False):
        assert timestamps_only
        rows, self.last_result = self.batches.popleft() if self.batches else ([], 0)
        times, sources, channels, units = zip(*rows, strict=True) if rows else ((), (), (), ())
        return SimpleNamespace(
            num_timestamps=len(rows), timestamp=times, source_num_or_type=sources,
            channel=channels, unit=units,
        )  # fmt: skip


def test_plexon(monkeypatch):
    module(monkeypatch, "pyopxclient", PyOPXClientAPI=PyOPXClientAPI)
    source = example("plexon").Plexon()
    PyOPXClientAPI.batches.append(
        ([(1.5, 10, 1, 33), (1.6, 6, 7, 0), (1.7, 6, 7, 1), (1.8, 9, 3, 0), (1.9, 10, 2, 5)], 0)
    )
    assert list(source.read(0.01)) == [
        Word(60_000, 33), Spike(64_000, "spk 7"), Spike(68_000, "spk 7a")
    ]  # fmt: skip
    assert list(source.read(0.01)) == []
    for result, problem in ((-16, "more data"), (-3, "-3")):
        PyOPXClientAPI.batches.append(([], result))
        with pytest.raises((OverflowError, ConnectionError), match=problem):
            list(source.read(0.01))
    monkeypatch.setattr(PyOPXClientAPI, "answers", False)
    with pytest.raises(ConnectionError, match="does not answer"):
        example("plexon").Plexon()


# --- TDT ---------------------------------------------------------------------------------------


class Synapse:
    """A ring of 40 values: 8 samples of 5 channels."""

    def __init__(self, host):
        self.samples = np.zeros((0, 5))
        self.mode, self.answers = 2, True

    def getMode(self):
        return self.mode

    def getParameterValues(self, gizmo, name, count=-1, offset=0):
        if not self.answers:
            return None
        values = self.samples.ravel()
        if name == "mon":
            return [float(v) for v in (len(values) % 40, 0, len(values) // 40, 1, 5, 40)]
        ring = np.full(40, np.nan)
        for place, value in enumerate(values):
            ring[place % 40] = value
        return ring[offset : offset + count].tolist()


def test_tdt(monkeypatch):
    module(monkeypatch, "tdt", SynapseAPI=Synapse)
    source = example("tdt_streamer").ApiStreamer(-50.0)
    synapse = source._synapse
    assert list(source.read(0.01)) == []
    samples = np.zeros((10, 5))
    samples[2:, 0] = 21
    samples[5, 3], samples[9, 1] = -80, -60
    synapse.samples = samples[:6]
    assert source.read(0.01) == [Word(2, 21), Spike(5, "ch 4"), Heard(6)]
    synapse.samples = samples
    assert source.read(0.01) == [Heard(8)], "to the end of the ring"
    assert source.read(0.01) == [Spike(9, "ch 2"), Heard(10)]
    synapse.samples = np.zeros((40, 5))
    with pytest.raises(ConnectionError, match="went round"):
        source.read(0.01)
    synapse.answers = False
    with pytest.raises(ConnectionError, match="does not answer"):
        source.read(0.01)


# --- SpikeGLX ----------------------------------------------------------------------------------


class Sglx:
    """NI at 25 kHz from sample 1000 on, a probe at 30 kHz; `js` 0 and 2."""

    def __init__(self):
        self.streams = {0: np.zeros((1000, 9), np.int16), 2: np.zeros((1200, 385), np.int16)}
        self.forgotten, self.keep = 0, None

    def c_sglx_createHandle(self):
        return 7

    def c_sglx_connect(self, handle, host, port):
        assert isinstance(host, bytes)
        return True

    def c_sglx_getError(self, handle):
        return "gone"

    def c_sglx_getStreamSampleCount(self, handle, js, ip):
        return len(self.streams[js])

    def c_sglx_mapSample(self, handle, dst_js, dst_ip, sample, js, ip):
        assert (dst_js, js) == (2, 0)
        return sample * 1.2

    def c_sglx_fetch(self, data, n, handle, js, ip, start, most, channels, n_channels, downsample):
        start = max(start, self.forgotten)
        chosen = list(channels)
        part = np.ascontiguousarray(self.streams[js][start : start + most][:, chosen])
        self.keep = part  # the memory is the SDK's
        n._obj.value = part.size
        data._obj.contents = ctypes.cast(part.ctypes.data, ctypes.POINTER(ctypes.c_short)).contents
        return start

    def add(self, js, n):
        self.streams[js] = np.vstack([self.streams[js], np.zeros((n, self.streams[js].shape[1]))])
        self.streams[js] = self.streams[js].astype(np.int16)

    def c_sglx_close(self, handle):
        pass

    c_sglx_destroyHandle = c_sglx_close


def test_spikeglx(monkeypatch):
    sglx = Sglx()
    package = module(monkeypatch, "sglx_pkg")
    package.sglx = sglx
    monkeypatch.setitem(sys.modules, "sglx_pkg.sglx", sglx)
    source = example("spikeglx").SpikeGLX("localhost", [12, 40], -30, 8)
    assert source.read(0.01) == [Heard(1200)]
    sglx.add(0, 500)
    sglx.add(2, 500)
    sglx.streams[0][1100:, 8] = 200
    sglx.streams[2][1400:1403, 40] = -35
    assert source.read(0.01) == [Word(1320, 200), Spike(1400, "ap 40"), Heard(1700)]
    sglx.add(2, 500)
    assert source.read(0.01) == [Heard(1800)], "words are known until there"
    sglx.add(2, 500)
    sglx.forgotten = 2400
    with pytest.raises(OverflowError, match="dropped"):
        source.read(0.01)
    source.close()
