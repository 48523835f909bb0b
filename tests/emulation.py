"""Emulated recorders within a test's own process, whose neurons fire as the test says."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

from protocols import plugins
from protocols.interfaces import SessionInfo
from protocols.settings import PluginChoice, merged, validated
from protocols.vocabulary import Block, Cue
from rig_client import emulators
from rig_client.emulators.emulator import Emulator
from rig_client.emulators.neurons import Train

SESSION = SessionInfo(session_id="rehearsal", seed=3)
SITES = ("V4-a", "V4-b", "V4-c")
DEADLINE_S = 60.0


class ScriptedNeurons:
    """`script(cue)`: for each site, its spikes in samples after the word; None: nothing, no word."""

    site_ids = SITES

    def __init__(self, script: Callable[[Cue], list[list[int]] | None]):
        self.script = script

    def stage(self, session: SessionInfo, block: Block) -> None:
        pass

    def train(self, cue: Cue, rate_hz: float) -> Train | None:
        spikes = self.script(cue)
        if spikes is None:
            return None
        offsets = np.concatenate([np.array(each, np.int64) for each in spikes])
        return Train(offsets, np.repeat(np.arange(len(spikes)), [len(each) for each in spikes]))


class Rehearsal:
    """An emulator that runs in a thread, the recorder that listens to it, and the trigger."""

    def __init__(self, kind: str, script, options=None, **settings):
        factory = emulators.loaded(kind)
        values = {"any_port": True, "latency_ms": 15, "ideal": True, **settings}
        self.settings = validated(factory.Settings, values, where="test")
        self.speaker = factory(self.settings, SITES)
        self.emulator = Emulator(self.settings, self.speaker, ScriptedNeurons(script))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self.emulator.run, args=(self._stop,), daemon=True)
        self._thread.start()
        parts = self.emulator.announcement()
        least = {"settle_ms": 40} if self.settings.ideal else {}
        most = {"tolerance_ms": 400, "word_wait_ms": 4000}  # both sides are this one process's work
        generous = {"options": {**most, **least, **(options or {})}}
        recorder = PluginChoice.model_validate(merged(parts["acquisition"], generous))
        trigger = PluginChoice.model_validate(parts["trigger"])
        self.recorder = plugins.create("stimloop.acquisitions", recorder, SESSION)
        self.trigger = plugins.create("stimloop.triggers", trigger, SESSION)

    def wait_until(self, happened: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not happened():
            assert time.monotonic() < deadline_s, f"in vain: {what}; {self.recorder.trouble()}"
            self._stop.wait(0.005)

    def wait_until_streaming(self) -> None:
        self.wait_until(lambda: self.recorder.trouble() == "", "the recorder streams")

    def wait_until_epoch(self, least: int) -> None:
        recording = self.recorder.recording
        self.wait_until(lambda: recording.epoch >= least, "the restart is noticed")

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.emulator.close)
            stack.callback(self._thread.join, DEADLINE_S)
            stack.callback(self._stop.set)
            stack.callback(self.recorder.close)
            stack.callback(self.trigger.close)


@contextlib.contextmanager
def rehearsal(kind: str, script, options=None, **settings) -> Iterator[Rehearsal]:
    made = Rehearsal(kind, script, options, **settings)
    try:
        made.wait_until_streaming()
        yield made
    finally:
        made.close()
