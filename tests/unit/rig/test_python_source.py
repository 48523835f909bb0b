"""A lab's own class and function in front of an SDK."""

from __future__ import annotations

import queue
import threading
import time
from typing import ClassVar

import numpy as np
import pytest

from protocols import plugins
from protocols.conformance import check_acquisition, check_trigger
from protocols.errors import PluginError, RecorderGap, RigError
from protocols.interfaces import SessionInfo
from protocols.recorder_checks import check_recorder
from protocols.settings import PluginChoice
from protocols.vocabulary import Block, Role, Timing
from rig_client.acquisition import python_callable, python_source
from rig_client.acquisition.python_source import Heard, Spike, Word

SESSION = SessionInfo(session_id="s", seed=0)
RATE_HZ = 1000
HERE = __name__
DEADLINE_S = 30
TIMING = Timing(on_ms=20, off_ms=0, count_start_ms=30, count_stop_ms=70)


def made(name, **options):
    choice = PluginChoice(name=name, options=options)
    return plugins.create("stimloop.acquisitions", choice, SESSION)


@pytest.fixture
def block(images):
    return Block.of(images, roles=Role.CONTROL, timing=TIMING).at(0, "t")


# --- a stream ----------------------------------------------------------------------------------


class Sdk:
    """What a vendor's SDK would be: tells of words and spikes as they come."""

    arrived: queue.SimpleQueue = queue.SimpleQueue()
    opened: ClassVar[list] = []

    def __init__(self, address):
        self.opened.append(address)

    def read(self, timeout_s):
        try:
            event = self.arrived.get(timeout=timeout_s)
        except queue.Empty:
            return []
        if isinstance(event, Exception):
            raise event
        return [event]

    def close(self):
        self.opened.append("closed")


class Cable:
    """Trial words of `check_recorder` → what the SDK tells: two spikes at the edges, one outside."""

    def __init__(self):
        self.sample = 10_000

    def stage(self, block):
        pass

    def send(self, word, cue):
        self.sample += 200
        events = [Word(self.sample, word)]
        for offset in (30, 69, 70):
            events.append(Spike(self.sample + offset, "elec 7"))
        events.append(Spike(self.sample + 40, "another"))
        events += [Word(self.sample + 20, 0), Heard(self.sample + 150)]
        for event in events:
            Sdk.arrived.put(event)

    def clear(self):
        pass

    def close(self):
        pass


@pytest.fixture
def stream():
    Sdk.arrived, Sdk.opened = queue.SimpleQueue(), []
    options = {"address": "10.0.0.3"}
    limits = {"tolerance_ms": 5000, "silence_s": 60, "sample_rate_hz": RATE_HZ}
    sites = {"V4-a": "elec 7", "V4-b": "elec 9"}
    recorder = made("python_stream", source=f"{HERE}:Sdk", options=options, sites=sites, **limits)
    Sdk.arrived.put(Heard(1))
    while recorder.trouble():
        pass
    yield recorder
    recorder.close()


def test_a_stream_is_counted_by_the_common_engine(stream, block):
    assert Sdk.opened == ["10.0.0.3"]
    faults = check_recorder(stream, Cable(), block, lambda cue: np.array([2.0, 0.0]))
    assert faults == {}


def test_a_stream_that_breaks_is_opened_again(stream, block):
    Sdk.arrived.put(ConnectionResetError("unplugged"))
    while "unplugged" not in stream.trouble():
        pass
    Sdk.arrived.put(Heard(1))
    while stream.trouble():
        pass
    assert Sdk.opened == ["10.0.0.3", "closed", "10.0.0.3"]
    assert check_recorder(stream, Cable(), block, lambda cue: np.array([2.0, 0.0])) == {}


def test_a_stream_that_talks_nonsense_says_so(stream):
    Sdk.arrived.put(("spike", 3))
    while "no Spike, Word or Heard" not in stream.trouble():
        pass


# --- a function --------------------------------------------------------------------------------


def two_sites(word, onset_s, start_s, stop_s):
    return {3: None, 4: [1.0], 5: [-1, 0]}.get(word, [word, 1000 * (stop_s - start_s)])


class Counter:
    def __init__(self, gain):
        self.gain, self.marked = gain, []

    def mark(self, word, onset_s):
        self.marked.append(word)

    def __call__(self, word, onset_s, start_s, stop_s):
        return [self.gain * len(self.marked)]

    def trouble(self):
        return "" if self.gain else "no gain"


def test_a_function_keeps_the_contract(block):
    options = {"gain": 2}
    recorder = made("python_callable", function=f"{HERE}:Counter", options=options, sites=["a"])
    check_acquisition(recorder, block)


def test_a_function_is_asked_for_the_window(block):
    recorder = made("python_callable", function=f"{HERE}:two_sites", sites=["a", "b"])
    first, second, third, fourth = block.cues()
    for word, cue in ((9, first), (3, second), (4, third), (5, fourth)):
        recorder.mark(cue, 1.5, word)
    assert recorder.spike_counts(first, (0.03, 0.07)).counts == pytest.approx([9, 40])
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(second, (0.03, 0.07))
    assert gap.value.fault == "function_says_none"
    for cue in (third, fourth):
        with pytest.raises(RigError, match="2 numbers"):
            recorder.spike_counts(cue, (0.03, 0.07))


def test_a_class_hears_of_the_flip_and_has_troubles(block):
    recorder = made("python_callable", function=f"{HERE}:Counter", options={"gain": 0}, sites=["a"])
    assert recorder.trouble() == "no gain"
    recorder.mark(next(block.cues()), 0.0, 12)
    assert recorder._ask.marked == [12]


def test_a_function_that_fails_is_a_gap(block):
    recorder = made("python_callable", function="math:sqrt", sites=["a"])
    cue = next(block.cues())
    recorder.mark(cue, 0.0, 1)
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(cue, (0, 1))
    assert gap.value.fault == "function_failed"


@pytest.mark.parametrize("place", ["no_such_module:x", "math:no_such_name"])
def test_a_place_that_is_not_there_is_named(place):
    with pytest.raises(PluginError, match=place):
        made("python_callable", function=place, sites=["a"])
    with pytest.raises(PluginError, match=place):
        made("python_stream", source=place, sites=["a"])


def test_the_cable_is_a_trigger(block):
    check_trigger(Cable(), block)


# --- an SDK that is lost -----------------------------------------------------------------------


class Lost:
    """Raises on every call while the SDK is away; is made anew."""

    is_away: ClassVar[bool] = False
    n_made: ClassVar[int] = 0

    def __init__(self):
        if self.is_away:
            raise OSError("no answer")
        type(self).n_made += 1

    def __call__(self, word, onset_s, start_s, stop_s):
        if self.is_away:
            raise OSError("no answer")
        return [word]

    def trouble(self):
        if self.is_away:
            raise OSError("no answer")
        return ""

    def read(self, timeout_s):
        if self.is_away:
            raise OSError("no answer")
        return []

    def close(self):
        raise OSError("closing fails, too")


@pytest.fixture
def lost(monkeypatch):
    monkeypatch.setattr(Lost, "is_away", False)
    monkeypatch.setattr(python_callable, "PAUSE_S", 0.01)
    return Lost


def eventually(happened):
    deadline_s = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < deadline_s
        threading.Event().wait(0.005)


def away(word, onset_s, start_s, stop_s):
    if Lost.is_away:
        raise OSError("no answer")
    return [word]


LOST = [{"function": f"{HERE}:Lost", "options": {}}, {"function": f"{HERE}:away"}]


@pytest.mark.parametrize("options", LOST)
def test_a_lost_function_is_waited_for_like_a_lost_stream(lost, block, options):
    recorder = made("python_callable", sites=["a"], **options)
    recorder.stage(block)
    cues = list(block.cues())
    assert recorder.trouble() == ""
    lost.is_away = True
    recorder.mark(cues[0], 1.0, 5)
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(cues[0], (0.0, 0.1))
    assert gap.value.fault == "function_failed"
    eventually(lambda: "tried again" in recorder.trouble())
    assert "no answer" in recorder.trouble()
    lost.is_away = False
    eventually(lambda: recorder.trouble() == "")
    recorder.mark(cues[1], 2.0, 6)
    assert recorder.spike_counts(cues[1], (0.0, 0.1)).counts.tolist() == [6]
    recorder.close()


def test_a_class_that_says_that_its_sdk_is_away_has_nothing_shown_in_vain(lost):
    recorder = made("python_callable", sites=["a"], function=f"{HERE}:Lost", options={})
    lost.is_away = True
    assert "does not answer: OSError: no answer" in recorder.trouble()
    lost.is_away = False
    assert recorder.trouble() == ""
    recorder.close()


def test_a_mark_that_raises_costs_its_presentation_only(lost, block, monkeypatch):
    def fails(self, word, onset_s):
        raise OSError("no answer")

    monkeypatch.setattr(Lost, "mark", fails, raising=False)
    recorder = made("python_callable", sites=["a"], function=f"{HERE}:Lost", options={})
    recorder.stage(block)
    cue = next(block.cues())
    recorder.mark(cue, 1.0, 5)
    with pytest.raises(RecorderGap) as gap:
        recorder.spike_counts(cue, (0.0, 0.1))
    assert gap.value.fault == "function_failed"
    recorder.close()


@pytest.mark.parametrize("quiet", [{"quiet_ms": 100}, {}])
def test_a_lost_source_stays_trouble_until_it_is_steady(lost, quiet, monkeypatch):
    monkeypatch.setattr(python_source, "STEADY_S", 1e6)
    recorder = made("python_stream", sites=["a"], source=f"{HERE}:Lost", **quiet)
    if quiet:
        eventually(lambda: recorder.trouble() == "")
    lost.is_away = True
    eventually(lambda: "no answer" in recorder.trouble())
    lost.is_away = False
    n_made = Lost.n_made
    eventually(lambda: Lost.n_made > n_made)
    assert recorder.trouble() != "", "it has only just come back"
    monkeypatch.setattr(python_source, "STEADY_S", 0.0)
    if quiet:
        eventually(lambda: recorder.trouble() == "")
    recorder.close()
